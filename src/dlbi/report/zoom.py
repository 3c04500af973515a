"""The region that the page shows at full resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import FloatImage
from dlbi.report.panels import Box

SHARE, MIN_SIDE_PX, MAX_SIDE_PX = 1 / 3, 8, 24
"""Side of the region: this share of the shorter side of the field, within limits, camera pixels."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """A square of camera pixels: first column and row, and its side."""

    x: int
    y: int
    side: int

    def cut(self, image: FloatImage, factor: int) -> FloatImage:
        """That part of an image `factor` times finer than the camera."""
        y, x, side = (factor * n for n in (self.y, self.x, self.side))
        return image[y : y + side, x : x + side]

    def grid(self, camera: PixelGrid, factor: int) -> PixelGrid:
        """Its grid, `factor` times finer than the camera."""
        return camera.crop(self.y, self.x, self.side, self.side).refine(factor)

    def box(self, camera: PixelGrid) -> Box:
        """Where it lies in a picture of the whole field."""
        height, width = (100.0 / side for side in camera.shape)
        return Box(self.x * width, self.y * height, self.side * width, self.side * height)


def busiest(image: FloatImage, camera: PixelGrid) -> Zoom:
    """The square with the most light; the first one, in reading order, of equals.

    Parameters
    ----------
    image : ndarray, (Y·f, X·f)
        Of the field, a whole number of times finer than the camera.
    camera : PixelGrid
    """
    height, width = camera.shape
    side = min(max(round(SHARE * min(height, width)), MIN_SIDE_PX), MAX_SIDE_PX, height, width)
    light = block_sum(image.astype(np.float64), image.shape[0] // height)
    total = np.pad(light, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    if np.ptp(sums) == 0.0:
        return Zoom((width - side) // 2, (height - side) // 2, side)
    y, x = np.unravel_index(int(np.argmax(sums)), sums.shape)
    return Zoom(int(x), int(y), side)
