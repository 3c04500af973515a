"""The smallest distance at which each method still separates two lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import BAYES, BICUBIC, DLBI, NETWORK, RICHARDSON_LUCY_TRUE
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.line_fields import line_field
from dlbi.bench.pictures import draw_dots
from dlbi.bench.tables import (
    Column,
    by_name,
    grouped,
    markdown,
    mean_and_sd,
    preset_of,
    value,
    value_table,
)
from dlbi.evaluation.line_spacing import resolved_spacing

SPACINGS_NM = (60.0, 80.0, 100.0, 120.0, 140.0, 160.0, 190.0, 220.0, 260.0, 320.0)
QUICK_SPACINGS_NM = (140.0, 190.0, 260.0)
PRESETS = ("meos3.2", "paper")
CONTESTANTS = (BICUBIC, RICHARDSON_LUCY_TRUE, BAYES, NETWORK, DLBI)

PAIRS = Column("pairs", "pairs resolved", 2)
LADDERS = Column("ladders", "ladders of four lines resolved", 2)
BANDS = Column("bands", "bands taken for pairs", 2, "low")


def tasks(plan: Plan) -> list[Task]:
    """A field for each spacing under both presets; three of them in a quick run."""
    presets, spacings = (PRESETS[:1], QUICK_SPACINGS_NM) if plan.quick else (PRESETS, SPACINGS_NM)
    fields = [line_field(plan.seed, preset, nm) for preset in presets for nm in spacings]
    return crossed(fields, CONTESTANTS)


def report(outcomes: Sequence[Outcome]) -> str:
    """Shares resolved at each spacing, and from which spacing on most groups are."""
    parts = []
    for preset, group in grouped(outcomes, preset_of).items():
        by_spacing = grouped(group, lambda o: f"{_spacing_nm(o):g} nm")
        rows = [
            [name, *(_from(found, column) for column in (PAIRS, LADDERS))]
            for name, found in by_name(group).items()
        ]
        parts += [
            f"{preset}, most are resolved from this spacing on:",
            markdown(["method", "pairs", "ladders of four lines"], rows),
        ]
        for column in (PAIRS, LADDERS, BANDS):
            parts += [f"Share of {column.title}:", value_table(by_spacing, column, heading="nm")]
    return "\n\n".join(parts)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Share of pairs resolved at each spacing, mean and deviation over the presets."""
    rows = {
        title: {
            name: mean_and_sd([value(o, PAIRS.key) for o in found])
            for name, found in by_name(group).items()
        }
        for title, group in grouped(outcomes, lambda o: f"{_spacing_nm(o):g} nm").items()
    }
    draw_dots(rows, path, label="share of the pairs of lines that are resolved")


def _from(outcomes: Sequence[Outcome], column: Column) -> str:
    found = resolved_spacing({_spacing_nm(o): value(o, column.key) for o in outcomes})
    return "none" if found is None else f"{found:g} nm"


def _spacing_nm(outcome: Outcome) -> float:
    return float(outcome.movie["spacing_nm"])


RESOLUTION = Experiment(
    name="resolution",
    reproduces="beyond the paper",
    about=(
        "Eight pairs and four ladders of lines for each spacing, and four filled bands as a "
        "control. Neighbours are resolved if the valley between them is below 0.8 of their peaks. "
        "Richardson–Lucy gets the true PSF, the others measure it."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
