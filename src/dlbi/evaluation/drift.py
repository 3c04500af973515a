"""Drift of a movie from its own frames: how the mean of each block of frames lies on that of all.

A block is the mean image, moved, brighter or darker, on another level. For small movements that is
linear in the gradient of the mean (Lucas and Kanade 1981), so every pixel tells of the shift, and
the scatter of the blocks about a straight line tells the error, blinking and noise included.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from dlbi.core.images import ImageStack

N_BLOCKS, MIN_BLOCKS, MIN_BLOCK_FRAMES = 10, 5, 4
SMOOTHING_PX = 1.0
BORDER_PX = 3
"""Camera pixels left out along each edge, where light enters and leaves."""
N_STEPS = 4
MOST_TERMS = 3
"""Legendre polynomials that a path may have: a line, a bend and an S."""
WORTH = 0.9
"""Error of prediction that is left, relative to fewer terms, where more of them are believed."""

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


@dataclass(frozen=True, slots=True)
class DriftPath:
    """Where the sample is in each frame, seen from its mean place.

    Parameters
    ----------
    terms_nm : tuple of (y, x)
        Coefficients of the Legendre polynomials 1, 2, … over the movie, first frame −1, last 1.
    """

    terms_nm: tuple[tuple[float, float], ...]

    def positions_nm(self, n_frames: int) -> F64:
        """(y, x) in each frame, (T, 2)."""
        return _polynomials(np.arange(n_frames), n_frames, len(self.terms_nm)) @ self._terms

    @property
    def shift_nm(self) -> tuple[float, float]:
        """(y, x) from the first to the last frame."""
        y, x = (2.0 * self._terms[::2].sum(axis=0)).tolist()
        return y, x

    @property
    def length_nm(self) -> float:
        """Length of that movement."""
        return float(np.hypot(*self.shift_nm))

    def __add__(self, other: DriftPath) -> DriftPath:
        """Both movements at once."""
        n = max(len(self.terms_nm), len(other.terms_nm))
        padded = (
            np.pad(path._terms, ((0, n - len(path.terms_nm)), (0, 0))) for path in (self, other)
        )
        return DriftPath(_pairs(sum(padded, np.zeros((n, 2)))))

    @property
    def _terms(self) -> F64:
        return np.array(self.terms_nm, np.float64).reshape(-1, 2)


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
    found = _block_shifts(stack)
    return None if found is None else _line(*found, stack.n_frames)


def estimate_path(stack: ImageStack) -> DriftPath | None:
    """The way the sample takes; None where the movie is too short, too small or too dim for that.

    The path has no terms where no movement stands out.

    Parameters
    ----------
    stack : ImageStack
        As for `estimate_drift`.

    Notes
    -----
    Legendre polynomials are fitted to the shifts of the blocks (`estimate_drift`). More of them are
    taken where they predict each block better from the others (`WORTH`): blinking moves the
    blocks slowly, too, and a path of what it does blurs more than it mends.
    """
    found = _block_shifts(stack)
    if found is None:
        return None
    frames, shifts = found
    terms = _polynomials(frames, stack.n_frames, MOST_TERMS)
    constant = np.ones((len(frames), 1))
    designs = [np.hstack([terms[:, :n], constant]) for n in range(MOST_TERMS + 1)]
    errors = [_error_of_prediction(design, shifts) for design in designs]
    taken = 0
    for n in range(1, MOST_TERMS + 1):
        if errors[n] < WORTH * errors[taken]:
            taken = n
    return DriftPath(_pairs(np.linalg.lstsq(designs[taken], shifts)[0][:-1]))


def movement_nm(stack: ImageStack) -> float | None:
    """Root mean square distance of the blocks of frames from their mean place.

    What is left of a drift that has been taken off shows here, with what blinking and noise
    do to the blocks. None as in `estimate_path`.
    """
    found = _block_shifts(stack)
    if found is None:
        return None
    return float(np.sqrt(found[1].var(axis=0).sum()))


def _polynomials(frames: NDArray[np.number], n_frames: int, n_terms: int) -> F64:
    """Legendre polynomials 1 … n at some frames, (frames, n)."""
    phase = 2.0 * frames / (n_frames - 1) - 1.0
    return np.asarray(legendre.legvander(phase, n_terms)[:, 1:], np.float64)


def _error_of_prediction(design: F64, values: F64) -> float:
    """Mean square by which a fit of the other rows misses each row (from its leverage)."""
    hat = design @ np.linalg.pinv(design)
    left_out = (values - hat @ values) / (1.0 - np.diag(hat))[:, None]
    return float((left_out**2).mean())


def _pairs(terms: NDArray[np.floating]) -> tuple[tuple[float, float], ...]:
    return tuple((float(y), float(x)) for y, x in terms)


def _block_shifts(stack: ImageStack) -> tuple[F64, F64] | None:
    """Middle frames of the blocks, and their shifts from the mean of all, (blocks, 2), nm."""
    n_blocks = min(N_BLOCKS, stack.n_frames // MIN_BLOCK_FRAMES)
    if n_blocks < MIN_BLOCKS or min(stack.grid.shape) < 4 * BORDER_PX:
        return None
    edges = np.linspace(0, stack.n_frames, n_blocks + 1).astype(int)
    blocks = np.stack([_mean(stack, a, b) for a, b in pairwise(edges)])
    whole = np.average(blocks, axis=0, weights=np.diff(edges))
    shifts = np.stack([_shift_px(block, whole) for block in blocks])
    if not np.isfinite(shifts).all():
        return None
    return 0.5 * (edges[:-1] + edges[1:] - 1), shifts * stack.grid.pixel_size_nm


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
