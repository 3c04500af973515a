"""Camera noise of a movie: a photon-transfer line free of the structure's own roughness."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.measurement.roughness import TAPS, light_roughness, rough
from dlbi.inference.measurement.units import Tiles, block_plan, jackknife_covariance

F64 = NDArray[np.float64]

N_FITS = 3
LEAKAGE_ERROR = 0.15
"""Relative error of the roughness that blinking adds."""
LEAST_SHARE = 0.5
"""The noise model never goes below this share of the noise at the darkest level."""
LEVELS = (0.02, 0.98)
"""Quantiles that count as the darkest and the brightest level of the field."""

_TINY = float(np.finfo(np.float32).tiny)


class NoiseModel(NamedTuple):
    """Noise variance read + gain · level, never below `least`.

    Parameters
    ----------
    read : float, counts²
        Variance at level zero; includes the camera offset, so it may be negative.
    gain : float, counts
        Variance per count.
    least : float, counts²
    """

    read: float
    gain: float
    least: float

    @classmethod
    def through(cls, level: float, variance: float, gain: float, *, darkest: float) -> NoiseModel:
        """The line through the variance at a level, for a field that is nowhere below `darkest`."""
        dark = variance - gain * (level - darkest)
        least = max(LEAST_SHARE * max(dark, 0.01 * variance), _TINY)
        return cls(variance - gain * level, gain, least)

    def variance(self, level: FloatImage) -> FloatImage:
        """Noise variance at the given mean counts, same shape, counts²."""
        variance: FloatImage = np.maximum(self.read + self.gain * level, self.least)
        return variance.astype(np.float32)


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


def fit_noise(stack: ImageStack) -> NoiseModel:
    """Noise of the camera against the light level.

    Parameters
    ----------
    stack : ImageStack
        At least 4×4 pixels.

    Notes
    -----
    A photon-transfer curve (Janesick, doi:10.1117/3.725073) within frames, so blinking is not taken
    for noise. The product of second differences along y and x, divided by 6, keeps the variance of
    white noise and little of light behind a PSF. What it keeps of steady light is taken off as the
    product of its means over odd and even frames, whose noise differs. What is left is linear in
    the mean level, because noise variance is linear in light; no level is read off a noisy frame.
    """
    starts, length = block_plan(stack.n_frames)
    centre, level = _levels(stack)
    squares = np.zeros((1, *level.shape))
    for s in starts:
        squares += _squares(stack.load(slice(s, s + length))) / len(starts)
    line, _ = _fitted(squares, level, Tiles.of(level.shape))
    variance, gain = float(line[0]), max(float(line[1]), 0.0)
    darkest = float(np.quantile(level, LEVELS[0]))
    return NoiseModel.through(centre, variance, gain, darkest=centre + darkest)


def transfer_line(
    stack: ImageStack, density: FloatImage, projection: Projection, *, contrast: float
) -> TransferLine:
    """The same line with standard errors, free of what blinking adds to it.

    Parameters
    ----------
    stack : ImageStack
        At least 4×4 pixels, and enough for two units (`dlbi.inference.measurement.units`).
    density : ndarray, fine grid of the projection, counts
        Mean signal per fine pixel.
    projection : Projection
    contrast : float
        Second cumulant of the blinking ÷ mean light, counts.

    Notes
    -----
    Blinking passes the filter as contrast · Σ_g ρ_g r_g(p)² with the filtered PSF r, which is taken
    off. The errors are a jackknife over the units, and what an error of 15 % of the blinking does.
    """
    starts, length = block_plan(stack.n_frames)
    centre, level = _levels(stack)
    tiles = Tiles.of(level.shape)
    leakage = max(contrast, 0.0) * light_roughness(density, projection)
    squares = np.array([_squares(stack.load(slice(s, s + length))) for s in starts])
    (variance, gain), weight = _fitted(squares - leakage, level, tiles)
    sums = _sums(squares - leakage, level, weight, tiles)
    whole = sums.sum(axis=(0, 1))
    units = [_line(whole - unit) for unit in sums.reshape(-1, sums.shape[-1])]
    scatter = np.diag(jackknife_covariance(np.array(units)))
    shifted = _sums(squares - (1.0 + LEAKAGE_ERROR) * leakage, level, weight, tiles)
    shift = _line(shifted.sum(axis=(0, 1))) - np.array([variance, gain])
    error = np.sqrt(scatter + shift**2)
    low, high = np.quantile(level, LEVELS)
    return TransferLine(
        level=centre,
        variance=float(variance),
        variance_error=float(error[0]),
        gain=float(gain),
        gain_error=float(error[1]),
        span=float(high - low),
    )


def _levels(stack: ImageStack) -> tuple[float, F64]:
    """Mean of the movie, and the local level above it, (Y − 2, X − 2), counts."""
    mean = stack.mean().astype(np.float64)
    centre = float(mean.mean())
    return centre, convolve(mean, TAPS**2)[1:-1, 1:-1] - centre


def _squares(frames: FloatImage) -> F64:
    """Mean square of the filtered frames without steady light, (Y − 2, X − 2), counts²."""
    h, w = frames.shape[1:]
    square, even_odd = np.zeros((h - 2, w - 2)), np.zeros((2, h - 2, w - 2))
    for t, frame in enumerate(frames):
        filtered = rough(frame)
        square += filtered**2
        even_odd[t % 2] += filtered
    n = len(frames)
    steady = even_odd[0] * even_odd[1] / ((n - n // 2) * (n // 2))
    return np.asarray(square / n - steady, np.float64)


def _fitted(squares: F64, level: F64, tiles: Tiles) -> tuple[F64, F64]:
    """Least-squares line weighted by itself, and the weights of the pixels, (Y − 2, X − 2)."""
    tiny = float(np.abs(squares).max()) * 1e-9 + _TINY
    variance, gain = max(float(squares.mean()), tiny), 0.0
    for _ in range(N_FITS):
        weight = np.maximum(variance + gain * level, max(0.2 * variance, tiny)) ** -2.0
        variance, gain = _line(_sums(squares, level, weight, tiles).sum(axis=(0, 1)))
    return np.array([variance, gain]), weight


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
