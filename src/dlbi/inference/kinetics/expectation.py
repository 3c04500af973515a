"""What the blinking of a fluorophore makes of the cumulants of a movie.

A fluorophore of mean light a, coefficient of variation cv, on-fraction q and memory
λ = P(E→E) − P(D→E) has, in units of its mean light,

    second cumulant at lag 0       a (g − q)                        g = 1 + cv²
                    at lag k > 0   a (1 − q) λᵏ
    third cumulant  three frames   a² (1 − q)(1 − 2q) λˢ            s = last frame − first
                    two equal      a² (1 − q)(g − 2q) λˢ
                    all equal      a² (g³ − 3qg + 2q²)

Without mean and trend the lags of a block of frames mix. The mixture is linear and known, so the
expected figures hold for blocks of any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.inference.measurement.fluctuations import MAX_LAG, THIRD_LAGS, Fluctuations
from dlbi.inference.measurement.units import jackknife_covariance, trend_residual

F64 = NDArray[np.float64]

N_SECOND, N_THIRD = MAX_LAG + 1, len(THIRD_LAGS)
SECOND = slice(0, N_SECOND)
THIRD = slice(N_SECOND, N_SECOND + N_THIRD)
TRENDS = slice(N_SECOND + N_THIRD, N_SECOND + N_THIRD + 2)
GRAIN = N_SECOND + N_THIRD + 2
N_STATISTICS = GRAIN + 1

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class Kinetics:
    """Parameters of fluorophores and of what surrounds them, each of shape (n,).

    Parameters
    ----------
    flux : ndarray, counts
        Mean light of an emitting frame.
    emitting_to_dark, dark_to_emitting, dark_to_bleached : ndarray
        Probabilities per frame.
    log_sd : ndarray
        Standard deviation of the logarithm of the light of an emitting frame.
    blinking_share : ndarray
        Blinking light ÷ light above the estimated background where the structure is bright: below
        1 where some light does not blink, above 1 where the background has taken some.
    trend : ndarray
        Relative change of the illumination over the movie.
    coarseness : ndarray
        Roughness of the mean image ÷ that of fluorophores scattered independently over a smooth
        density: 1 for a smooth structure, more for a rough one.
    """

    flux: F64
    emitting_to_dark: F64
    dark_to_emitting: F64
    dark_to_bleached: F64
    log_sd: F64
    blinking_share: F64
    trend: F64
    coarseness: F64

    @property
    def on_fraction(self) -> F64:
        """Share of the frames in which a fluorophore that is not bleached emits."""
        return self.dark_to_emitting / (self.emitting_to_dark + self.dark_to_emitting)

    @property
    def memory(self) -> F64:
        """λ = P(E→E) − P(D→E): the factor by which blinking forgets its state in a frame."""
        return 1.0 - self.emitting_to_dark - self.dark_to_emitting

    @property
    def light_cv(self) -> F64:
        """Coefficient of variation of the log-normal light of an emitting frame."""
        return np.sqrt(np.expm1(self.log_sd**2))

    @property
    def loss(self) -> F64:
        """Share of the fluorophores that bleach in a frame, in the long run.

        Notes
        -----
        1 − the largest eigenvalue of the chain without its bleached state.
        """
        e, d, b = self.emitting_to_dark, self.dark_to_emitting, self.dark_to_bleached
        trace = 2.0 - e - d - b
        determinant = (1.0 - e) * (1.0 - d - b) - e * d
        root = np.sqrt(np.maximum(trace**2 - 4.0 * determinant, 0.0))
        return np.where(b > 0, np.maximum(1.0 - 0.5 * (trace + root), 0.0), 0.0)

    def bleached_share(self, n_frames: int) -> F64:
        """Share of the fluorophores that are bleached at the end of a movie."""
        return np.asarray(1.0 - (1.0 - self.loss) ** n_frames, np.float64)

    def light_per_emitter(self, n_frames: int) -> F64:
        """Mean light of a frame over the movie from one fluorophore, counts.

        Notes
        -----
        The mean over T frames of (1 − loss)^t is (1 − (1 − loss)^T) ÷ (T · loss).
        """
        loss = self.loss
        with np.errstate(divide="ignore", invalid="ignore"):
            alive = -np.expm1(n_frames * np.log1p(-loss)) / (n_frames * loss)
        alive = np.where(loss > 0, alive, 1.0)
        return np.asarray(self.flux * self.on_fraction * alive, np.float64)


class Statistics(NamedTuple):
    """What a movie shows of the blinking, and how well.

    Parameters
    ----------
    values : ndarray, (N_STATISTICS,)
        Second cumulants at lags 0 …, counts; third cumulants, counts²; relative change of the
        light and of the second cumulant from the first block to the last; grain, counts.
    covariance : ndarray, (n, n)
        Delete-one jackknife over the units.
    n_units : int
    """

    values: F64
    covariance: F64
    n_units: int

    @property
    def contrast(self) -> float:
        """Second cumulant at lag 0, counts."""
        return float(self.values[0])

    @property
    def contrast_error(self) -> float:
        """Its standard error, counts."""
        return float(np.sqrt(self.covariance[0, 0]))


def statistics_of(found: Fluctuations) -> Statistics:
    """Cumulants and trends of a movie with their covariance.

    Notes
    -----
    Leaving out single units (a tile in a block) gives the covariance. Whole tiles are left out
    too: where that scatters more, for what all blocks of a tile share, the covariance is scaled
    up to it. The grain is a product of blocks and has the scatter of the tiles alone.
    """
    n_blocks, n_tiles = found.light.shape
    whole = np.ones((n_blocks, n_tiles))

    def without(block: int | slice, tile: int) -> F64:
        weight = whole.copy()
        weight[block, tile] = 0.0
        return _reduced(found, weight)

    units = [without(b, s) for b in range(n_blocks) for s in range(n_tiles)]
    covariance = jackknife_covariance(np.array(units))
    if n_tiles > 1:
        tiles = jackknife_covariance(np.array([without(slice(None), s) for s in range(n_tiles)]))
        units_variance, scale = np.diag(covariance), np.zeros(N_STATISTICS)
        seen = units_variance > 0
        seen[GRAIN] = False
        scale[seen] = np.sqrt(np.maximum(1.0, np.diag(tiles)[seen] / units_variance[seen]))
        covariance = covariance * np.outer(scale, scale)
        covariance[GRAIN, GRAIN] = tiles[GRAIN, GRAIN]
    else:
        covariance[GRAIN, GRAIN] = np.inf
    return Statistics(_reduced(found, whole), covariance, n_blocks * n_tiles)


def _reduced(found: Fluctuations, weight: F64) -> F64:
    """The statistics of the units with these weights (B, S)."""
    mixing = block_mixing(found.n_frames)
    second = np.einsum("bs,bsl->bl", weight, found.second)
    second_norm = np.maximum(weight @ found.second_norm, _TINY)
    third = np.einsum("bs,bsl->l", weight, found.third)
    third_norm = max(float((weight @ found.third_norm).sum()), _TINY)
    light = (weight * found.light).sum(axis=1) / np.maximum(weight @ found.light_norm, _TINY)
    at_zero = second[:, 0] / second_norm
    slope = _end_to_end(found.centre)
    present = weight.any(axis=0)
    grain = found.grain[present].sum() / max(float(found.grain_norm[present].sum()), _TINY)
    return np.concatenate(
        [
            second.sum(axis=0) / second_norm.sum() / mixing.second_scale,
            third / third_norm / mixing.third_scale,
            [_ratio(slope @ light, light.mean()), _ratio(slope @ at_zero, at_zero.mean())],
            [grain],
        ]
    )


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom > 0 else 0.0


def _end_to_end(centre: F64) -> F64:
    """Weights of the blocks that sum to the change of a straight line from first to last."""
    time = centre - centre.mean()
    return np.asarray(time / (time @ time) * (centre[-1] - centre[0]), np.float64)


class BlockMixing(NamedTuple):
    """How figures of a block of n frames without mean and trend mix cumulants of all lags.

    Parameters
    ----------
    second : ndarray, (N_SECOND, n)
        Weight of the covariance of frames that far apart.
    all_equal : ndarray, (N_THIRD,)
        Weight of the third cumulant within one frame.
    two_equal, distinct : ndarray, (N_THIRD, n)
        Weights of third cumulants of two and of three frames, by their span.
    second_scale, third_scale : ndarray
        The weight of the lag a figure is named after.
    """

    second: F64
    all_equal: F64
    two_equal: F64
    distinct: F64
    second_scale: F64
    third_scale: F64


@cache
def block_mixing(n: int) -> BlockMixing:
    """The mixing of blocks of n frames: sums over rows of the projection `trend_residual`."""
    q = trend_residual(n)
    i, j = np.indices((n, n))
    second = np.zeros((N_SECOND, n))
    for lag in range(N_SECOND):
        second[lag] = np.bincount(np.abs(i - j).ravel(), (q[: n - lag].T @ q[lag:]).ravel(), n)
    a, b, c = np.indices((n, n, n))
    span = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)
    ties = (a == b).astype(np.int64) + (b == c) + (a == c)
    equal, two, distinct = np.zeros(N_THIRD), np.zeros((N_THIRD, n)), np.zeros((N_THIRD, n))
    for k, lag in enumerate(THIRD_LAGS):
        pairs = (q[: n - lag, :, None] * q[: n - lag, None, :]).reshape(n - lag, -1)
        mixed = (pairs.T @ q[lag:]).reshape(n, n, n)
        equal[k] = mixed[ties == 3].sum()
        two[k] = np.bincount(span[ties == 1], mixed[ties == 1], n)
        distinct[k] = np.bincount(span[ties == 0], mixed[ties == 0], n)
    lags = np.arange(N_SECOND)
    third_scale = [equal[k] if lag == 0 else two[k, lag] for k, lag in enumerate(THIRD_LAGS)]
    return BlockMixing(second, equal, two, distinct, second[lags, lags], np.array(third_scale))


def expected_statistics(kinetics: Kinetics, centre: F64, n_frames: int) -> F64:
    """Expected `Statistics.values`, (n, N_STATISTICS).

    Parameters
    ----------
    kinetics : Kinetics
    centre : ndarray, (B,)
        Middle of each block, frames.
    n_frames : int
        Frames per block.

    Notes
    -----
    Bleaching at the rate r multiplies what two frames share by about (1 − r)^(lag/2), relative to
    the mean light of the block. The light fades with bleaching and lamp, the second cumulant with
    bleaching and the lamp squared, which tells the two apart. Fluorophores that sit independently
    of each other on the structure give its mean image the grain of points of light a q, in all
    blocks alike as long as they live.
    """
    mixing = block_mixing(n_frames)
    flux, q, g = kinetics.flux, kinetics.on_fraction, np.exp(kinetics.log_sd**2)
    survival = 1.0 - kinetics.loss
    power = (kinetics.memory * np.sqrt(survival))[:, None] ** np.arange(n_frames)
    apart = np.where(np.arange(n_frames) > 0, power, 0.0)
    second = (g - q)[:, None] * mixing.second[:, 0] + (1 - q)[:, None] * (apart @ mixing.second.T)
    third = (
        (g**3 - 3 * q * g + 2 * q**2)[:, None] * mixing.all_equal
        + ((1 - q) * (g - 2 * q))[:, None] * (power @ mixing.two_equal.T)
        + ((1 - q) * (1 - 2 * q))[:, None] * (power @ mixing.distinct.T)
    )
    scale = (flux * kinetics.blinking_share)[:, None]
    alive = survival[:, None] ** (centre - centre[0])
    decay = alive / alive.mean(axis=1, keepdims=True)
    length = max(float(np.ptp(centre)), 1.0)
    lamp = 1.0 + kinetics.trend[:, None] * (centre - centre.mean()) / length
    share = np.minimum(kinetics.blinking_share, 1.0)[:, None]
    light, at_zero = (share * decay + 1.0 - share) * lamp, decay * lamp**2
    slope = _end_to_end(centre)
    trends = [(series @ slope) / series.mean(axis=1) for series in (light, at_zero)]
    n_blocks = len(centre)
    both = 2.0 * (alive @ np.arange(n_blocks)) / (n_blocks * (n_blocks - 1))
    grain = flux * kinetics.blinking_share * q * both / alive.mean(axis=1) * kinetics.coarseness
    return np.concatenate(
        [
            scale * second / mixing.second_scale,
            flux[:, None] * scale * third / mixing.third_scale,
            np.stack([*trends, grain], axis=1),
        ],
        axis=1,
    )
