"""Real movies given by path: RSP, RSE, error maps, large fields (Table 2, Figs 8, 9 and 12)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import BICUBIC, DLBI, NETWORK, RICHARDSON_LUCY, SOFI
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.experiments.areas import contestants
from dlbi.bench.pictures import draw_blocks, images
from dlbi.bench.tables import MOVIE_COLUMNS, grouped, summary_table
from dlbi.evaluation.squirrel import score_movie
from dlbi.figures import Picture, intensity_limits
from dlbi.reconstruction.measurement import measure

LARGE_FIELD = (BICUBIC, RICHARDSON_LUCY, SOFI, NETWORK, DLBI)


def patch_tasks(plan: Plan) -> list[Task]:
    """All methods on the patches."""
    return crossed(plan.patches, contestants(plan), n_pictured=len(plan.patches))


def field_tasks(plan: Plan) -> list[Task]:
    """All but the slow methods on whole fields."""
    return crossed(plan.fields, LARGE_FIELD, n_pictured=len(plan.fields))


def report(outcomes: Sequence[Outcome]) -> str:
    """A table for each movie."""
    parts = []
    for title, group in grouped(outcomes, lambda o: o.case.source.title).items():
        parts += [f"{title}:", summary_table(group, MOVIE_COLUMNS)]
    return "\n\n".join(parts)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """First frame, images, and the absolute error of each image against the mean frame."""
    groups = grouped(o for o in outcomes if o.picture is not None).values()
    caption = "Error maps: 0 to the largest 99.8 % quantile of the movie."
    draw_blocks(
        [part for g in groups for part in (images(g), error_maps(g))], path, caption=caption
    )


def error_maps(group: Sequence[Outcome]) -> list[Picture]:
    """SQUIRREL's error map of each image, the background taken off the mean frame, counts.

    All maps of a movie are shown on one scale.
    """
    stack = group[0].case.source.load().stack
    haze = measure(stack).background.haze
    errors = {
        outcome.case.contestant.name: score_movie(outcome.image(), stack, background=haze).error_map
        for outcome in group
    }
    limits = (0.0, max(intensity_limits(error)[1] for error in errors.values()))
    return [
        Picture(f"error, {name}", error, stack.grid, colour_map="viridis", limits=limits)
        for name, error in errors.items()
    ]


_ABOUT = (
    "against their own mean frame. The error maps show the absolute error once the measured "
    "background is taken off the mean frame."
)

PATCHES = Experiment(
    name="patches",
    reproduces="Table 2, Figs 8 and 9",
    about=f"Local patches of real movies {_ABOUT}",
    tasks=patch_tasks,
    report=report,
    draw=draw,
    needs="real movies; give --movie PATH",
)

FIELDS = Experiment(
    name="fields",
    reproduces="Fig. 12A–C",
    about=f"Whole fields of real movies {_ABOUT}",
    tasks=field_tasks,
    report=report,
    draw=draw,
    needs="real movies larger than a patch; give --movie PATH, and not --quick",
)
