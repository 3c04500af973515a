"""Monte-Carlo dropout masks (paper 2.2.2) that depend on seed, pass and pixel only.

A mask is drawn on the whole field, so the mask of a tile is a crop of it, whatever the tiles are.
"""

from __future__ import annotations

import numpy as np

from dlbi.core.kernels import F32, kernel, uniform
from dlbi.core.rng import stream_key
from dlbi.tiling import Region


def dropout_mask(
    seed: int,
    n_pass: int,
    *,
    keep: float,
    n_channels: int,
    shape: tuple[int, int],
    region: Region,
) -> F32:
    """Mask of one pass on a region of the field: 0 with probability 1 − keep, else 1 ÷ keep.

    Parameters
    ----------
    seed : int
        Root seed of the prediction.
    n_pass : int
        Number of the pass; every pass has its own mask.
    keep : float
        Probability of keeping a feature, in (0, 1].
    n_channels : int
        Features C of each pixel.
    shape : tuple of int
        Rows and columns of the whole field.
    region : tuple of slice
        Rows and columns wanted.

    Returns
    -------
    ndarray, (C, y, x), float32
        Mean 1.

    References
    ----------
    Gal and Ghahramani 2016, Dropout as a Bayesian approximation, arXiv:1506.02142.
    """
    rows, columns = region
    mask = np.empty((n_channels, rows.stop - rows.start, columns.stop - columns.start), np.float32)
    key = stream_key(seed, "dropout", n_pass)
    _fill_mask(key, keep, shape[0], shape[1], rows.start, columns.start, mask)
    return mask


def mask_reference(key: np.uint64, keep: float, n_channels: int, shape: tuple[int, int]) -> F32:
    """Plain version of the kernel: the mask of the whole field, (C, Y, X)."""
    counter = np.arange(n_channels * shape[0] * shape[1], dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits = (z ^ (z >> np.uint64(31))) >> np.uint64(12)
    kept = (bits.astype(np.float64) + 0.5) * 2.0**-52 < keep
    return np.where(kept, np.float32(1.0 / keep), np.float32(0.0)).reshape(n_channels, *shape)


@kernel
def _fill_mask(
    key: np.uint64, keep: float, n_rows: int, n_columns: int, top: int, left: int, out: F32
) -> None:
    kept = np.float32(1.0 / keep)
    dropped = np.float32(0.0)
    for c in range(out.shape[0]):
        for y in range(out.shape[1]):
            first = (c * n_rows + top + y) * n_columns + left
            for x in range(out.shape[2]):
                out[c, y, x] = kept if uniform(key, np.uint64(first + x)) < keep else dropped
