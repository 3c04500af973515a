"""The roughness of images: second differences along both axes, and what light has of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import FloatImage
from dlbi.forward import Projection

TAPS = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0
"""Second differences along y and x, scaled to keep the variance of white noise."""


def rough(images: NDArray[np.floating]) -> NDArray[np.float64]:
    """Images filtered with `TAPS`, (…, Y, X) → (…, Y − 2, X − 2)."""
    wide = images.astype(np.float64, copy=False)
    y = wide[..., :-2, :] - 2.0 * wide[..., 1:-1, :] + wide[..., 2:, :]
    return np.asarray((y[..., :-2] - 2.0 * y[..., 1:-1] + y[..., 2:]) / 6.0, np.float64)


def light_roughness(density: FloatImage, projection: Projection) -> NDArray[np.float64]:
    """Σ_g ρ_g r_g(p)² with the filtered PSF r, (Y − 2, X − 2).

    Parameters
    ----------
    density : ndarray, fine grid of the projection, counts
    projection : Projection
    """
    rows, columns = projection.rows.sparse(), projection.columns.sparse()
    y = rows[:-2] - 2.0 * rows[1:-1] + rows[2:]
    x = columns[:-2] - 2.0 * columns[1:-1] + columns[2:]
    squared_y, squared_x = y.multiply(y).tocsr(), x.multiply(x).tocsr()
    return np.asarray(squared_y @ density @ squared_x.T, np.float64) / 36.0
