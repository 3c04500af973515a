"""Independent units of a movie, tiles of the field within blocks of frames, and their scatter."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import FloatImage

TARGET_FRAMES, MIN_FRAMES = 25, 12
"""Frames per block, and the least of two blocks."""
MAX_BLOCKS = 40
"""Longer movies have longer blocks, of which the first 2 · TARGET_FRAMES frames are read."""
TILES_PER_SIDE = 4
MIN_TILE_PX = 8


def block_plan(n_frames: int) -> tuple[list[int], int]:
    """First frames of the blocks, and frames per block; a short movie is one block."""
    if n_frames < 2 * MIN_FRAMES:
        return [0], n_frames
    n_blocks = min(max(2, n_frames // TARGET_FRAMES), MAX_BLOCKS)
    length = min(n_frames // n_blocks, 2 * TARGET_FRAMES)
    return [round(b * n_frames / n_blocks) for b in range(n_blocks)], length


def jackknife_covariance(leave_one_out: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance of an estimate from its values without one unit each, (n_units, n) → (n, n)."""
    n = len(leave_one_out)
    change = leave_one_out - leave_one_out.mean(axis=0)
    return np.asarray((n - 1) / n * change.T @ change, np.float64)


class Tiles(NamedTuple):
    """Edges of the spatial units along both axes; a product belongs to its first pixel's tile."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]

    @classmethod
    def of(cls, shape: tuple[int, int]) -> Tiles:
        """Up to 4×4 tiles of at least 8 pixels."""
        return cls(*(_edges(side) for side in shape))

    def sum(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sums over the tiles, (S,)."""
        rows = np.add.reduceat(image, self.rows[self.rows < image.shape[0]], axis=0)
        both = np.add.reduceat(rows, self.columns[self.columns < image.shape[1]], axis=1)
        return np.asarray(both, np.float64).ravel()


def _edges(side: int) -> NDArray[np.int64]:
    n = int(np.clip(side // MIN_TILE_PX, 1, TILES_PER_SIDE))
    return np.linspace(0, side, n + 1).astype(np.int64)[:-1]


def trend_residual(n: int) -> NDArray[np.float64]:
    """The projection that removes mean and linear trend from n values, (n, n)."""
    design = np.stack([np.ones(n), np.linspace(-1.0, 1.0, n)], axis=1)
    return np.asarray(np.eye(n) - design @ np.linalg.pinv(design), np.float64)


def detrended(frames: FloatImage) -> FloatImage:
    """Frames without the mean and the linear trend of each pixel: bleaching is no blinking."""
    n = len(frames)
    time = np.linspace(-1.0, 1.0, n, dtype=np.float32)
    d = frames - frames.mean(axis=0)
    trend = np.einsum("t,tyx->yx", time, d) / np.float32((time**2).sum())
    return np.asarray(d - time[:, None, None] * trend, np.float32)
