"""Camera pixels that do not work: hot, dead, or struck by a particle.

A PSF spreads light over several pixels, so whatever stands in one pixel alone is no light. Left in,
one stuck pixel sets the scale of a whole movie.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import rank_filter

from dlbi.core.errors import InputError
from dlbi.core.images import ChangedFrames, FloatImage, ImageStack, as_slice

F64 = NDArray[np.float64]

Pixels = tuple[tuple[int, int], ...]
"""(x, y) of camera pixels, in reading order."""

OUTLYING = 4.0
"""Spreads of its neighbours by which a hot pixel stands above all of them. Light reaches 3.5 at
most if its FWHM is 1.3 pixels, 2.5 at 1.6 and 1.9 at 2."""

DARKEST = 0.01
"""Quantile of the mean image that counts as its darkest level."""

Group = tuple[tuple[int, int], ...]
"""(y, x) of pixels, relative to one of them."""

GROUPS: tuple[Group, ...] = (
    ((0, 0),), ((0, 0), (0, 1)), ((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 0), (1, -1)),
)  # fmt: skip
"""Hot pixels that touch: one, or two."""

_OFFSETS = np.array([(0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)])
"""(y, x) of the neighbours, those beside the pixel first."""

_CURVED = np.array(4 * [0.5] + 4 * [-0.25])


def find_defects(mean: FloatImage) -> Pixels:
    """Pixels that stand apart from all around them.

    Parameters
    ----------
    mean : ndarray, (Y, X), counts
        Time average.

    Notes
    -----
    The spread of the pixels around one pixel, or around two that touch, is that of their smallest
    and largest value, and at least the median spread of the field, which is that of its noise
    (cleared regions have none and do not count). Hot pixels lie four spreads above all around
    them; on the border, where light from beyond shows only in part, they must also outshine the
    whole inside. A dead pixel lies below all around it but one, and four median spreads below the
    darkest level of the field: holes in a structure may be small, but not darker than the
    background.
    """
    darkest = np.quantile(mean, DARKEST)
    from_beyond = np.full(mean.shape, mean[1:-1, 1:-1].max(initial=-np.inf))
    from_beyond[1:-1, 1:-1] = -np.inf
    spreads = _surroundings(mean, GROUPS[0])[1]
    usual = np.median(spreads[spreads > 0.0]) if spreads.any() else 0.0
    defective = mean < np.minimum(
        _rank(mean, 1, _around(GROUPS[0]), beyond=np.inf), darkest - OUTLYING * usual
    )
    for group in GROUPS:
        high, spread = _surroundings(mean, group)
        limit = high + OUTLYING * np.maximum(spread, usual)
        limit = np.maximum(limit, _rank(from_beyond, 0, group, beyond=-np.inf))
        hot = np.argwhere(_rank(mean, 0, group, beyond=-np.inf) > limit)
        for member in group:
            defective[tuple(np.add(hot, member).T)] = True
    return tuple((int(x), int(y)) for y, x in np.argwhere(defective))


def _surroundings(mean: FloatImage, group: Group) -> tuple[F64, F64]:
    """The largest value around a group at each pixel, and the spread of all."""
    high = _rank(mean, -1, _around(group), beyond=-np.inf)
    return high, high - _rank(mean, 0, _around(group), beyond=np.inf)


def _around(group: Group) -> Group:
    """The neighbours of a group."""
    near = {(y + dy, x + dx) for y, x in group for dy, dx in _OFFSETS.tolist()}
    return tuple(near - set(group))


def _rank(image: FloatImage, rank: int, places: Group, *, beyond: float) -> F64:
    """Of the values at some places around each pixel the one of a rank."""
    footprint = np.zeros((5, 5), bool)
    footprint[tuple(np.add(places, 2).T)] = True
    found: F64 = rank_filter(
        image.astype(np.float64), rank, footprint=footprint, mode="constant", cval=beyond
    )
    return found


def without_defects(stack: ImageStack, defects: Pixels | None = None) -> tuple[ImageStack, Pixels]:
    """The movie with its defective pixels `mended`, and which these are; found unless given.

    Raises
    ------
    InputError
        If a pixel of the movie is NaN or infinite.
    """
    mean = stack.mean()
    if not np.isfinite(mean).all():
        raise InputError("the movie holds NaN or infinite values; replace them or leave them out")
    defects = find_defects(mean) if defects is None else defects
    return mended(stack, defects), defects


def mended(stack: ImageStack, defects: Pixels) -> ImageStack:
    """The movie with defective pixels filled in from their neighbours, frame by frame, lazily.

    Parameters
    ----------
    stack : ImageStack
    defects : sequence of (x, y)

    Notes
    -----
    Twice the mean of the four nearest pixels minus that of the four diagonal ones: exact for light
    that is quadratic along x and y, and with 1.25 times the noise variance of a pixel. At the
    border or beside another defect it is the mean of the neighbours that work.
    """
    if not defects:
        return stack
    broken, shape = set(defects), stack.grid.shape
    fillings = {(x, y): _working_neighbours(x, y, broken, shape) for x, y in defects}
    return replace(stack, data=_Mended(stack.data, fillings))


@dataclass(frozen=True, slots=True)
class _Mended(ChangedFrames):
    """Frames whose defective pixels (x, y) are filled in from others (y, x) when they are read."""

    fillings: Mapping[tuple[int, int], NDArray[np.int64]]

    def read(self, frames: range, rows: range, columns: range) -> NDArray[Any]:
        """Mended, in the type of the source."""
        top, left = max(rows.start - 1, 0), max(columns.start - 1, 0)
        around = slice(top, rows.stop + 1), slice(left, columns.stop + 1)
        part = np.array(self.source[(as_slice(frames), *around)])
        for (x, y), places in self.fillings.items():
            if rows.start <= y < rows.stop and columns.start <= x < columns.stop:
                at = places - (top, left)
                part[:, y - top, x - left] = _filled(part[:, at[:, 0], at[:, 1]])
        return part[
            :,
            rows.start - top : rows.stop - top : rows.step,
            columns.start - left : columns.stop - left : columns.step,
        ]


def _working_neighbours(
    x: int, y: int, defects: set[tuple[int, int]], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """(y, x) of the neighbours, those beside the pixel first, (n, 2)."""
    near = np.add(_OFFSETS, (y, x))
    inside = near[(near >= 0).all(axis=1) & (near < shape).all(axis=1)].tolist()
    return np.array([(v, u) for v, u in inside if (u, v) not in defects] or inside)


def _filled(neighbours: NDArray[Any]) -> NDArray[Any]:
    """Values of a pixel from those of its neighbours in every frame, (T, n) → (T,)."""
    n = neighbours.shape[1]
    weights = _CURVED if n == len(_CURVED) else np.full(n, 1.0 / n)
    values = neighbours @ weights
    if np.issubdtype(neighbours.dtype, np.integer):
        limits = np.iinfo(neighbours.dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return np.asarray(values, neighbours.dtype)
