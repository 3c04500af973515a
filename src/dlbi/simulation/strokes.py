"""Drawing of curves and spots in nanometres on any pixel grid, antialiased."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.kernels import kernel

Curve = NDArray[np.float64]
"""Points (y, x) of a polyline in nm from the field corner, (n, 2)."""

_REACH_SIGMA = 3.5
_PIXEL_BLUR = 0.4
"""σ of the pixel as a low-pass, in pixels; keeps thin lines visible on coarse grids."""


class Canvas:
    """An image to draw on; overlapping strokes add up.

    Parameters
    ----------
    grid : PixelGrid

    Attributes
    ----------
    image : ndarray, (Y, X), float32
    """

    def __init__(self, grid: PixelGrid) -> None:
        self.grid = grid
        self.image: FloatImage = np.zeros(grid.shape, np.float32)
        self._stroke: FloatImage = np.zeros(grid.shape, np.float32)

    def line(
        self, curve: Curve, sigma_nm: float, brightness: NDArray[np.float64] | float = 1.0
    ) -> None:
        """Add a curve with a Gaussian cross-section.

        Parameters
        ----------
        curve : ndarray, (n, 2)
        sigma_nm : float
            Standard deviation of the cross-section.
        brightness : float or ndarray, (n,)
            Peak brightness, along the curve.
        """
        y, x = self.grid.to_px(curve[:, 0], curve[:, 1])
        sigma_px = sigma_nm / self.grid.pixel_size_nm
        blurred = float(np.hypot(sigma_px, _PIXEL_BLUR))
        level = np.broadcast_to(np.asarray(brightness, np.float64), y.shape) * sigma_px / blurred
        _stroke(y, x, np.ascontiguousarray(level), blurred, self._stroke, self.image)

    def spots(
        self,
        centres: NDArray[np.float64],
        sigma_nm: float,
        brightness: NDArray[np.float64] | float = 1.0,
    ) -> None:
        """Add Gaussian spots of the given peak brightness at N centres (y, x), (N, 2)."""
        y, x = self.grid.to_px(centres[:, 0], centres[:, 1])
        sigma_px = sigma_nm / self.grid.pixel_size_nm
        blurred = float(np.hypot(sigma_px, _PIXEL_BLUR))
        level = np.broadcast_to(np.asarray(brightness, np.float64), y.shape)
        _spots(y, x, level * (sigma_px / blurred) ** 2, blurred, self.image)


@kernel
def _segment_box(
    y: NDArray[np.float64], x: NDArray[np.float64], k: int, reach: float, shape: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Rows and columns within `reach` of segment k, cut to the image."""
    r0 = max(0, int(np.ceil(min(y[k], y[k + 1]) - reach)))
    r1 = min(shape[0], int(np.floor(max(y[k], y[k + 1]) + reach)) + 1)
    c0 = max(0, int(np.ceil(min(x[k], x[k + 1]) - reach)))
    c1 = min(shape[1], int(np.floor(max(x[k], x[k + 1]) + reach)) + 1)
    return r0, r1, c0, c1


@kernel
def _stroke(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    level: NDArray[np.float64],
    sigma: float,
    stroke: FloatImage,
    image: FloatImage,
) -> None:
    """Maximum over the segments of one curve into `stroke`, then added to `image`."""
    reach = _REACH_SIGMA * sigma
    scale = -0.5 / sigma**2
    for k in range(y.size - 1):
        r0, r1, c0, c1 = _segment_box(y, x, k, reach, image.shape)
        dy = y[k + 1] - y[k]
        dx = x[k + 1] - x[k]
        length2 = max(dy * dy + dx * dx, 1e-12)
        for r in range(r0, r1):
            for c in range(c0, c1):
                s = ((r - y[k]) * dy + (c - x[k]) * dx) / length2
                s = min(max(s, 0.0), 1.0)
                ey = r - y[k] - s * dy
                ex = c - x[k] - s * dx
                d2 = ey * ey + ex * ex
                if d2 < reach * reach:
                    value = (level[k] + s * (level[k + 1] - level[k])) * np.exp(scale * d2)
                    if value > stroke[r, c]:
                        stroke[r, c] = value
    for k in range(y.size - 1):
        r0, r1, c0, c1 = _segment_box(y, x, k, reach, image.shape)
        for r in range(r0, r1):
            for c in range(c0, c1):
                image[r, c] += stroke[r, c]
                stroke[r, c] = 0.0


@kernel
def _spots(
    y: NDArray[np.float64],
    x: NDArray[np.float64],
    level: NDArray[np.float64],
    sigma: float,
    image: FloatImage,
) -> None:
    reach = _REACH_SIGMA * sigma
    scale = -0.5 / sigma**2
    for k in range(y.size):
        r0 = max(0, int(np.ceil(y[k] - reach)))
        r1 = min(image.shape[0], int(np.floor(y[k] + reach)) + 1)
        c0 = max(0, int(np.ceil(x[k] - reach)))
        c1 = min(image.shape[1], int(np.floor(x[k] + reach)) + 1)
        for r in range(r0, r1):
            for c in range(c0, c1):
                d2 = (r - y[k]) ** 2 + (c - x[k]) ** 2
                image[r, c] += level[k] * np.exp(scale * d2)
