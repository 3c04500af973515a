"""From the network to the Bayesian refinement (Fig. 10)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import DLBI, NETWORK
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.experiments.areas import STRUCTURES, areas
from dlbi.bench.pictures import draw_blocks, images
from dlbi.bench.tables import MOVIE_COLUMNS, TRUTH_COLUMNS, grouped, summary_table

_COLUMNS = (*TRUTH_COLUMNS[:5], *(c for c in MOVIE_COLUMNS if c.key in ("rsp", "chi2")))


def tasks(plan: Plan) -> list[Task]:
    """Both stages on all simulated areas and on the patches of real movies."""
    simulated = crossed(areas(plan), (NETWORK, DLBI), n_pictured=len(STRUCTURES))
    return simulated + crossed(plan.patches, (NETWORK, DLBI), n_pictured=len(plan.patches))


def report(outcomes: Sequence[Outcome]) -> str:
    """Simulated areas together, each real patch alone."""
    parts = []
    for title, group in grouped(outcomes, _title).items():
        parts += [f"{title}:", summary_table(group, _COLUMNS)]
    return "\n\n".join(parts)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """One area of each structure and all patches."""
    groups = grouped(o for o in outcomes if o.picture is not None).values()
    draw_blocks([images(group) for group in groups], path)


def _title(outcome: Outcome) -> str:
    movie = outcome.movie
    is_simulated = movie["kind"] == "simulated"
    return f"Simulated, {movie['preset']}" if is_simulated else outcome.case.source.title


STAGES = Experiment(
    name="stages",
    reproduces="Fig. 10",
    about="What the Bayesian refinement changes in the network's image, on the movies of `areas`.",
    tasks=tasks,
    report=report,
    draw=draw,
)
