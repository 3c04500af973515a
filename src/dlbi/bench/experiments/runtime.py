"""Run times of network, whole pipeline and 3B (Fig. 11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import DLBI, NETWORK, threeb
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.experiments.areas import areas
from dlbi.bench.pictures import draw_dots
from dlbi.bench.tables import Column, by_name, grouped, mean_and_sd, value, value_table

_CPU = Column("cpu_seconds", "CPU s", 1, "low")


def tasks(plan: Plan) -> list[Task]:
    """The three programs of the figure on all simulated areas and patches of real movies."""
    three = (NETWORK, DLBI, threeb(plan.threeb_quality))
    return crossed([*areas(plan), *plan.patches], three)


def report(outcomes: Sequence[Outcome]) -> str:
    """CPU seconds of each task, and how many times longer 3B takes."""
    mean = {
        name: mean_and_sd([value(o, _CPU.key) for o in group])[0]
        for name, group in by_name(outcomes).items()
    }
    ratios = ", ".join(
        f"{seconds / mean[DLBI.name]:.2g} ({name})" for name, seconds in mean.items()
    )
    return "\n\n".join(
        [
            "CPU seconds of all threads, without compilation, loading and scoring:",
            value_table(grouped(outcomes, _task), _CPU, heading="task"),
            f"Mean, in units of dlbi: {ratios}. The paper has 30–40 min for DLBI, of which 1–3 min "
            "for its network, and 75 h for the original 3B with 240 passes.",
        ]
    )


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """A dot for each task and program, on a logarithmic axis."""
    rows = {
        task: {o.case.contestant.name: (value(o, _CPU.key), 0.0) for o in group}
        for task, group in grouped(outcomes, _task).items()
    }
    draw_dots(rows, path, label="CPU seconds", logarithmic=True)


def _task(outcome: Outcome) -> str:
    source = outcome.case.source
    simulated = outcome.movie["kind"] == "simulated"
    return f"{source.title}, seed {source.seed}" if simulated else source.title


RUNTIME = Experiment(
    name="runtime",
    reproduces="Fig. 11",
    about=(
        "Run times on the movies of `areas` and on patches of real movies. 3B is this package's, "
        "about a hundred times faster than the released program."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
