"""Camera noise with intervals: a photon-transfer line free of the light's own roughness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.fluctuations import Tiles, block_plan, jackknife_covariance
from dlbi.inference.roughness import TAPS, light_roughness, rough

F64 = NDArray[np.float64]

N_FITS = 3
LEAKAGE_ERROR = 0.15
"""Relative error of the roughness that blinking adds."""


class TransferLine(NamedTuple):
    """Noise variance = variance + gain · (counts − level).

    Parameters
    ----------
    level : float, counts
        Mean of the movie.
    variance, variance_error : float, counts²
        Noise variance at that level, and its standard error.
    gain, gain_error : float, counts
        Variance per count, and its standard error.
    span : float, counts
        Range of the levels in the field, 2 % to 98 %.
    """

    level: float
    variance: float
    variance_error: float
    gain: float
    gain_error: float
    span: float


def transfer_line(
    stack: ImageStack, density: FloatImage, projection: Projection, *, contrast: float
) -> TransferLine | None:
    """Noise of the camera against the light level; None for a movie that is too short or small.

    Parameters
    ----------
    stack : ImageStack
    density : ndarray, fine grid of the projection, counts
        Mean signal per fine pixel.
    projection : Projection
    contrast : float
        Second cumulant of the blinking ÷ mean light, counts.

    Notes
    -----
    The product of second differences along y and x, divided by 6, keeps the variance of white
    noise and little of light behind a PSF. What it keeps is taken off: of steady light as the
    product of its means over odd and even frames, whose noise differs; of blinking as
    contrast · Σ_g ρ_g r_g(p)² with the filtered PSF r. What is left is linear in the mean level,
    because noise variance is linear in light; no level is read off a noisy frame.
    """
    starts, length = block_plan(stack.n_frames)
    if not starts or min(stack.grid.shape) < 4:
        return None
    tiles = Tiles.of((stack.grid.shape[0] - 2, stack.grid.shape[1] - 2))
    mean = stack.mean().astype(np.float64)
    centre = float(mean.mean())
    level = convolve(mean, TAPS**2)[1:-1, 1:-1] - centre
    leakage = max(contrast, 0.0) * light_roughness(density, projection)
    squares = np.array([_steady_free(stack.load(slice(s, s + length))) for s in starts])
    variance, gain = max(float(squares.mean()), _tiny(squares)), 0.0
    for _ in range(N_FITS):
        expected = variance + gain * level
        weight = np.maximum(expected, max(0.2 * variance, _tiny(squares))) ** -2.0
        sums = _sums(squares - leakage, level, weight, tiles)
        variance, gain = _line(sums.sum(axis=(0, 1)))
    whole = sums.sum(axis=(0, 1))
    units = [_line(whole - unit) for unit in sums.reshape(-1, sums.shape[-1])]
    scatter = np.diag(jackknife_covariance(np.array(units)))
    shifted = _sums(squares - (1.0 + LEAKAGE_ERROR) * leakage, level, weight, tiles)
    shift = _line(shifted.sum(axis=(0, 1))) - np.array([variance, gain])
    error = np.sqrt(scatter + shift**2)
    low, high = np.quantile(level, [0.02, 0.98])
    return TransferLine(
        level=centre,
        variance=float(variance),
        variance_error=float(error[0]),
        gain=float(gain),
        gain_error=float(error[1]),
        span=float(high - low),
    )


def _steady_free(frames: FloatImage) -> F64:
    """Mean square of the filtered frames without steady light, (Y − 2, X − 2), counts²."""
    filtered = rough(frames)
    steady = filtered[::2].mean(axis=0) * filtered[1::2].mean(axis=0)
    return np.asarray((filtered**2).mean(axis=0) - steady, np.float64)


def _tiny(squares: F64) -> float:
    return float(np.abs(squares).max()) * 1e-9 + float(np.finfo(np.float64).tiny)


def _sums(squares: F64, level: F64, weight: F64, tiles: Tiles) -> F64:
    """Weighted sums of 1, x, x², y, xy over the units, (B, S, 5)."""
    left = [tiles.sum(weight * level**power) for power in range(3)]
    right = [[tiles.sum(weight * s), tiles.sum(weight * s * level)] for s in squares]
    return np.array([np.stack([*left, *both], axis=1) for both in right])


def _line(sums: F64) -> F64:
    """Value at level 0 and slope of the least-squares line."""
    n, x, xx, y, xy = sums
    determinant = n * xx - x * x
    slope = (n * xy - x * y) / determinant if determinant > 1e-12 * n * xx else 0.0
    return np.array([(y - slope * x) / n, slope])
