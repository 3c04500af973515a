"""Which axis of a stored array is time.

A movie has one axis of frames. Pages without a name (plain multi-page TIFF, ``.npy``) are frames.
A stack of slices (Z) with a single time point is read as frames, with a warning: Fiji labels
image sequences that way unless told otherwise. Colours, channels, and slices beside frames are
refused, because any choice between them would be a guess.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError

logger = logging.getLogger(__name__)

_UNNAMED = "IQR"
_NAMES = {"C": "channels", "Z": "slices", "T": "frames", "S": "samples", "P": "positions"}


def frame_axes(
    shape: tuple[int, ...], axes: str, path: Path, *, requested: str | None = None
) -> tuple[int, int, int]:
    """Positions of time, rows and columns in a stored array.

    Parameters
    ----------
    shape : tuple of int
        Lengths of the stored axes.
    axes : str
        One letter for each as the file names them: T, Z, C, Y, X, S (samples of a colour),
        or I and Q for axes without a name.
    path : Path
        For messages.
    requested : str, optional
        Names given by the user in the stored order, e.g. ``"ZTYX"`` or ``"YXT"``; axes of
        length 1 may be left out.

    Raises
    ------
    InputError
        If `requested` does not describe the array.
    FileFormatError
        If there is no axis of frames, or more than one candidate.
    """
    if requested is not None:
        axes = _requested_axes(shape, axes, path, requested.upper())
    kept = [i for i, name in enumerate(axes) if shape[i] != 1 or name in "YX"]
    names = "".join(axes[i] for i in kept)
    others = [i for i in kept if axes[i] not in "YX"]
    if names.count("Y") != 1 or names.count("X") != 1:
        raise FileFormatError(
            f"{path}: its axes {names} {_lengths(shape, kept)} are not those of a movie; "
            "frames with rows and columns (T, Y, X) are needed"
        )
    _refuse_ambiguous(shape, axes, others, path)
    (time,) = others
    if axes[time] == "Z":
        warnings.warn(
            f"{path}: its {shape[time]} images are labelled slices (Z) and not frames; they are "
            "read as frames in time. In Fiji, Image › Properties sets frames; axes='TYX' in "
            "Python silences this",
            DlbiWarning,
            stacklevel=2,
        )
    logger.info("%s: axes %s %s read as T, Y, X", path, names, _lengths(shape, kept))
    return time, axes.index("Y"), axes.index("X")


def _refuse_ambiguous(shape: tuple[int, ...], axes: str, others: list[int], path: Path) -> None:
    names = [axes[i] for i in others]
    if "S" in names:
        raise FileFormatError(
            f"{path}: is a colour (RGB) picture or movie, and intensities are needed; split the "
            "channels (Fiji: Image › Color › Split Channels) and save one of them"
        )
    if "C" in names:
        raise FileFormatError(
            f"{path}: has {shape[others[names.index('C')]]} channels and one is needed; extract "
            "it (Fiji: Image › Duplicate…, or Image › Color › Split Channels) and save it, "
            "or, if they are frames, say axes='TYX' in Python"
        )
    if not others:
        raise FileFormatError(
            f"{path}: holds a single frame; a movie of at least 2 frames is needed, because one "
            "image cannot blink"
        )
    if len(others) > 1 or names[0] not in "TZ" + _UNNAMED:
        counted = " and ".join(
            f"{shape[i]} {_NAMES.get(axes[i], f'along {axes[i]!r}')}" for i in others
        )
        raise FileFormatError(
            f"{path}: has {counted}, and which are the frames is ambiguous; extract one movie "
            "(Fiji: Image › Duplicate… with one slice or position) and save it"
        )


def _requested_axes(shape: tuple[int, ...], axes: str, path: Path, requested: str) -> str:
    """The user's names for all stored axes; those left out keep the file's name."""
    if sorted(set(requested) & set("TYX")) != ["T", "X", "Y"] or len(set(requested)) != len(
        requested
    ):
        raise InputError(
            f"{path}: axes={requested!r} must name T, Y and X once each, such as axes='TYX'"
        )
    if len(requested) == len(shape):
        return requested
    long_axes = [i for i, length in enumerate(shape) if length != 1]
    if len(requested) != len(long_axes):
        raise InputError(
            f"{path}: axes={requested!r} names {len(requested)} axes, but the file has "
            f"{len(long_axes)} ({'×'.join(str(shape[i]) for i in long_axes)}); name each of them"
        )
    renamed = dict(zip(long_axes, requested, strict=True))
    return "".join(renamed.get(i, "_") for i in range(len(axes)))


def _lengths(shape: tuple[int, ...], kept: list[int]) -> str:
    return "(" + "×".join(str(shape[i]) for i in kept) + ")"
