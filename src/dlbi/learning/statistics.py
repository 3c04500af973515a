"""Temporal statistics of a movie at each camera pixel; any number of frames gives the same set."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.kernels import F32, kernel

BLOCK_FRAMES = 40
"""Fluctuations are taken against the mean of a block: far beyond blinking, short of bleaching."""


class FluctuationMaps(NamedTuple):
    """Statistics of the frames d[t] of a block without its mean, averaged over blocks, (Y, X).

    Neighbours are named after the compass; beyond the border the border pixel is repeated. Every
    map keeps its meaning when the movie is turned or mirrored, but for the directions that swap.
    Only `variance`, `lag` and the extremes contain a pixel's own camera noise.

    Parameters
    ----------
    variance : ndarray
        ⟨d²⟩, counts².
    along_x, along_y : ndarray
        ⟨d (east + west)/2⟩ and ⟨d (south + north)/2⟩, counts².
    across_x, across_y : ndarray
        ⟨east · west⟩ and ⟨south · north⟩, counts².
    falling, rising : ndarray
        Across the diagonals: ⟨north-west · south-east⟩ and ⟨south-west · north-east⟩, counts².
    lag, neighbour_lag : ndarray
        ⟨d[t] d[t+1]⟩, and with the mean of the four neighbours at t+1, counts².
    third : ndarray
        ⟨d (east + west)/2 (south + north)/2⟩, counts³.
    highest, lowest : ndarray
        Largest and smallest d, counts.
    """

    variance: FloatImage
    along_x: FloatImage
    along_y: FloatImage
    across_x: FloatImage
    across_y: FloatImage
    falling: FloatImage
    rising: FloatImage
    lag: FloatImage
    neighbour_lag: FloatImage
    third: FloatImage
    highest: FloatImage
    lowest: FloatImage


N_MAPS = len(FluctuationMaps._fields)
_N_MEANS = N_MAPS - 2


def fluctuation_maps(stack: ImageStack, trend: NDArray[np.float32]) -> FluctuationMaps:
    """Statistics of the fluctuations of a movie.

    Parameters
    ----------
    stack : ImageStack
    trend : ndarray, (T,), counts
        Change of the background that all pixels of a frame share; it is taken off.
    """
    maps = np.zeros((N_MAPS, *stack.grid.shape), np.float32)
    n_blocks = max(1, stack.n_frames // BLOCK_FRAMES)
    edges = np.linspace(0, stack.n_frames, n_blocks + 1).round().astype(int).tolist()
    for start, stop in pairwise(edges):
        frames = stack.load(slice(start, stop)) - trend[start:stop, None, None]
        frames -= frames.mean(axis=0)
        _add_block(np.pad(frames, ((0, 0), (1, 1), (1, 1)), mode="edge"), maps)
    maps[:_N_MEANS] /= np.float32(stack.n_frames)
    return FluctuationMaps(*maps)


def add_block_reference(padded: F32, maps: F32) -> None:
    """Plain version of the kernel: sums of one block into `maps` (12, Y, X)."""
    d = padded[:, 1:-1, 1:-1]
    north, south = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    west, east = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    beside, above = (east + west) / 2, (south + north) / 2
    around = (beside + above) / 2
    sums = [
        d * d,
        d * beside,
        d * above,
        east * west,
        south * north,
        padded[:, :-2, :-2] * padded[:, 2:, 2:],
        padded[:, 2:, :-2] * padded[:, :-2, 2:],
        d[:-1] * d[1:],
        d[:-1] * around[1:],
        d * beside * above,
    ]
    for k, values in enumerate(sums):
        maps[k] += values.sum(axis=0)
    maps[_N_MEANS] = np.maximum(maps[_N_MEANS], d.max(axis=0))
    maps[_N_MEANS + 1] = np.minimum(maps[_N_MEANS + 1], d.min(axis=0))


@kernel
def _add_block(padded: F32, maps: F32) -> None:
    half = np.float32(0.5)
    n_frames = padded.shape[0]
    for t in range(n_frames):
        after = min(t + 1, n_frames - 1)
        still = np.float32(1.0 if t + 1 < n_frames else 0.0)
        for i in range(maps.shape[1]):
            y = i + 1
            for j in range(maps.shape[2]):
                x = j + 1
                d = padded[t, y, x]
                north, south = padded[t, y - 1, x], padded[t, y + 1, x]
                west, east = padded[t, y, x - 1], padded[t, y, x + 1]
                beside, above = half * (east + west), half * (south + north)
                later = (
                    half
                    * half
                    * (
                        padded[after, y - 1, x]
                        + padded[after, y + 1, x]
                        + padded[after, y, x - 1]
                        + padded[after, y, x + 1]
                    )
                )
                maps[0, i, j] += d * d
                maps[1, i, j] += d * beside
                maps[2, i, j] += d * above
                maps[3, i, j] += east * west
                maps[4, i, j] += south * north
                maps[5, i, j] += padded[t, y - 1, x - 1] * padded[t, y + 1, x + 1]
                maps[6, i, j] += padded[t, y + 1, x - 1] * padded[t, y - 1, x + 1]
                maps[7, i, j] += still * d * padded[after, y, x]
                maps[8, i, j] += still * d * later
                maps[9, i, j] += d * beside * above
                maps[10, i, j] = max(maps[10, i, j], d)
                maps[11, i, j] = min(maps[11, i, j], d)
