"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlbi.core.errors import DlbiError, InputError, OutputError

if TYPE_CHECKING:
    from dlbi.core.images import ImageStack
    from dlbi.reconstruction.drift import Steady

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Repeats a run bit by bit; drawn and printed if absent."),
]
PsfFwhm = Annotated[
    float | None,
    typer.Option(min=20, max=5000, metavar="NM", help="Full width at half maximum of the PSF."),
]

Movie = Annotated[
    Path,
    typer.Argument(metavar="MOVIE", help="TIFF of any kind, folder of frames, .npy or OME-Zarr."),
]
PixelSize = Annotated[
    float | None,
    typer.Option(metavar="NM", help="Camera pixel in the sample, if the file does not say."),
]
Roi = Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="Region in camera pixels.")]
Frames = Annotated[
    str | None,
    typer.Option(metavar="A:B[:S]", help="Frames A … B − 1, counted from 0; every S-th of them."),
]
CorrectDrift = Annotated[
    bool,
    typer.Option("--correct-drift", help="Measure how the sample moves, and move the frames back."),
]


def parse_roi(text: str) -> tuple[int, int, int, int]:
    """``X,Y,W,H`` in camera pixels.

    Raises
    ------
    InputError
        If the text is anything else.
    """
    match = re.fullmatch(r"(\d+),(\d+),(\d+),(\d+)", text.replace(" ", ""), re.ASCII)
    if match is None:
        raise InputError(f"--roi {text}: needs X,Y,W,H in whole camera pixels, as 60,60,60,60")
    x, y, width, height = (int(part) for part in match.groups())
    return x, y, width, height


def parse_frames(text: str | None) -> slice:
    """``A:B`` or ``A:B:S``: every S-th of the frames A … B − 1, counted from 0.

    Each of the three may be left out; None are all frames.

    Raises
    ------
    InputError
        If the text is anything else.
    """
    if text is None:
        return slice(0, None, 1)
    match = re.fullmatch(r"(\d*):(\d*)(?::(\d*))?", text.replace(" ", ""), re.ASCII)
    if match is None:
        raise InputError(
            f"--frames {text}: needs A:B or A:B:STEP in frame numbers from 0, as 0:200 or 0:200:2"
        )
    first, end, step = match.groups()
    if step and int(step) == 0:
        raise InputError(f"--frames {text}: the step must be at least 1")
    return slice(int(first or 0), int(end) if end else None, int(step or 1))


@contextmanager
def naming(subject: str | Path) -> Iterator[None]:
    """Put the file or option at the head of errors that do not name it."""
    try:
        yield
    except DlbiError as error:
        if str(subject) in str(error):
            raise
        raise type(error)(f"{subject}: {error}") from error


def check_distinct(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Refuse to write over an input.

    Raises
    ------
    OutputError
        If an output is one of the inputs, or lies in a folder that is one.
    """
    read = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        place = path.resolve()
        if place in read:
            raise OutputError(f"{path}: is an input of this command; choose another output name")
        if place.parent in read:
            raise OutputError(
                f"{path}: lies in the folder of the movie and would be read as a part of it; "
                "choose another folder"
            )


def part_of(
    whole: ImageStack, frames: slice, region: tuple[int, int, int, int] | None, movie: Path
) -> ImageStack:
    """Some frames and pixels of a movie.

    Raises
    ------
    InputError
        If there is no such part, or nothing changes in it.
    """
    from dlbi.io.stacks import check_stack

    with naming(movie):
        part = whole.select(frames, region)
    if part.data.shape != whole.data.shape:
        check_stack(part, name=str(movie))
    return part


def check_frames(frames: slice, n_frames: int, movie: Path) -> slice:
    """The frames with an explicit end.

    Raises
    ------
    InputError
        If they reach beyond the movie.
    """
    end = n_frames if frames.stop is None else frames.stop
    if end > n_frames:
        raise InputError(
            f"{movie}: --frames {frames.start}:{end} reaches beyond its {n_frames} frames; "
            f"choose an end of at most {n_frames}"
        )
    return slice(frames.start, end, frames.step)


def without_drift(movie: Path, stack: ImageStack) -> Steady:
    """What ``--correct-drift`` asks for: a movie measured and held in place; says how far it moved.

    Raises
    ------
    ShapeError
        If the movie does not show drift.
    """
    from dlbi.reconstruction.drift import correct_drift

    with naming(movie):
        steady = correct_drift(stack)
    print(steady, flush=True)
    return steady


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
