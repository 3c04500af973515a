"""Camera noise of a movie: a photon-transfer line free of the structure's own roughness.

The register of an EMCCD smears charge along rows, so the noise of neighbours in a row may be
correlated. Then second differences keep less of its variance, and light under a PSF is known less
well than its pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.measurement.covariance_fit import psf_autocorrelation
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

LEAST_CORRELATION, LEAST_Z = 0.05, 4.0
"""Correlation of the noise along rows from which on it counts, and its least significance."""
MOST_CORRELATION = 0.5
"""Charge that is spread over two pixels correlates them no more than that."""

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
    row_correlation : float
        Correlation of the noise of neighbours in a row; 0 if noise is white.
    """

    read: float
    gain: float
    least: float
    row_correlation: float = 0.0

    @classmethod
    def through(
        cls,
        level: float,
        variance: float,
        gain: float,
        *,
        darkest: float,
        row_correlation: float = 0.0,
    ) -> NoiseModel:
        """The line through the variance at a level, for a field that is nowhere below `darkest`."""
        dark = variance - gain * (level - darkest)
        least = max(LEAST_SHARE * max(dark, 0.01 * variance), _TINY)
        return cls(variance - gain * level, gain, least, row_correlation)

    def variance(self, level: FloatImage) -> FloatImage:
        """Noise variance at the given mean counts, same shape, counts²."""
        variance: FloatImage = np.maximum(self.read + self.gain * level, self.least)
        return variance.astype(np.float32)

    def binned(self, factor: int) -> NoiseModel:
        """The noise of sums over factor × factor pixels.

        With the correlation ρ of neighbours in a row, a sum over k pixels of it has the variance
        k + 2 (k − 1) ρ of one, and the covariance ρ with the next.
        """
        row = factor + 2 * (factor - 1) * self.row_correlation
        return NoiseModel(
            factor * row * self.read,
            row / factor * self.gain,
            factor * row * self.least,
            self.row_correlation / row,
        )

    def under(self, sigma_px: float) -> float:
        """Variance of a sum weighted by a PSF ÷ what white noise of the same pixels would give it.

        With the autocorrelation A of the PSF, 1 + 2 ρ A(1) ÷ A(0): nearly 1 + 2 ρ under a wide one.
        """
        alone, beside = psf_autocorrelation([0.0, 1.0], sigma_px)
        return float(1.0 + 2.0 * self.row_correlation * beside / alone)


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
    row_correlation, row_correlation_error : float
        Correlation of the noise of neighbours in a row, and its standard error; variance and gain
        are free of it if it counts.
    """

    level: float
    variance: float
    variance_error: float
    gain: float
    gain_error: float
    span: float
    row_correlation: float
    row_correlation_error: float


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

    Of noise that neighbours in a row share with correlation ρ the filter keeps 1 − 4ρ/3. Blinking
    under a round PSF leaves as much in the products of neighbours along x as along y, so their
    difference, 5ρ/18 of the variance, is free of it.
    """
    starts, length = block_plan(stack.n_frames)
    centre, level = _levels(stack)
    tiles = Tiles.of(level.shape)
    squares, products = np.zeros((1, *level.shape)), []
    for s in starts:
        own, beside = _filtered_products(stack.load(slice(s, s + length)), tiles)
        squares += own / len(starts)
        products.append(beside)
    line, _ = _fitted(squares, level, tiles)
    correlation = counted(*_row_correlation(np.concatenate(products)))
    variance, gain = line / _kept(correlation)
    darkest = float(np.quantile(level, LEVELS[0]))
    return NoiseModel.through(
        centre, float(variance), max(float(gain), 0.0),
        darkest=centre + darkest, row_correlation=correlation,
    )  # fmt: skip


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
    found = [_filtered_products(stack.load(slice(s, s + length)), tiles) for s in starts]
    squares = np.array([own for own, _ in found])
    correlation, correlation_error = _row_correlation(np.concatenate([b for _, b in found]))
    kept = _kept(counted(correlation, correlation_error))
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
        variance=float(variance / kept),
        variance_error=float(error[0] / kept),
        gain=float(gain / kept),
        gain_error=float(error[1] / kept),
        span=float(high - low),
        row_correlation=correlation,
        row_correlation_error=correlation_error,
    )


def counted(row_correlation: float, error: float) -> float:
    """The correlation of the noise of neighbours in a row if it stands out, or else 0."""
    stands_out = row_correlation >= max(LEAST_CORRELATION, LEAST_Z * error)
    return min(row_correlation, MOST_CORRELATION) if stands_out else 0.0


def _levels(stack: ImageStack) -> tuple[float, F64]:
    """Mean of the movie, and the local level above it, (Y − 2, X − 2), counts."""
    mean = stack.mean().astype(np.float64)
    centre = float(mean.mean())
    return centre, convolve(mean, TAPS**2)[1:-1, 1:-1] - centre


def _filtered_products(frames: FloatImage, tiles: Tiles) -> tuple[F64, F64]:
    """Mean products of the filtered frames without steady light.

    Returns
    -------
    squares : ndarray, (Y − 2, X − 2), counts²
    sums : ndarray, (S, 3), counts²
        Sums over the tiles of the squares, and of the products with the right and lower neighbour.
    """
    h, w = frames.shape[1:]
    products = np.zeros((3, h - 2, w - 2))
    even_odd = np.zeros((2, h - 2, w - 2))
    for t, frame in enumerate(frames):
        filtered = rough(frame)
        products += _with_neighbours(filtered, filtered)
        even_odd[t % 2] += filtered
    n = len(frames)
    even, odd = even_odd
    steady = 0.5 * (_with_neighbours(even, odd) + _with_neighbours(odd, even))
    products = products / n - steady / ((n - n // 2) * (n // 2))
    pairs = np.array([1.0, (w - 3) / (w - 2), (h - 3) / (h - 2)])
    products /= pairs[:, None, None]
    return products[0], np.stack([tiles.sum(p) for p in products], axis=1)


def _with_neighbours(a: F64, b: F64) -> F64:
    """Products of a with b at the same place, to the right and below, (3, Y, X); 0 beyond b."""
    out = np.zeros((3, *a.shape))
    out[0] = a * b
    out[1, :, :-1] = a[:, :-1] * b[:, 1:]
    out[2, :-1] = a[:-1] * b[1:]
    return out


def _row_correlation(sums: F64) -> tuple[float, float]:
    """Correlation of the noise of neighbours in a row, from units (n, 3), and its error."""
    whole = sums.sum(axis=0)
    if len(sums) < 2:
        return _correlation(whole), math.inf
    without = np.array([[_correlation(whole - unit)] for unit in sums])
    return _correlation(whole), math.sqrt(jackknife_covariance(without)[0, 0])


def _correlation(products: F64) -> float:
    own, right, below = products
    covariance = (right - below) * 18.0 / 5.0
    variance = own + 4.0 / 3.0 * covariance
    return float(covariance / variance) if variance > _TINY else 0.0


def _kept(row_correlation: float) -> float:
    """Share of the variance of noise that the filter keeps."""
    return 1.0 - 4.0 / 3.0 * row_correlation


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
