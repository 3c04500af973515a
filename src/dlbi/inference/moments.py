"""Flux of a single fluorophore and camera noise from second moments of the movie."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.sparse import csr_array

from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import BandedMatrix, Projection

DETREND_LAG = 5
"""Frames between the two frames of a difference: far beyond blinking, short of bleaching."""

NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1))


class SecondMoments(NamedTuple):
    """Temporal variance and neighbour covariances per pixel, drift and bleaching removed.

    Parameters
    ----------
    variance : ndarray, (Y, X), counts²
        Blinking and noise together.
    covariance : dict
        (dy, dx) → ndarray (Y, X): covariance of pixel (y, x) with (y + dy, x + dx); blinking
        alone, since camera noise is independent between pixels. NaN where the partner is outside.
    """

    variance: NDArray[np.float64]
    covariance: dict[tuple[int, int], NDArray[np.float64]]


def second_moments(stack: ImageStack) -> SecondMoments:
    """Moments of the differences D_t = (Y_{t+5} − Y_t)/√2, which keep blinking but not trends.

    Short movies use the largest lag they allow.
    """
    lag = min(DETREND_LAG, stack.n_frames - 1)
    h, w = stack.grid.shape
    variance = np.zeros((h, w))
    covariance = {d: np.full((h, w), np.nan) for d in NEIGHBOURS}
    sums = {d: np.zeros(_overlap(variance, d)[0].shape) for d in NEIGHBOURS}
    n = stack.n_frames - lag
    for start in range(0, n, 64):
        frames = stack.load(slice(start, min(start + 64, n) + lag))
        difference = (frames[lag:] - frames[:-lag]) / np.float32(np.sqrt(2.0))
        # A change common to the whole field is illumination, not blinking.
        difference -= difference.mean(axis=(1, 2), keepdims=True)
        variance += np.einsum("tyx,tyx->yx", difference, difference, dtype=np.float64)
        for d in NEIGHBOURS:
            here, there = _overlap(difference, d)
            sums[d] += np.einsum("tyx,tyx->yx", here, there, dtype=np.float64)
    for d in NEIGHBOURS:
        _overlap(covariance[d], d)[0][...] = sums[d] / n
    return SecondMoments(variance / n, covariance)


def _overlap(
    image: NDArray[np.floating], offset: tuple[int, int]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Views of the pixels that have a partner at `offset`, and of their partners."""
    dy, dx = offset
    h, w = image.shape[-2:]
    x0, x1 = max(0, -dx), w - max(0, dx)
    return image[..., : h - dy, x0:x1], image[..., dy:, x0 + dx : x1 + dx]


class NoiseModel(NamedTuple):
    """Noise variance read + gain · mean, counts² and counts."""

    read: float
    gain: float

    def variance(self, mean: FloatImage) -> FloatImage:
        """Noise variance per pixel for a mean image without camera offset correction."""
        return np.asarray(self.read + self.gain * np.maximum(mean, 0.0), np.float32)


def fit_noise(moments: SecondMoments, mean: FloatImage, sigma_px: float) -> NoiseModel:
    """Camera noise as the part of the variance that neighbours do not share.

    Parameters
    ----------
    moments : SecondMoments
    mean : ndarray, (Y, X), counts
    sigma_px : float
        PSF width; cov(d) ∝ exp(−d²/4σ²) extrapolates neighbours to distance zero.

    Notes
    -----
    Weighted non-negative least squares of variance − blinking variance on (1, mean − its
    minimum), re-weighted once by the fitted variance.
    """
    blinking = np.nanmean(
        [
            _both_sides(moments.covariance[d], d) * np.exp((d[0] ** 2 + d[1] ** 2) / (4 * sigma_px**2))
            for d in NEIGHBOURS
        ],
        axis=0,
    )
    low = float(mean.min())
    target = (moments.variance - blinking).ravel()
    design = np.stack([np.ones(mean.size), (mean - low).ravel()], axis=1)
    spread = moments.variance.ravel()
    floor = float(np.median(spread)) * 1e-6 + np.finfo(float).tiny
    fit = np.zeros(2)
    for _ in range(2):
        weight = 1.0 / np.maximum(spread, floor)
        fit, _ = nnls(design * weight[:, None], target * weight)
        spread = design @ fit + np.maximum(blinking.ravel(), 0.0)
    return NoiseModel(read=float(fit[0] - fit[1] * low), gain=float(fit[1]))


def _both_sides(
    covariance: NDArray[np.float64], offset: tuple[int, int]
) -> NDArray[np.float64]:
    """Mean of the covariances with the partners at `offset` and at its opposite."""
    mirrored = np.full_like(covariance, np.nan)
    here, _ = _overlap(covariance, offset)
    _overlap(mirrored, offset)[1][...] = here
    stacked = np.stack([covariance, mirrored])
    return np.nansum(stacked, axis=0) / np.maximum(np.isfinite(stacked).sum(axis=0), 1)


def emitter_flux(
    moments: SecondMoments,
    density: FloatImage,
    projection: Projection,
    chain: BlinkingChain,
    photon_cv: float,
) -> float:
    """Flux of one emitting fluorophore, counts; not positive where nothing blinks.

    Parameters
    ----------
    moments : SecondMoments
    density : ndarray, fine grid of the projection
        Signal emitted per fine pixel and frame.
    projection : Projection
    chain : BlinkingChain
    photon_cv : float
        Coefficient of variation of the flux from one emission to the next.

    Notes
    -----
    An emitter of flux a that is on with probability q has the mean a q and the variance
    a² q (1 + cv² − q). Hence C_d(p) = a (1 + cv² − q) Σ_g ρ_g h_g(p) h_g(p + d), and a follows by
    least squares over all pixels and neighbour offsets d.
    """
    rows, columns = _sparse(projection.rows), _sparse(projection.columns)
    top = bottom = 0.0
    for offset, measured in moments.covariance.items():
        shared = _shared(rows, offset[0]) @ density @ _shared(columns, offset[1]).T
        here, _ = _overlap(measured, offset)
        top += float((here * shared).sum())
        bottom += float((shared.astype(np.float64) ** 2).sum())
    return top / bottom / (1.0 + photon_cv**2 - chain.steady_on_fraction)


def _sparse(matrix: BandedMatrix) -> csr_array:
    n_rows, band = matrix.values.shape
    columns = matrix.first[:, None] + np.arange(band)
    ends = np.arange(n_rows + 1) * band
    return csr_array(
        (matrix.values.ravel(), columns.ravel(), ends), shape=(n_rows, matrix.n_columns)
    )


def _shared(matrix: csr_array, offset: int) -> csr_array:
    """Row p holds h_g(p) h_g(p + offset) along one axis, for the p that have a partner."""
    n = matrix.shape[0]
    first = matrix[max(0, -offset) : n - max(0, offset)]
    second = matrix[max(0, offset) : n - max(0, -offset)]
    return first.multiply(second).tocsr()
