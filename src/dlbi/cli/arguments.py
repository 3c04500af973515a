"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dlbi.core.errors import DlbiError, InputError, OutputError

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Seed = Annotated[
    int | None,
    typer.Option(min=0, metavar="N", help="Repeats a run bit by bit; drawn and printed if absent."),
]
PsfFwhm = Annotated[
    float | None,
    typer.Option(metavar="NM", help="Full width at half maximum of the PSF."),
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
    str | None, typer.Option(metavar="A:B", help="Frames A … B − 1, counted from 0.")
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


def parse_frames(text: str) -> tuple[int, int | None]:
    """``A:B``, frames A … B − 1 counted from 0; either may be left out.

    Raises
    ------
    InputError
        If the text is anything else.
    """
    match = re.fullmatch(r"(\d*):(\d*)", text.replace(" ", ""), re.ASCII)
    if match is None:
        raise InputError(f"--frames {text}: needs A:B in frame numbers from 0, as 0:200")
    first, end = match.groups()
    return int(first or 0), int(end) if end else None


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
        If an output is one of the inputs.
    """
    read = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path.resolve() in read:
            raise OutputError(f"{path}: is an input of this command; choose another output name")


def check_frames(frames: tuple[int, int | None], n_frames: int, movie: Path) -> slice:
    """The frames as a slice.

    Raises
    ------
    InputError
        If they reach beyond the movie.
    """
    first, end = frames[0], n_frames if frames[1] is None else frames[1]
    if end > n_frames:
        raise InputError(
            f"{movie}: --frames {first}:{end} reaches beyond its {n_frames} frames; "
            f"choose an end of at most {n_frames}"
        )
    return slice(first, end)


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
