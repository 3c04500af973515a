"""Maps of the posterior: what the retained sweeps agree on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.kernels import F32, F64, kernel

BLUR_SIGMA_PX = 1.0
"""Width of one emitter in the density image, fine pixels."""

OCCUPANCY_WINDOW_PX = 5
"""Side of the square within which an emitter counts as present, fine pixels."""


class PosteriorMaps:
    """Running mean, variance and occupancy of the emitter density over sweeps.

    Parameters
    ----------
    grid : PixelGrid
        Fine grid of the maps.
    """

    def __init__(self, grid: PixelGrid) -> None:
        self.grid = grid
        self.n_sweeps = 0
        self._sum = np.zeros(grid.shape, np.float64)
        self._squares = np.zeros(grid.shape, np.float64)
        self._occupied = np.zeros(grid.shape, np.int32)

    def add(
        self,
        y_px: NDArray[np.float64],
        x_px: NDArray[np.float64],
        weights: NDArray[np.floating],
    ) -> None:
        """Add the emitters of one sweep.

        Parameters
        ----------
        y_px, x_px : ndarray, (N,)
            Positions on the fine grid; integers are pixel centres.
        weights : ndarray, (N,)
            What each emitter adds to the density.
        """
        density = np.zeros(self.grid.shape, np.float32)
        present = np.zeros(self.grid.shape, np.uint8)
        deposit(y_px, x_px, np.asarray(weights, np.float64), density, present)
        blurred = gaussian_filter(density, BLUR_SIGMA_PX, mode="constant", truncate=3.0)
        self._sum += blurred
        self._squares += blurred.astype(np.float64) ** 2
        self._occupied += maximum_filter(present, OCCUPANCY_WINDOW_PX, mode="constant")
        self.n_sweeps += 1

    def mean(self) -> FloatImage:
        """Posterior mean density."""
        return (self._sum / self.n_sweeps).astype(np.float32)

    def std(self) -> FloatImage:
        """Standard deviation of the density over the sweeps."""
        mean = self._sum / self.n_sweeps
        return np.sqrt(np.maximum(self._squares / self.n_sweeps - mean**2, 0.0)).astype(np.float32)

    def p_empty(self) -> FloatImage:
        """Share of sweeps without an emitter in the square around each pixel.

        The share is (empty + ½) / (sweeps + 1), so a finite number of sweeps never claims
        certainty.
        """
        return (1.0 - (self._occupied + 0.5) / (self.n_sweeps + 1)).astype(np.float32)


@kernel
def deposit(y: F64, x: F64, weights: F64, density: F32, present: NDArray[np.uint8]) -> None:
    """Add each weight bilinearly to `density` and mark the nearest pixel in `present`."""
    h, w = density.shape
    for e in range(y.size):
        i, j = int(np.floor(y[e])), int(np.floor(x[e]))
        fy, fx = y[e] - i, x[e] - j
        for di in range(2):
            for dj in range(2):
                if 0 <= i + di < h and 0 <= j + dj < w:
                    share = (fy if di else 1.0 - fy) * (fx if dj else 1.0 - fx)
                    density[i + di, j + dj] += weights[e] * share
        i, j = int(np.floor(y[e] + 0.5)), int(np.floor(x[e] + 0.5))
        if 0 <= i < h and 0 <= j < w:
            present[i, j] = 1
