"""Drift of a movie from its own frames: how the mean of each block of frames lies on that of all.

A block is the mean image, moved, brighter or darker, on another level. For small movements that is
linear in the gradient of the mean (Lucas and Kanade 1981), so every pixel tells of the shift, and
the scatter of the blocks about a straight line tells the error, blinking and noise included.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from dlbi.core.images import ImageStack

N_BLOCKS, MIN_BLOCKS, MIN_BLOCK_FRAMES = 10, 5, 4
SMOOTHING_PX = 1.0
BORDER_PX = 3
"""Camera pixels left out along each edge, where light enters and leaves."""
N_STEPS = 4

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Drift:
    """Movement from the first to the last frame, as a straight line.

    Parameters
    ----------
    shift_nm : tuple of float
        (y, x).
    standard_error_nm : float
        Of either component.
    """

    shift_nm: tuple[float, float]
    standard_error_nm: float

    @property
    def length_nm(self) -> float:
        """Length of the movement."""
        return float(np.hypot(*self.shift_nm))


def estimate_drift(stack: ImageStack) -> Drift | None:
    """Drift of a movie with its standard error; None where it is too short or too small for that.

    Parameters
    ----------
    stack : ImageStack
        At least 20 frames of 12×12 pixels.

    Notes
    -----
    With the mean m of all frames, block k is fitted by s m(r − d) + c with its own scale, level and
    shift. A straight line through the shifts over time gives the drift; the residuals of both axes
    about their lines give its error. Movement there and back is no drift in this sense, but adds to
    the error.
    """
    n_blocks = min(N_BLOCKS, stack.n_frames // MIN_BLOCK_FRAMES)
    if n_blocks < MIN_BLOCKS or min(stack.grid.shape) < 4 * BORDER_PX:
        return None
    edges = np.linspace(0, stack.n_frames, n_blocks + 1).astype(int)
    blocks = np.stack([_mean(stack, a, b) for a, b in pairwise(edges)])
    whole = np.average(blocks, axis=0, weights=np.diff(edges))
    shifts = np.stack([_shift_px(block, whole) for block in blocks])
    if not np.isfinite(shifts).all():
        return None
    centres = 0.5 * (edges[:-1] + edges[1:] - 1)
    return _line(centres, shifts * stack.grid.pixel_size_nm, stack.n_frames)


def _mean(stack: ImageStack, start: int, stop: int) -> F64:
    total = np.zeros(stack.grid.shape, np.float64)
    for _, frames in stack.select(slice(start, stop)).chunks():
        total += frames.sum(axis=0, dtype=np.float64)
    return gaussian_filter(total / (stop - start), SMOOTHING_PX, mode="nearest")


def _shift_px(block: F64, whole: F64) -> F64:
    """(y, x) by which a block is moved from the mean of all, by Gauss–Newton; NaN if it is flat."""
    inner = (slice(BORDER_PX, -BORDER_PX),) * 2
    target = block[inner].ravel()
    moved, found = whole, np.zeros(2)
    for _ in range(N_STEPS):
        slopes = np.gradient(moved)
        terms = np.stack([g[inner].ravel() for g in (moved, np.ones_like(moved), *slopes)], axis=1)
        linear, _, rank, _ = np.linalg.lstsq(terms, target)
        scale, _, *change = linear.tolist()
        if rank < terms.shape[1] or scale <= 0.0:
            return np.full(2, np.nan)
        found = found + np.clip(-np.array(change) / scale, -1.0, 1.0)
        moved = shift(whole, found, order=3, mode="nearest")
    return found


def _line(frames: F64, shifts_nm: F64, n_frames: int) -> Drift:
    time = frames - frames.mean()
    slope = time @ shifts_nm / (time @ time)
    residual = shifts_nm - shifts_nm.mean(axis=0) - np.outer(time, slope)
    degrees = 2 * (len(frames) - 2)
    variance = float((residual**2).sum()) / degrees / float(time @ time)
    y, x = (slope * (n_frames - 1)).tolist()
    return Drift((y, x), float(np.sqrt(variance) * (n_frames - 1)))
