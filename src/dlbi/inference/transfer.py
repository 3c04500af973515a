"""Camera noise with intervals: a photon-transfer line free of the light's own roughness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.fluctuations import Tiles, block_plan
from dlbi.inference.moments import band_product, sparse

_ROUGH = np.outer([1.0, -2.0, 1.0], [1.0, -2.0, 1.0]) / 6.0


class TransferLine(NamedTuple):
    """Noise variance = at_background + gain · (level − background).

    Parameters
    ----------
    at_background : float, counts²
    gain : float, counts
    covariance : ndarray, (2, 2)
        Of the two.
    span : float, counts
        Range of levels, 2 % to 98 %.
    """

    at_background: float
    gain: float
    covariance: NDArray[np.float64]
    span: float


def transfer_line(
    stack: ImageStack, density: FloatImage, projection: Projection, contrast: float,
    background: float,
) -> TransferLine:  # fmt: skip
    starts, length = block_plan(stack.n_frames)
    tiles = Tiles.of((stack.grid.shape[0] - 2, stack.grid.shape[1] - 2))
    level = convolve(stack.mean(), _ROUGH**2)[1:-1, 1:-1] - background
    blinking = contrast * roughness_of_light(density, projection)
    squares = []
    for start in starts:
        d = stack.load(slice(start, start + length)).astype(np.float64)
        rough = _filtered(d)
        # static light: product of two halves of the frames, whose noise differs
        odd, even = rough[1::2], rough[::2]
        static = odd.mean(axis=0) * even.mean(axis=0)
        square = (rough**2).mean(axis=0) - static
        squares.append(square - blinking)
    square = np.array(squares)
    weight = 1.0
    gain = 0.0
    base = max(float(square.mean()), 1e-12)
    for _ in range(3):
        var = np.maximum(base + gain * level, 0.2 * abs(base) + 1e-12)
        weight = 1.0 / var**2
        sums = _sums(square, level, weight, tiles)
        base, gain = _solve(sums.sum(axis=(0, 1)))
    whole = sums.sum(axis=(0, 1))
    n = sums.shape[0] * sums.shape[1]
    outs = np.array([_solve(whole - sums[b, s]) for b in range(sums.shape[0]) for s in range(sums.shape[1])])
    change = outs - outs.mean(axis=0)
    cov = (n - 1) / n * change.T @ change
    low, high = np.quantile(level, [0.02, 0.98])
    return TransferLine(base, gain, cov, float(high - low))


def _filtered(d):
    v = d[:, :-2] - 2 * d[:, 1:-1] + d[:, 2:]
    return (v[:, :, :-2] - 2 * v[:, :, 1:-1] + v[:, :, 2:]) / 6.0


def _sums(square, level, weight, tiles):
    w = np.broadcast_to(weight, square.shape)
    terms = [np.ones_like(level), level, level**2]
    left = [tiles.sum(weight * t) for t in terms]
    out = []
    for sq in square:
        right = [tiles.sum(weight * sq), tiles.sum(weight * sq * level)]
        out.append(np.stack([*left, *right], axis=1))
    return np.array(out)


def _solve(s):
    n, x, xx, y, xy = s
    det = n * xx - x * x
    if det <= 1e-9 * n * xx:
        return np.array([y / n, 0.0])
    gain = (n * xy - x * y) / det
    base = (y - gain * x) / n
    return np.array([base, gain])


def roughness_of_light(density: FloatImage, projection: Projection) -> NDArray[np.float64]:
    """Σ_g ρ_g r_g(p)² with r the filtered PSF, (Y − 2, X − 2)."""
    rows, columns = sparse(projection.rows), sparse(projection.columns)
    y = rows[:-2] - 2 * rows[1:-1] + rows[2:]
    x = columns[:-2] - 2 * columns[1:-1] + columns[2:]
    return np.asarray(y.multiply(y).tocsr() @ density @ x.multiply(x).tocsr().T) / 36.0
