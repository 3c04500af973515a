"""Eight simulated areas: every method against the truth (Table 1 and Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import (
    BAYES,
    BICUBIC,
    DLBI,
    NANOPYX,
    NETWORK,
    RICHARDSON_LUCY,
    SOFI,
    Contestant,
    threeb,
)
from dlbi.bench.esrrf import esrrf_is_installed
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.pictures import draw_blocks, images
from dlbi.bench.subjects import Simulated, area_seed
from dlbi.bench.tables import (
    MOVIE_COLUMNS,
    TRUTH_COLUMNS,
    grouped,
    preset_of,
    summary_table,
    value_table,
)

STRUCTURES = {"MT": "filaments", "Tub": "bundles"}
"""Microtubules and tubulin of the SMLM challenge, as this package draws their like."""
PRESETS = ("meos3.2", "paper")
N_AREAS, N_QUICK_AREAS = 4, 2

_TABLE_1 = [column for column in TRUTH_COLUMNS if column.key in ("psnr_ls_db", "ssim_ls")]


def areas(plan: Plan) -> list[Simulated]:
    """The areas of a plan, the first of each structure under the first preset ahead."""
    n_areas, presets = (N_QUICK_AREAS, PRESETS[:1]) if plan.quick else (N_AREAS, PRESETS)
    return [
        Simulated(
            structure=structure,
            preset=preset,
            seed=area_seed(plan.seed, structure, preset, n),
            field_px=plan.field_px,
        )
        for preset in presets
        for n in range(n_areas)
        for structure in STRUCTURES.values()
    ]


def contestants(plan: Plan) -> list[Contestant]:
    """Every method there is, NanoPyx's if it is installed."""
    peers = [BICUBIC, RICHARDSON_LUCY, SOFI, *([NANOPYX] if esrrf_is_installed() else [])]
    return [*peers, threeb(plan.threeb_quality), BAYES, NETWORK, DLBI]


def tasks(plan: Plan) -> list[Task]:
    """All methods on all areas; the images of one area of each structure are kept."""
    return crossed(areas(plan), contestants(plan), n_pictured=len(STRUCTURES))


def report(outcomes: Sequence[Outcome]) -> str:
    """For each preset the scores of all methods, and the form of the paper's Table 1."""
    parts = []
    for preset, group in grouped(outcomes, preset_of).items():
        single = grouped(group, _area)
        parts += [
            f"Preset {preset}, {len(single)} areas, against the truth:",
            summary_table(group, TRUTH_COLUMNS),
            "Against the movie itself:",
            summary_table(group, MOVIE_COLUMNS),
        ]
        for column in _TABLE_1:
            parts += [f"Area by area, {column.title}:", value_table(single, column, heading="area")]
    return "\n\n".join(parts)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """One area of each structure."""
    groups = grouped(o for o in outcomes if o.picture is not None).values()
    draw_blocks([images(group) for group in groups], path)


def _area(outcome: Outcome) -> str:
    movie = outcome.movie
    label = next(k for k, structure in STRUCTURES.items() if structure == movie["structure"])
    return f"{label}, seed {movie['seed']}"


AREAS = Experiment(
    name="areas",
    reproduces="Table 1, Fig. 7",
    about=(
        "Microtubule-like (MT) and tubulin-like (Tub) structures, drawn here, under the mEos3.2 "
        "camera and under the paper's simulator; 200 frames, reconstructed at ×8."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
