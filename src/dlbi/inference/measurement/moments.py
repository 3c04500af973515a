"""Flux and on-fraction of single fluorophores from the cumulants of the movie.

Light from a density ρ (mean signal per fine pixel) whose emitters have flux a, light CV cv and
on-fraction q has the cumulants, shared by pixels of the same PSF,

    first   ρ                                        (the mean image)
    second  ρ · a · (g − q)                          g = 1 + cv²
    third   ρ · a² · (g³ − 3 q g + 2 q²)

The ratio third/second² fixes q, the second then a, and the light the number of emitters. How they
are measured stands in `dlbi.inference.measurement.fluctuations`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.measurement.fluctuations import measure_fluctuations
from dlbi.inference.measurement.units import jackknife_covariance, trend_residual

PRIOR_SD_LOG_Q = (0.6, 0.4)
"""Spread of log q below and above the expected one. Rare emission is believed more readily: too
many emitters cost little, too few merge neighbours."""

MODEL_SD = 0.2
MIN_Q, MAX_Q = 0.003, 0.6
MAX_SHARED_Q = 0.9
"""Emitters that stand for many fluorophores are on most of the time, and still have to blink."""


class BlinkingMoments(NamedTuple):
    """What the second and third cumulants say about single fluorophores.

    Parameters
    ----------
    contrast : float, counts
        Second cumulant ÷ mean, a (g − q); not positive where nothing blinks.
    skewness : float
        Third cumulant · mean ÷ second cumulant², (g³ − 3qg + 2q²)/(g − q)².
    skewness_error : float
        Its standard error; infinite for movies too short to tell.
    light_cv : float
        The cv assumed.
    """

    contrast: float
    skewness: float
    skewness_error: float
    light_cv: float

    def flux(self, on_fraction: float) -> float:
        """Flux of an emitting frame if fluorophores are on that share of the time, counts."""
        return self.contrast / (1.0 + self.light_cv**2 - on_fraction)

    def on_fraction_of(self, light: float) -> float:
        """On-fraction of emitters of that mean light which have the contrast of the movie.

        Parameters
        ----------
        light : float, counts

        Notes
        -----
        From a q = light and a (g − q) = contrast: g · light ÷ (contrast + light), at most 0.9.
        Independent fluorophores that share an emitter add up to it: their second cumulants add,
        and so does their light.
        """
        g = 1.0 + self.light_cv**2
        return min(g * light / (max(self.contrast, 0.0) + light), MAX_SHARED_Q)

    def on_fraction(self, expected: float) -> float:
        """On-fraction q from the skewness and a log-normal prior around `expected`."""
        q = np.exp(np.linspace(np.log(MIN_Q), np.log(MAX_Q), 400))
        misfit = self.skewness - skewness(q, self.light_cv)
        below, above = PRIOR_SD_LOG_Q
        log_p = -0.5 * (np.log(q / expected) / np.where(q < expected, below, above)) ** 2
        log_p -= 0.5 * misfit**2 / (self.skewness_error**2 + MODEL_SD**2)
        weight = np.exp(log_p - log_p.max())
        return float(np.exp((weight * np.log(q)).sum() / weight.sum()))


def skewness(
    on_fraction: NDArray[np.float64] | float, light_cv: float
) -> NDArray[np.float64] | float:
    """Third cumulant · mean ÷ second cumulant² of the light of one fluorophore."""
    g = 1.0 + light_cv**2
    q = on_fraction
    return (g**3 - 3.0 * q * g + 2.0 * q**2) / (g - q) ** 2


def blinking_moments(
    stack: ImageStack, density: FloatImage, projection: Projection, *, light_cv: float
) -> BlinkingMoments:
    """Cumulants of the movie in units of the density's own light.

    Parameters
    ----------
    stack : ImageStack
    density : ndarray, fine grid of the projection
        Mean signal per fine pixel, background removed.
    projection : Projection
    light_cv : float
        Coefficient of variation of the light from one emitting frame to the next.
    """
    found = measure_fluctuations(stack, density, projection)
    if found is None:
        return BlinkingMoments(0.0, 0.0, np.inf, light_cv)
    q = trend_residual(found.n_frames)
    second, third = found.second[..., 0] / (q**2).sum(), found.third[..., 0] / (q**3).sum()
    sums = np.stack(
        np.broadcast_arrays(second, found.second_norm, third, found.third_norm), axis=-1
    ).reshape(-1, 4)
    whole = sums.sum(axis=0)
    contrast, skewed = _cumulants(whole)
    if contrast <= 0:
        return BlinkingMoments(float(contrast), 0.0, np.inf, light_cv)
    error = np.inf
    if len(sums) > 1:
        without = np.array([_cumulants(whole - unit)[1:] for unit in sums])
        error = float(np.sqrt(jackknife_covariance(without)[0, 0]))
    return BlinkingMoments(float(contrast), float(skewed), error, light_cv)


def _cumulants(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second cumulant ÷ mean, and third · mean ÷ second², from products and squared templates."""
    second, second_norm, third, third_norm = sums
    if second_norm <= 0 or third_norm <= 0 or second == 0:
        return np.zeros(2)
    k2 = second / second_norm
    return np.array([k2, third / third_norm / k2**2])
