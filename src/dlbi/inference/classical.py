"""Quick classical reconstructions: the upscaled mean and second-order SOFI."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, zoom

from dlbi.core.images import FloatImage, ImageStack
from dlbi.inference.moments import BLOCK_FRAMES


def mean_image(mean: FloatImage, background: FloatImage, factor: int) -> FloatImage:
    """Background-free mean on the area-aligned fine grid by cubic splines.

    Parameters
    ----------
    mean, background : ndarray, (Y, X), counts
    factor : int
        Fine pixels per camera pixel along one axis.

    Returns
    -------
    ndarray, (Y·factor, X·factor), float32
        Non-negative, with the sum of the positive part of the signal.
    """
    return _upscaled(np.maximum(mean - background, 0.0), factor)


def sofi2(stack: ImageStack, factor: int) -> FloatImage:
    """Second-order SOFI from cross-cumulants, brightness linearised.

    Parameters
    ----------
    stack : ImageStack
    factor : int
        Fine pixels per camera pixel along one axis.

    Returns
    -------
    ndarray, (Y·factor, X·factor), float32
        Square root of the cumulant, in counts: the brightness of what blinks.

    Notes
    -----
    The cumulant halfway between two different pixels is free of camera noise. On the ×2 grid,
    pairs at distance 2 give the pixel centres, at distance 1 the edges, at distance √2 the
    corners. A pair at distance d sees exp(−d²/4σ²) of the cumulant; since each of the four kinds
    of virtual pixel samples the same image, they are scaled to equal sums. Cumulants are taken
    within blocks of 40 frames, which removes bleaching and drift.

    References
    ----------
    Dertinger et al. 2009, doi:10.1073/pnas.0907866106; cross-cumulants: Dertinger et al. 2010,
    doi:10.1364/OE.18.018875.
    """
    cumulant = np.maximum(_cross_cumulants(stack), 0.0)
    linear = np.sqrt(cumulant).astype(np.float32)
    return _sampled(linear, stack.grid.shape, factor)


def _cross_cumulants(stack: ImageStack) -> NDArray[np.float64]:
    """Cumulants at camera coordinates 0, ½, 1, … (2Y − 1, 2X − 1), counts²."""
    h, w = stack.grid.shape
    total = np.zeros((2 * h - 1, 2 * w - 1))
    n_used = 0
    n_blocks = max(1, stack.n_frames // BLOCK_FRAMES)
    edges = np.linspace(0, stack.n_frames, n_blocks + 1).round().astype(int)
    for start, stop in pairwise(edges):
        d = stack.load(slice(start, stop))
        d = d - d.mean(axis=0)
        d -= d.mean(axis=(1, 2), keepdims=True)
        total[::2, ::2] += _at_centres(d)
        total[::2, 1::2] += _products(d[:, :, :-1], d[:, :, 1:])
        total[1::2, ::2] += _products(d[:, :-1], d[:, 1:])
        total[1::2, 1::2] += 0.5 * _products(d[:, :-1, :-1], d[:, 1:, 1:])
        total[1::2, 1::2] += 0.5 * _products(d[:, :-1, 1:], d[:, 1:, :-1])
        n_used += len(d) - 1
    total /= max(n_used, 1)
    return _equalised(total)


def _at_centres(d: FloatImage) -> NDArray[np.float64]:
    """Products of the two opposite neighbours, averaged over the directions that exist."""
    _, h, w = d.shape
    total, count = np.zeros((h, w)), np.zeros((h, w))
    if h > 2:
        total[1:-1] += _products(d[:, :-2], d[:, 2:])
        count[1:-1] += 1
    if w > 2:
        total[:, 1:-1] += _products(d[:, :, :-2], d[:, :, 2:])
        count[:, 1:-1] += 1
    return total / np.maximum(count, 1)


def _equalised(cumulant: NDArray[np.float64]) -> NDArray[np.float64]:
    kinds = [np.s_[::2, ::2], np.s_[::2, 1::2], np.s_[1::2, ::2], np.s_[1::2, 1::2]]
    means = [float(cumulant[kind].mean()) for kind in kinds]
    reference = max(means)
    for kind, mean in zip(kinds, means, strict=True):
        if mean > 0:
            cumulant[kind] *= reference / mean
    return cumulant


def _products(a: FloatImage, b: FloatImage) -> NDArray[np.float64]:
    return np.asarray(np.einsum("tyx,tyx->yx", a, b, dtype=np.float64), np.float64)


def _sampled(virtual: FloatImage, shape: tuple[int, int], factor: int) -> FloatImage:
    """Values of the half-pixel grid at the centres of the area-aligned fine grid."""
    y, x = (2.0 * ((np.arange(n * factor) + 0.5) / factor - 0.5) for n in shape)
    grid = np.meshgrid(y, x, indexing="ij")
    fine = map_coordinates(virtual, grid, order=3, mode="nearest")
    return np.maximum(fine, 0.0).astype(np.float32)


def _upscaled(image: FloatImage, factor: int) -> FloatImage:
    """Cubic-spline upscaling on the area-aligned grid that keeps sign and sum."""
    fine = np.maximum(zoom(image, factor, order=3, mode="nearest", grid_mode=True), 0.0)
    total = float(fine.sum(dtype=np.float64))
    if total == 0.0:
        return np.zeros_like(fine)
    return np.asarray(fine * (float(image.sum(dtype=np.float64)) / total), np.float32)
