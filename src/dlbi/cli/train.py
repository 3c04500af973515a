"""`dlbi train`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlbi.cli.arguments import available_cores
from dlbi.cli.console import Progress, progress_report

if TYPE_CHECKING:
    from dlbi.training.config import TrainingConfig
    from dlbi.training.pool import DataConfig, Pool


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="What to train, on what, how long.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for series, checkpoint, log and model.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what was stopped or killed in that folder.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Cores; all if absent. The same number repeats a training bit by bit.",
        ),
    ] = None,
) -> None:
    """Train a network.

    Simulates the series, trains on them and writes a model file with its card. Ctrl-C saves a
    checkpoint first.
    """
    with _needing_extra():
        from dlbi.training.config import load_config
        from dlbi.training.devices import device_of
        from dlbi.training.model_file import write_model
        from dlbi.training.pool import VALIDATION

    settings = load_config(config)
    _check_folder(out, resume=resume)
    device_of(settings.optimisation.device)
    cores = workers or available_cores()
    with progress_report() as progress:
        parts = settings.training_parts()
        pools = {
            name: _simulate(data, settings.seed, out / "pool", name, cores, progress)
            for name, data in {**dict(parts), VALIDATION: settings.data}.items()
        }
        validation, last = pools.pop(VALIDATION), pools[parts[-1][0]]
        try:
            _train(settings, out, pools, validation, resume, cores, progress)
        except KeyboardInterrupt:
            print(f"{out}: stopped; go on with --resume", flush=True)
            raise
        written = write_model(
            settings, out, last, validation,
            n_workers=cores, progress=partial(progress, "known errors"),
        )  # fmt: skip
    print("wrote " + ", ".join(map(str, written)))


@contextmanager
def _needing_extra() -> Iterator[None]:
    """Tell in one line how to get PyTorch and what goes with it."""
    from dlbi.core.errors import InputError

    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "a package").partition(".")[0]
        if missing == "dlbi":
            raise
        raise InputError(
            f"training needs {missing}, which is not installed; pip install 'dlbi[train]'"
        ) from error


def _check_folder(out: Path, *, resume: bool) -> None:
    from dlbi.core.errors import InputError, OutputError

    if resume and not out.is_dir():
        raise InputError(f"{out}: there is no such folder to continue in; train without --resume")
    if not resume and out.exists():
        raise OutputError(f"{out}: exists already; continue with --resume or choose another folder")
    if not out.parent.is_dir():
        raise OutputError(f"{out}: the folder {out.parent} does not exist; create it first")


def _simulate(
    data: DataConfig, seed: int, folder: Path, part: str, cores: int, progress: Progress
) -> Pool:
    from dlbi.training.pool import make_pool

    def advance(done: int, total: int) -> None:
        progress(f"{part} series", done, total)

    return make_pool(folder, data, seed, part, n_workers=cores, progress=advance)


def _train(
    settings: TrainingConfig,
    out: Path,
    pools: dict[str, Pool],
    validation: Pool,
    resume: bool,
    cores: int,
    progress: Progress,
) -> None:
    from dlbi.training.checkpoints import has_checkpoint
    from dlbi.training.compact.config import CompactConfig
    from dlbi.training.compact.run import train as train_compact
    from dlbi.training.paper.run import train as train_paper

    def advance(done: int, total: int) -> None:
        progress("training steps", done, total)

    def report(row: dict[str, float]) -> None:
        print(", ".join(f"{name} {value:.6g}" for name, value in row.items()), flush=True)

    # A training killed before its first checkpoint has nothing but its series to go on from.
    going_on = resume and has_checkpoint(out)
    if isinstance(settings, CompactConfig):
        train_compact(
            settings, out, pools, validation,
            resume=going_on, n_threads=cores, progress=advance, report=report,
        )  # fmt: skip
    else:
        train_paper(
            settings, out, pool=pools["training"], validation=validation,
            resume=going_on, n_threads=cores, progress=advance, report=report,
        )  # fmt: skip
