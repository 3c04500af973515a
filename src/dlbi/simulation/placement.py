"""Where the fluorophores sit: drawn from the expected density, with a mirrored margin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.core.rng import stream

MARGIN_PX = 4
"""Camera pixels beyond every border whose fluorophores send light into the field.

The structure is known inside the field only; the margin holds its mirror image.
"""
_BAND_ROWS = 256


def mirrored(structure: StructureImage, margin_px: int) -> StructureImage:
    """The structure continued by its mirror image, `margin_px` fine pixels on every side."""
    rows, columns = (_mirror_index(n, margin_px) for n in structure.grid.shape)
    return StructureImage(structure.density[rows[:, None], columns], structure.grid.pad(margin_px))


def _mirror_index(n: int, margin: int) -> NDArray[np.int64]:
    index = np.arange(-margin, n + margin) % (2 * n)
    return np.minimum(index, 2 * n - 1 - index)


def place(
    expected: StructureImage, margin_px: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw fluorophore positions in the field and its mirrored margin.

    A pixel that holds λ fluorophores on average gets ⌊λ⌋ of them and one more with probability
    λ − ⌊λ⌋, each anywhere in the pixel.

    Parameters
    ----------
    expected : StructureImage
        Expected fluorophores per fine pixel of the field.
    margin_px : int
        Fine pixels of margin.
    seed : int
        Root seed.

    Returns
    -------
    y_nm, x_nm : ndarray, (N,)
        In row order, those of the margin among them.
    """
    rows, columns = (_mirror_index(n, margin_px) for n in expected.grid.shape)
    y_px, x_px = [], []
    for band, first in enumerate(range(0, rows.size, _BAND_ROWS)):
        rng = stream(seed, "placement", band)
        density = expected.density[rows[first : first + _BAND_ROWS, None], columns]
        y, x = np.nonzero(density)
        counts = _draw_counts(density[y, x], rng)
        y, x = np.repeat(y, counts), np.repeat(x, counts)
        y_px.append(y + first + rng.random(y.size) - 0.5)
        x_px.append(x + rng.random(x.size) - 0.5)
    return expected.grid.pad(margin_px).to_nm(np.concatenate(y_px), np.concatenate(x_px))


def _draw_counts(expected: FloatImage, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.floor(expected + rng.random(expected.size)).astype(np.int64)


def inside(
    grid: PixelGrid, y_nm: NDArray[np.float64], x_nm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which positions lie in the field."""
    height, width = grid.extent_nm
    y, x = y_nm - grid.origin_nm[0], x_nm - grid.origin_nm[1]
    within: NDArray[np.bool_] = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    return within
