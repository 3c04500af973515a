"""Blinking of single fluorophores from the cumulants of a movie, with intervals.

Theory. A fluorophore of mean light a, coefficient of variation cv, on-fraction q and
λ = P(E→E) − P(D→E) has, in units of its mean light,

    second cumulant at lag 0       a (g − q)                        g = 1 + cv²
                    at lag k > 0   a (1 − q) λᵏ
    third cumulant  three frames   a² (1 − q)(1 − 2q) λˢ            s = last − first frame
                    two equal      a² (1 − q)(g − 2q) λˢ
                    all equal      a² (g³ − 3qg + 2q²)

Taking mean and trend off a block of n frames mixes the lags; the mixture is linear and known, so
the expected figures are exact for blocks of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dlbi.inference.fluctuations import MAX_LAG, THIRD_LAGS, Fluctuations
from dlbi.inference.moments import trend_residual

F64 = NDArray[np.float64]

N_SECOND, N_THIRD = MAX_LAG + 1, len(THIRD_LAGS)
SECOND_MODEL_ERROR, THIRD_MODEL_ERROR = 0.02, 0.10
"""Relative errors of the model that no amount of data removes (simulations)."""
TREND_MODEL_ERROR = 0.01


class Statistics(NamedTuple):
    """What a movie shows of the blinking, and how well.

    Parameters
    ----------
    values : ndarray, (N_SECOND + N_THIRD + 2,)
        Second and third cumulants, relative change of light and of second cumulant over the movie.
    covariance : ndarray, (n, n)
        Delete-one jackknife over units.
    n_units : int
    """

    values: F64
    covariance: F64
    n_units: int


def statistics_of(found: Fluctuations) -> Statistics:
    """Cumulants and trends with their covariance."""
    n_blocks, n_tiles = found.light.shape
    whole = np.ones((n_blocks, n_tiles))
    values = _reduced(found, whole)
    units = [_reduced(found, _without(whole, b, s)) for b in range(n_blocks) for s in range(n_tiles)]
    covariance = _jackknife(np.array(units))
    tiles = _jackknife(np.array([_reduced(found, _without(whole, slice(None), s))
                                 for s in range(n_tiles)]))  # fmt: skip
    # What is shared by all blocks of a tile shows only if whole tiles are left out.
    tiny = np.finfo(float).tiny
    scale = np.sqrt(np.maximum(1.0, np.diag(tiles) / np.maximum(np.diag(covariance), tiny)))
    return Statistics(values, covariance * np.outer(scale, scale), n_blocks * n_tiles)


def _without(weight: F64, block: int | slice, tile: int) -> F64:
    left = weight.copy()
    left[block, tile] = 0.0
    return left


def _jackknife(leave_one_out: F64) -> F64:
    n = len(leave_one_out)
    change = leave_one_out - leave_one_out.mean(axis=0)
    return (n - 1) / n * change.T @ change


def _reduced(found: Fluctuations, weight: F64) -> F64:
    tiny = np.finfo(float).tiny
    second = np.einsum("bs,bsl->bl", weight, found.second)
    second_norm = np.maximum(weight @ found.second_norm, tiny)
    third = np.einsum("bs,bsl->l", weight, found.third) / max(
        float((weight @ found.third_norm).sum()), tiny
    )
    light = (weight * found.light).sum(axis=1) / np.maximum(weight @ found.light_norm, tiny)
    time = _contrast(found.centre)
    zero = second[:, 0] / second_norm
    return np.concatenate(
        [
            second.sum(axis=0) / second_norm.sum() / _weights(found.n_frames).second_scale,
            third / _weights(found.n_frames).third_scale,
            [_ratio(time @ light, light.mean()), _ratio(time @ zero, zero.mean())],
        ]
    )


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 0 else 0.0


def _contrast(centre: F64) -> F64:
    """Weights of the blocks whose sum is the change from end to end of a straight line."""
    time = centre - centre.mean()
    span = centre[-1] - centre[0]
    return np.asarray(time / (time @ time) * span if span > 0 else time, np.float64)


class _Weights(NamedTuple):
    second: F64
    """(N_SECOND, n): weight of the covariance at each lag."""
    all_equal: F64
    """(N_THIRD,)"""
    two_equal: F64
    """(N_THIRD, n): by span."""
    distinct: F64
    """(N_THIRD, n): by span."""
    second_scale: F64
    third_scale: F64
    residual: F64


_CACHE: dict[int, _Weights] = {}


def _weights(n: int) -> _Weights:
    """How the figures of a detrended block of n frames mix the cumulants of all lags."""
    if n in _CACHE:
        return _CACHE[n]
    q = trend_residual(n)
    i, j = np.indices((n, n))
    second = np.zeros((N_SECOND, n))
    for lag in range(N_SECOND):
        mixed = q[: n - lag].T @ q[lag:]
        second[lag] = np.bincount(np.abs(i - j).ravel(), mixed.ravel(), n)
    a, b, c = np.indices((n, n, n))
    span = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)
    ties = (a == b).astype(int) + (b == c) + (a == c)
    equal, two, distinct = np.zeros(N_THIRD), np.zeros((N_THIRD, n)), np.zeros((N_THIRD, n))
    for k, lag in enumerate(THIRD_LAGS):
        pairs = (q[: n - lag, :, None] * q[: n - lag, None, :]).reshape(n - lag, -1)
        mixed = (pairs.T @ q[lag:]).reshape(n, n, n)
        equal[k] = mixed[ties == 3].sum()
        two[k] = np.bincount(span[ties == 1], mixed[ties == 1], n)
        distinct[k] = np.bincount(span[ties == 0], mixed[ties == 0], n)
    lags = np.arange(N_SECOND)
    scale = np.array([equal[0], *(two[k, lag] for k, lag in enumerate(THIRD_LAGS) if lag)])
    _CACHE[n] = _Weights(second, equal, two, distinct, second[lags, lags], scale, q)
    return _CACHE[n]


@dataclass(frozen=True, slots=True)
class Draws:
    """Parameters of one fluorophore, each (n,).

    Parameters
    ----------
    flux : ndarray, counts
        Mean light of an emitting frame.
    emitting_to_dark, dark_to_emitting, dark_to_bleached : ndarray
        Probabilities per frame.
    log_sd : ndarray
        Standard deviation of the logarithm of the light of an emitting frame.
    blinking_share : ndarray
        Blinking light ÷ light above the estimated background: below 1 where light does not blink,
        above 1 where the background has taken some of it.
    trend : ndarray
        Relative change of the illumination over the movie.
    """

    flux: F64
    emitting_to_dark: F64
    dark_to_emitting: F64
    dark_to_bleached: F64
    log_sd: F64
    blinking_share: F64
    trend: F64

    @property
    def on_fraction(self) -> F64:
        """On-fraction before bleaching."""
        return self.dark_to_emitting / (self.emitting_to_dark + self.dark_to_emitting)

    @property
    def light_cv(self) -> F64:
        """Coefficient of variation of the light."""
        return np.sqrt(np.expm1(self.log_sd**2))

    @property
    def loss(self) -> F64:
        """Share of the fluorophores that bleach from one frame to the next, in the long run."""
        e, d, b = self.emitting_to_dark, self.dark_to_emitting, self.dark_to_bleached
        trace, det = 2.0 - e - d - b, (1.0 - e) * (1.0 - d - b) - e * d
        return 1.0 - 0.5 * (trace + np.sqrt(np.maximum(trace**2 - 4.0 * det, 0.0)))


def expected(draws: Draws, centre: F64, n_frames: int) -> F64:
    """Expected statistics of `statistics_of`, (n, N_SECOND + N_THIRD + 2)."""
    w = _weights(n_frames)
    a, q, g = draws.flux, draws.on_fraction, np.exp(draws.log_sd**2)
    survival = 1.0 - draws.loss
    memory = (1.0 - draws.emitting_to_dark - draws.dark_to_emitting) * np.sqrt(survival)
    power = memory[:, None] ** np.arange(n_frames)
    blinking = draws.blinking_share
    later = power.copy()
    later[:, 0] = 0.0
    second = (g - q)[:, None] * w.second[:, 0] + (1 - q)[:, None] * (later @ w.second.T)
    second = (a * blinking)[:, None] * second / w.second_scale
    third = (
        (g**3 - 3 * q * g + 2 * q**2)[:, None] * w.all_equal
        + ((1 - q) * (g - 2 * q))[:, None] * (power @ w.two_equal.T)
        + ((1 - q) * (1 - 2 * q))[:, None] * (power @ w.distinct.T)
    )
    third = (a**2 * blinking)[:, None] * third / w.third_scale
    time = _contrast(centre)
    alive = survival[:, None] ** (centre - centre[0])
    lamp = 1.0 + draws.trend[:, None] * (centre - centre.mean()) / max(np.ptp(centre), 1.0)
    share = np.minimum(draws.blinking_share, 1.0)[:, None]
    decay = alive / alive.mean(axis=1, keepdims=True)
    light = (share * decay + 1 - share) * lamp
    zero = decay * lamp**2
    trends = np.stack([light @ time / light.mean(axis=1), zero @ time / zero.mean(axis=1)], axis=1)
    return np.concatenate([second, third, trends], axis=1)


def log_likelihood(found: Statistics, model: F64) -> F64:
    """Student's t of the misfit, with the error of the model beside that of the data, (n,)."""
    size = np.abs(found.values)
    error = np.concatenate(
        [
            np.full(N_SECOND, SECOND_MODEL_ERROR * size[0]),
            THIRD_MODEL_ERROR * size[N_SECOND : N_SECOND + N_THIRD].max() * np.ones(N_THIRD),
            [TREND_MODEL_ERROR, 3 * TREND_MODEL_ERROR],
        ]
    )
    covariance = found.covariance + np.diag(error**2)
    misfit = model - found.values
    square = np.einsum("ni,ni->n", misfit @ np.linalg.inv(covariance), misfit)
    dof = max(found.n_units - 1, 3)
    return np.asarray(-0.5 * (dof + len(size)) * np.log1p(square / dof), np.float64)


N_WALKERS, N_STEPS, N_KEPT = 256, 1200, 400
N_START = 40_000
STRETCH = 2.0


def prior(u: F64, contrast: float) -> Draws:
    """Parameters from numbers that are uniform on (0, 1), (n, 7).

    Parameters
    ----------
    contrast : float
        Second cumulant at lag 0, counts; the flux is its own multiple, whatever the movie's scale.
    """
    off = 0.02 + 0.97 * u[:, 1]
    on = _log_between(0.002, 0.6, u[:, 2])
    bleach = np.where(u[:, 3] < 0.3, 0.0, _log_between(1e-4, 0.05, (u[:, 3] - 0.3) / 0.7))
    log_sd = 0.02 + 0.63 * u[:, 4]
    share = _blinking_share(u[:, 5])
    trend = 0.6 * (u[:, 6] - 0.5)
    q = on / (on + off)
    flux = contrast / ((np.exp(log_sd**2) - q) * share) * np.exp(1.0 * (2 * u[:, 0] - 1))
    return Draws(flux, off, on, bleach, log_sd, share, trend)


MOSTLY, TYPICAL_LOG, TYPICAL_SD = 0.7, 0.08, 0.2


def _blinking_share(u: F64) -> F64:
    typical = np.exp(TYPICAL_LOG + TYPICAL_SD * ndtri(np.clip((u - 1 + MOSTLY) / MOSTLY, 1e-6, 1 - 1e-6)))
    low = np.exp(TYPICAL_LOG - 3 * TYPICAL_SD)
    static = 0.2 * (low/0.2) ** (u / (1 - MOSTLY))
    return np.where(u > 1 - MOSTLY, typical, static)


def _log_between(low: float, high: float, u: F64) -> F64:
    return np.asarray(low * (high / low) ** u, np.float64)


def sample_posterior(
    found: Statistics, centre: F64, n_frames: int, rng: np.random.Generator
) -> Draws:
    """Draws from the posterior by an ensemble of walkers (Goodman & Weare, 2010)."""
    contrast = float(found.values[0])

    def log_p(z: F64) -> F64:
        u = 1.0 / (1.0 + np.exp(-z))
        jacobian = (np.log(u) + np.log1p(-u)).sum(axis=1)
        return jacobian + log_likelihood(found, expected(prior(u, contrast), centre, n_frames))

    u = rng.random((N_START, 7))
    ll = log_likelihood(found, expected(prior(u, contrast), centre, n_frames))
    weight = np.exp((ll - ll.max()) * 0.3)
    pick = rng.choice(N_START, N_WALKERS, p=weight / weight.sum())
    u = np.clip(u[pick], 1e-6, 1 - 1e-6)
    z = np.log(u / (1 - u)) + 0.02 * rng.standard_normal(u.shape)
    current = log_p(z)
    kept = []
    half = N_WALKERS // 2
    accepted = 0
    for step in range(N_STEPS):
        for move, other in ((slice(0, half), slice(half, None)), (slice(half, None), slice(0, half))):
            partner = z[other][rng.integers(0, half, half)]
            if step % 4 == 3:  # differential evolution
                second_partner = z[other][rng.integers(0, half, half)]
                gamma = 1.0 if step % 20 == 19 else 2.38 / np.sqrt(14) 
                proposal = z[move] + gamma * (partner - second_partner) + 1e-3 * rng.standard_normal((half, 7))
                factor = np.zeros(half)
            else:
                stretch = ((STRETCH - 1) * rng.random(half) + 1) ** 2 / STRETCH
                proposal = partner + stretch[:, None] * (z[move] - partner)
                factor = 6 * np.log(stretch)
            proposed = log_p(proposal)
            accept = np.log(rng.random(half)) < factor + proposed - current[move]
            accepted += accept.sum()
            z[move] = np.where(accept[:, None], proposal, z[move])
            current[move] = np.where(accept, proposed, current[move])
        if step >= N_STEPS - N_KEPT and step % 10 == 0:
            kept.append(z.copy())
    return prior(1.0 / (1.0 + np.exp(-np.concatenate(kept))), contrast)
