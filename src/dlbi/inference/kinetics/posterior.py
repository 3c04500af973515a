"""Kinetics and light of single fluorophores given the cumulants of a movie: prior and posterior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from dlbi.inference.kinetics.ensemble import sample_ensemble
from dlbi.inference.kinetics.expectation import (
    GRAIN,
    SECOND,
    THIRD,
    TRENDS,
    Kinetics,
    Statistics,
    expected_statistics,
)
from dlbi.inference.measurement.fluctuations import Fluctuations

F64 = NDArray[np.float64]

SECOND_MODEL_ERROR, THIRD_MODEL_ERROR = 0.01, 0.05
"""Errors of the model that no amount of data removes, relative to the cumulant at lag 0. With them
95 % intervals held the truth as often as they should on 80 tuning movies of random cameras."""
TREND_MODEL_ERRORS = (0.01, 0.03)

OFF_RANGE, ON_RANGE, BLEACHING_RANGE = (0.02, 0.99), (0.002, 0.6), (1e-4, 0.05)
"""E→D is uniform, D→E and D→B are uniform in the logarithm; D→B is 0 with the odds of 3 to 7."""
NO_BLEACHING = 0.3
LOG_SD_RANGE = (0.02, 0.65)
"""Brightness of an emitting frame, standard deviation of its logarithm, uniform."""
TREND_RANGE = (-0.3, 0.3)
FLUX_FACTOR = np.e
"""The flux may miss what contrast and kinetics imply by this factor before the data speak."""
ALL_BLINKS, SHARE_MEDIAN, SHARE_LOG_SD, LEAST_SHARE = 0.7, 1.04, 0.1, 0.2
"""With the odds of 7 to 3 all light blinks, and its share is off 1 only by the error of the
background (log-normal, simulations); otherwise it may be anything down to a fifth."""
COARSENESS_RANGE, GRAIN_MODEL_ERROR = (0.8, 300.0), 0.15
"""Uniform in the logarithm: the grain bounds the light of a fluorophore from above and tells no
more. In simulations most structures have 1 … 20, small rings and spots up to 220."""

N_PARAMETERS = 8
N_WALKERS, N_STEPS, N_KEPT = 256, 1200, 400
N_START, START_TEMPERATURE = 40_000, 0.3


def prior(u: F64, contrast: float) -> Kinetics:
    """Kinetics from numbers that are uniform in 0 … 1.

    Parameters
    ----------
    u : ndarray, (n, 8)
    contrast : float
        Second cumulant at lag 0, counts: the scale of the flux.
    """
    off = OFF_RANGE[0] + (OFF_RANGE[1] - OFF_RANGE[0]) * u[:, 1]
    on = _log_between(*ON_RANGE, u[:, 2])
    bleaching = _log_between(*BLEACHING_RANGE, (u[:, 3] - NO_BLEACHING) / (1.0 - NO_BLEACHING))
    log_sd = LOG_SD_RANGE[0] + (LOG_SD_RANGE[1] - LOG_SD_RANGE[0]) * u[:, 4]
    share = _blinking_share(u[:, 5])
    implied = contrast / ((np.exp(log_sd**2) - on / (on + off)) * share)
    return Kinetics(
        flux=implied * FLUX_FACTOR ** (2.0 * u[:, 0] - 1.0),
        emitting_to_dark=off,
        dark_to_emitting=on,
        dark_to_bleached=np.where(u[:, 3] < NO_BLEACHING, 0.0, bleaching),
        log_sd=log_sd,
        blinking_share=share,
        trend=TREND_RANGE[0] + (TREND_RANGE[1] - TREND_RANGE[0]) * u[:, 6],
        coarseness=_log_between(*COARSENESS_RANGE, u[:, 7]),
    )


def _blinking_share(u: F64) -> F64:
    """Increasing in u: first light that does not blink, then errors of the background alone."""
    some = 1.0 - ALL_BLINKS
    border = SHARE_MEDIAN * np.exp(-3.0 * SHARE_LOG_SD)
    static = _log_between(LEAST_SHARE, border, u / some)
    z = ndtri(np.clip((u - some) / ALL_BLINKS, ndtr(-3.0), ndtr(3.0)))
    return np.where(u > some, SHARE_MEDIAN * np.exp(SHARE_LOG_SD * z), static)


def _log_between(low: float, high: float, u: F64) -> F64:
    return np.asarray(low * (high / low) ** u, np.float64)


def log_likelihood(found: Statistics, expected: F64, psf_error: float) -> F64:
    """Logarithm of Student's t of the misfit, (n,).

    Parameters
    ----------
    found : Statistics
    expected : ndarray, (n, k)
    psf_error : float
        Relative standard error of the PSF width; it scales all second cumulants alike, by its
        square, and the third ones by its fourth power.
    """
    size = np.abs(found.values)
    error = np.empty_like(size)
    error[SECOND] = SECOND_MODEL_ERROR * size[0]
    error[THIRD] = THIRD_MODEL_ERROR * size[THIRD].max()
    error[TRENDS] = TREND_MODEL_ERRORS
    error[GRAIN] = GRAIN_MODEL_ERROR * size[GRAIN]
    common = np.zeros_like(size)
    common[SECOND], common[THIRD] = 2.0 * found.values[SECOND], 4.0 * found.values[THIRD]
    covariance = found.covariance + np.diag(error**2) + psf_error**2 * np.outer(common, common)
    known = np.isfinite(np.diag(covariance))
    misfit = (expected - found.values)[:, known]
    precision = np.linalg.inv(covariance[np.ix_(known, known)])
    square = np.einsum("ni,ni->n", misfit @ precision, misfit)
    dof = max(found.n_units - 1, 3)
    return np.asarray(-0.5 * (dof + size.size) * np.log1p(square / dof), np.float64)


def sample_kinetics(
    found: Statistics, movie: Fluctuations, rng: np.random.Generator, *, psf_error: float = 0.0
) -> Kinetics:
    """Draws from the posterior.

    Parameters
    ----------
    found : Statistics
        Its contrast must be positive.
    movie : Fluctuations
        What they are from.
    rng : Generator
    psf_error : float
        Relative standard error of the PSF width.

    Notes
    -----
    Walkers move in the logits of the uniform numbers behind the prior. They start from prior draws
    weighted by the tempered likelihood.
    """

    def fit(u: F64) -> F64:
        kinetics = prior(u, found.contrast)
        expected = expected_statistics(kinetics, movie.centre, movie.n_frames)
        return log_likelihood(found, expected, psf_error)

    def log_density(z: F64) -> F64:
        u = np.clip(expit(z), 1e-12, 1.0 - 1e-12)
        return np.asarray(fit(u) + (np.log(u) + np.log1p(-u)).sum(axis=1), np.float64)

    u = rng.random((N_START, N_PARAMETERS))
    weight = fit(u)
    weight = np.exp(START_TEMPERATURE * (weight - weight.max()))
    chosen = rng.choice(N_START, N_WALKERS, p=weight / weight.sum())
    start = logit(np.clip(u[chosen], 1e-6, 1.0 - 1e-6))
    start += 0.02 * rng.standard_normal(start.shape)
    draws = sample_ensemble(log_density, start, rng, n_steps=N_STEPS, n_kept=N_KEPT)
    return prior(np.clip(expit(draws), 1e-12, 1.0 - 1e-12), found.contrast)


def sample_prior(n: int, contrast: float, rng: np.random.Generator) -> Kinetics:
    """Draws from the prior."""
    return prior(rng.random((n, N_PARAMETERS)), contrast)
