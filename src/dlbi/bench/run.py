"""Runs experiments: every case once, then tables, figures and one record of everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dlbi.bench.cases import Case, CaseStore, Outcome
from dlbi.bench.experiment import Experiment, Plan, Task
from dlbi.bench.experiments import ASKED_FOR, EXPERIMENTS, NOT_REPRODUCED
from dlbi.bench.report import Section, write_report
from dlbi.core.errors import InputError, OutputError

CASES = "cases"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Agenda:
    """Which experiments are run with which cases.

    Parameters
    ----------
    tasks : dict
        By name of the experiment.
    left_out : dict
        Experiments without cases under this plan, and what they need.
    """

    tasks: dict[str, list[Task]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def cases(self) -> dict[Case, bool]:
        """Every case once, and whether its image is kept; cases of equal settings are one."""
        first: dict[str, Case] = {}
        pictured: dict[str, bool] = {}
        for tasks in self.tasks.values():
            for case, kept in tasks:
                first.setdefault(case.key, case)
                pictured[case.key] = pictured.get(case.key, False) or kept
        return {case: pictured[key] for key, case in first.items()}


def agenda(plan: Plan, names: Sequence[str] = (), *, ablations: bool = False) -> Agenda:
    """The cases of the experiments that are asked for; of all but the ablations by default.

    Raises
    ------
    InputError
        If there is no such experiment, or one that is named lacks what it needs.
    """
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise InputError(
            f"no experiment is called {unknown[0]!r}; choose of {', '.join(EXPERIMENTS)}"
        )
    found = Agenda()
    for name, experiment in EXPERIMENTS.items():
        wanted = name in names or (not names and name not in ASKED_FOR)
        if not wanted and not (ablations and name in ASKED_FOR):
            continue
        tasks = experiment.tasks(plan)
        if tasks:
            found.tasks[name] = tasks
        elif name in names:
            raise InputError(f"experiment {name} needs {experiment.needs}")
        else:
            found.left_out[name] = f"needs {experiment.needs}"
    return found


def run(
    folder: Path,
    plan: Plan,
    wanted: Agenda,
    *,
    resume: bool = False,
    n_workers: int = 1,
    command: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Run all cases that are not finished yet, and write tables, figures and the record.

    Parameters
    ----------
    folder : Path
        For everything; each finished case is kept in ``cases`` below it.
    plan : Plan
    wanted : Agenda
        Of `agenda`.
    resume : bool
        Take finished cases of an earlier run.
    n_workers : int
        Threads of the methods.
    command : sequence of str, optional
        For the record.
    progress : callable, optional
        Called with ("cases", done, total).

    Returns
    -------
    list of Path
        ``bench.json``, ``bench.md`` and a PNG for each experiment.

    Raises
    ------
    OutputError
        If the folder exists and `resume` is false, or it cannot be written to.
    """
    check_folder(folder, resume=resume)
    started = datetime.now(UTC)
    store = CaseStore(folder / CASES)
    _make(store.folder)
    cases = wanted.cases()
    try:
        for done, (case, pictured) in enumerate(cases.items()):
            if store.find(case, pictured=pictured) is None:
                store.run(case, pictured=pictured, n_workers=n_workers)
            if progress is not None:
                progress("cases", done + 1, len(cases))
    finally:
        for empty in (store.folder, folder):
            with suppress(OSError):  # it holds files, as it should
                empty.rmdir()
    sections = [
        Section(EXPERIMENTS[name], _outcomes(store, tasks)) for name, tasks in wanted.tasks.items()
    ]
    return write_report(
        folder, sections, plan,
        left_out=wanted.left_out, n_workers=n_workers, command=command, started=started,
    )  # fmt: skip


def check_folder(folder: Path, *, resume: bool) -> None:
    """Refuse a folder that is there, unless its run is to be continued.

    Raises
    ------
    InputError, OutputError
        If there is nothing to continue, or something would be replaced.
    """
    if resume and not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder to continue in; run without --resume")
    if not resume and folder.exists():
        raise OutputError(
            f"{folder}: exists already; continue with --resume or choose another folder"
        )
    if not folder.absolute().parent.is_dir():
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); choose another folder"
        ) from error


def _outcomes(store: CaseStore, tasks: Sequence[Task]) -> list[Outcome]:
    found = (store.find(case, pictured=pictured) for case, pictured in tasks)
    return [outcome for outcome in found if outcome is not None]


def describe_experiments() -> str:
    """Names of the experiments and what they repeat, and what cannot be repeated, as text."""
    lines = ["experiments"]
    lines += [_line(experiment) for experiment in EXPERIMENTS.values()]
    lines += ["", "not reproduced"]
    lines += [f"  {what}: {why}" for what, why in NOT_REPRODUCED.items()]
    return "\n".join(lines)


def _line(experiment: Experiment) -> str:
    hints = [f"needs {experiment.needs}"] if experiment.needs else []
    hints += ["only with --ablations"] if experiment.name in ASKED_FOR else []
    note = f" ({'; '.join(hints)})" if hints else ""
    return f"  {experiment.name.ljust(10)} {experiment.reproduces}: {experiment.about}{note}"
