"""Drift taken off a movie: every frame is moved to where the sample is on average."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy import fft

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.images import (
    FRAMES_AT_ONCE,
    ChangedFrames,
    FloatImage,
    ImageStack,
    as_slice,
    expect_movie,
)
from dlbi.core.kernels import F64
from dlbi.evaluation.drift import DriftPath, estimate_path, movement_nm
from dlbi.inference.measurement.defects import Pixels, without_defects
from dlbi.reconstruction.measurement import tell_defects

T = TypeVar("T")

N_PASSES = 4
"""Most times the path is measured: the first mean image is blurred by the drift itself."""


class Steady(NamedTuple):
    """A movie whose sample stays in place.

    Parameters
    ----------
    stack : ImageStack
        Frames as floats, defective pixels mended, moved when they are read.
    path : DriftPath
        What was taken off.
    residual_nm : float
        Root mean square distance of blocks of the frames from their mean place, afterwards.
    defects : sequence of (x, y)
        Camera pixels that were mended before.
    """

    stack: ImageStack
    path: DriftPath
    residual_nm: float
    defects: Pixels

    def __str__(self) -> str:
        """One line for the user."""
        if not self.path.terms_nm:
            return (
                "drift: none stands out of what blinking does to the mean of some frames "
                f"({self.residual_nm:.0f} nm); the frames stay as they are"
            )
        y, x = self.path.shift_nm
        return (
            f"drift: {self.path.length_nm:.0f} nm from the first to the last frame "
            f"(x {x:+.0f}, y {y:+.0f} nm), taken off; what is left scatters by "
            f"{self.residual_nm:.0f} nm"
        )

    def record(self) -> dict[str, Any]:
        """For the provenance; `steadied_as` repeats it."""
        return {
            "terms_nm": [list(term) for term in self.path.terms_nm],
            "shift_nm": list(self.path.shift_nm),
            "residual_nm": self.residual_nm,
            "defective_pixels": [list(pixel) for pixel in self.defects],
        }


def correct_drift(stack: ImageStack) -> Steady:
    """Measure the drift of a movie and take it off.

    Parameters
    ----------
    stack : ImageStack
        At least 20 frames of 12×12 pixels. Take the whole field and select a region of the result:
        more light tells more of the drift.

    Returns
    -------
    Steady

    Raises
    ------
    ShapeError
        If the movie is too short, too small or too dim to show drift.

    Warns
    -----
    DlbiWarning
        If camera pixels do not work.

    Notes
    -----
    Frames are moved by the phases of their Fourier coefficients, which keeps the noise of
    neighbouring pixels independent. Interpolation by splines does not: the noise is then found too
    small, and with it the PSF. Beyond its edges a frame is continued by its mirror image.
    """
    expect_movie(stack)
    mended, defects = without_defects(stack)
    tell_defects(defects)
    path = DriftPath(())
    for _ in range(N_PASSES):
        rest = _known(estimate_path(held_in_place(mended, path)), stack)
        path += rest
        if not rest.terms_nm:
            break
    still = held_in_place(mended, path)
    return Steady(still, path, _known(movement_nm(still), stack), defects)


def _known(found: T | None, stack: ImageStack) -> T:
    if found is None:
        height, width = stack.grid.shape
        raise ShapeError(
            f"{stack.n_frames} frames of {width}×{height} px do not show drift; 20 frames of "
            "12×12 px with light are needed, so leave drift as it is"
        )
    return found


def steadied_as(stack: ImageStack, record: Mapping[str, Any]) -> ImageStack:
    """The movie with the drift taken off that `Steady.record` tells of.

    Raises
    ------
    InputError
        If the record is damaged.

    Warns
    -----
    DlbiWarning
        If it tells of camera pixels that do not work.
    """
    try:
        defects = tuple((int(x), int(y)) for x, y in record["defective_pixels"])
        path = DriftPath(tuple((float(y), float(x)) for y, x in record["terms_nm"]))
        if not np.isfinite(path.terms_nm).all():
            raise ValueError(f"terms {path.terms_nm}")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the drift that the image records cannot be read ({error}); reconstruct again, or "
            "compare without the provenance file"
        ) from error
    tell_defects(defects)
    return held_in_place(without_defects(stack, defects)[0], path)


def held_in_place(stack: ImageStack, path: DriftPath) -> ImageStack:
    """The movie with every frame moved back along a path, lazily."""
    if not path.terms_nm:
        return stack
    positions_px = path.positions_nm(stack.n_frames) / stack.grid.pixel_size_nm
    return replace(stack, data=_Moved(stack.data, -positions_px))


@dataclass(frozen=True, slots=True)
class _Moved(ChangedFrames):
    """Frames that are moved when they are read, each by its own (y, x) in pixels."""

    shifts_px: F64

    def read(self, frames: range, rows: range, columns: range) -> FloatImage:
        """Moved, a few at a time, because their whole field must be read."""
        out = np.empty((len(frames), len(rows), len(columns)), np.float32)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            run = as_slice(frames[start : start + FRAMES_AT_ONCE])
            taken = np.asarray(self.source[run], np.float32)
            y, x = self.shifts_px[run].T
            moved = _moved(_moved(taken, y, axis=1)[:, as_slice(rows)], x, axis=2)
            out[start : start + FRAMES_AT_ONCE] = moved[:, :, as_slice(columns)]
        return out


def _moved(frames: FloatImage, shifts_px: F64, *, axis: int) -> FloatImage:
    """Frames (T, Y, X) moved along an axis, each by its own number of pixels."""
    n = frames.shape[axis]
    whole = fft.next_fast_len(2 * n, real=True)
    there, start = np.moveaxis(frames, axis, -1), np.expand_dims(frames.take(0, axis), -1)
    back = np.flip(there, -1), np.broadcast_to(start, (*start.shape[:2], whole - 2 * n))
    spectrum = fft.rfft(np.concatenate([there, *back], axis=-1))
    cycles = fft.rfftfreq(whole)
    spectrum *= np.exp(-2j * np.pi * shifts_px[:, None, None] * cycles).astype(np.complex64)
    moved = np.asarray(fft.irfft(spectrum, n=whole)[..., :n], np.float32)
    return np.moveaxis(moved, -1, axis)
