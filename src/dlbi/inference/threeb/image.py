"""The image of 3B: all spots of all passes, counted on a fine grid and blurred."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.kernels import F64
from dlbi.core.optics import GaussianPSF

TRUNCATE_SIGMAS = 4.0


class SpotMaps:
    """Mean and deviation of the blurred spot count over passes.

    Parameters
    ----------
    grid : PixelGrid
        Fine grid of the field.
    fwhm_nm : float
        Width of a spot in the image.

    Notes
    -----
    Every spot counts 1, whatever its brightness, in the fine pixel that holds it. Spots outside of
    the field are left out. Pixels follow `dlbi.core.grid`, so the image lies where other images of
    the field lie; the program's plugin puts the centre of the first camera pixel on the first fine
    pixel.
    """

    def __init__(self, grid: PixelGrid, fwhm_nm: float) -> None:
        self.grid = grid
        self.n_passes = 0
        self._sigma_px = GaussianPSF(fwhm_nm).sigma_px(grid.pixel_size_nm)
        self._sum = np.zeros(grid.shape)
        self._squares = np.zeros(grid.shape)

    def add(self, x_nm: F64, y_nm: F64) -> None:
        """Add the spots of one pass, (N,) and (N,)."""
        count = np.zeros(self.grid.shape)
        y, x = (np.floor(v + 0.5).astype(np.int64) for v in self.grid.to_px(y_nm, x_nm))
        height, width = self.grid.shape
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        np.add.at(count, (y[inside], x[inside]), 1.0)
        blurred = gaussian_filter(count, self._sigma_px, mode="constant", truncate=TRUNCATE_SIGMAS)
        self._sum += blurred
        self._squares += blurred**2
        self.n_passes += 1

    def mean(self) -> FloatImage:
        """Spots per fine pixel, mean over the passes."""
        return (self._sum / self.n_passes).astype(np.float32)

    def std(self) -> FloatImage:
        """Deviation of the blurred count over the passes."""
        mean = self._sum / self.n_passes
        variance = np.maximum(self._squares / self.n_passes - mean**2, 0.0)
        return np.sqrt(variance).astype(np.float32)
