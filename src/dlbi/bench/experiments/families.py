"""Nine families of structures in four regimes: how far the methods carry beyond Fig. 7."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import BAYES, BICUBIC, DLBI, NETWORK, RICHARDSON_LUCY_TRUE
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.pictures import draw_dots
from dlbi.bench.subjects import Simulated, area_seed
from dlbi.bench.tables import (
    TRUTH_COLUMNS,
    by_name,
    grouped,
    mean_and_sd,
    preset_of,
    summary_table,
    value,
    value_table,
)

FAMILIES = (
    "filaments", "bundles", "er", "rings", "mesh", "line_pairs",
    "mitochondria", "chromatin", "star",
)  # fmt: skip
"""The last three were never trained on."""
REGIMES = ("paper", "camera", "meos3.2", "dense")
QUICK = {"meos3.2": ("filaments", "er", "chromatin")}
CONTESTANTS = (BICUBIC, RICHARDSON_LUCY_TRUE, BAYES, NETWORK, DLBI)

_CORRELATION = next(column for column in TRUTH_COLUMNS if column.key == "corr_2px")


def tasks(plan: Plan) -> list[Task]:
    """Each family in each regime, three of them in a quick run."""
    chosen = QUICK if plan.quick else dict.fromkeys(REGIMES, FAMILIES)
    sources = [
        Simulated(
            structure=family,
            preset=regime,
            seed=area_seed(plan.seed, family, regime),
            field_px=plan.field_px,
        )
        for regime, families in chosen.items()
        for family in families
    ]
    return crossed(sources, CONTESTANTS)


def report(outcomes: Sequence[Outcome]) -> str:
    """Scores over all movies and in each regime, and the correlation of each family."""
    parts = ["All movies:", summary_table(outcomes, TRUTH_COLUMNS)]
    regimes = grouped(outcomes, preset_of)
    if len(regimes) > 1:
        for regime, group in regimes.items():
            parts += [f"{regime}:", summary_table(group, TRUTH_COLUMNS)]
    families = grouped(outcomes, _family)
    parts += ["Correlation at 2 px:", value_table(families, _CORRELATION, heading="family")]
    return "\n\n".join(parts)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Correlation at 2 px of each family, mean and deviation over the regimes."""
    rows = {
        family: {
            name: mean_and_sd([value(o, _CORRELATION.key) for o in found])
            for name, found in by_name(group).items()
        }
        for family, group in grouped(outcomes, _family).items()
    }
    draw_dots(rows, path, label="correlation with the true fluorophores after a blur of 2 px")


def _family(outcome: Outcome) -> str:
    return str(outcome.movie["structure"])


FAMILY_MOVIES = Experiment(
    name="families",
    reproduces="beyond Fig. 7",
    about=(
        "Nine families of structures (mitochondria, chromatin and stars were never trained on) in "
        "four regimes: paper's simulator, random cameras, mEos3.2 camera, 3000 noisy emitters. "
        "Richardson–Lucy gets the true PSF, the others measure it."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
