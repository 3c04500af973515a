"""From what the network says about its own certainty to numbers that hold on simulations.

The raw spread of dropout passes is several times too small and raw logits are no probabilities;
both are measured against known truth and corrected. The corrections travel with the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit, logit

from dlbi.core.errors import InputError
from dlbi.core.images import FloatImage

MAX_KNOTS = 64
MAX_BINS = 4096
"""Groups of pixels of similar score in which empty ones are counted."""

LARGE_ERROR = 0.995
"""Quantile of the errors beyond which no standard deviation is stated."""

ONE_SIGMA = 0.6827
"""Share of a normal distribution within one standard deviation."""


_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Confidence:
    """Correction of the network's uncertainty; by default none.

    Parameters
    ----------
    std_scale : float
        Factor on the spread of the amplitude, after which 68 % of the errors are smaller.
    score : tuple of float
        Rising scores; for the compact network mean logits of "structure here".
    log_odds_empty : tuple of float
        ln(P ÷ (1 − P)) of the probability P that a pixel of this score is empty; never rising.
        Linear in between, constant beyond.
    largest_std : float or None
        Largest standard deviation of the amplitude that is stated. The network's own is the
        exponential of an output, so single pixels can claim many times what ever happened.

    Raises
    ------
    InputError
        If the numbers do not describe such factors and a curve.
    """

    std_scale: float = 1.0
    score: tuple[float, ...] = (-20.0, 20.0)
    log_odds_empty: tuple[float, ...] = (20.0, -20.0)
    largest_std: float | None = None

    def __post_init__(self) -> None:
        """Validate factor and curve."""
        if not (np.isfinite(self.std_scale) and self.std_scale > 0):
            raise InputError(f"the factor of a spread must be positive, got {self.std_scale}")
        if self.largest_std is not None and not self.largest_std > 0:
            raise InputError(f"the largest deviation must be positive, got {self.largest_std}")
        if len(self.score) != len(self.log_odds_empty) or len(self.score) < 2:
            raise InputError(
                f"a confidence curve needs as many scores as log odds and at least 2, got "
                f"{len(self.score)} and {len(self.log_odds_empty)}"
            )
        if not np.isfinite([self.score, self.log_odds_empty]).all():
            raise InputError("a confidence curve must be finite")
        if min(np.diff(self.score)) <= 0 or max(np.diff(self.log_odds_empty)) > 0:
            raise InputError("a confidence curve needs rising scores and falling log odds")

    def std(self, spread: FloatImage) -> FloatImage:
        """Standard deviation of amplitudes of this spread, same shape."""
        corrected = np.float32(self.std_scale) * spread
        if self.largest_std is not None:
            np.minimum(corrected, np.float32(self.largest_std), out=corrected)
        return corrected

    def p_empty(self, score: FloatImage) -> FloatImage:
        """Probability that a pixel of this score is empty, same shape."""
        log_odds = np.interp(score, self.score, self.log_odds_empty)
        return np.asarray(expit(log_odds), np.float32)


def fit_confidence(
    score: NDArray[np.floating],
    empty: NDArray[np.bool_],
    spread: NDArray[np.floating],
    residual: NDArray[np.floating],
) -> Confidence:
    """Measure the correction on pixels of known truth.

    Parameters
    ----------
    score : ndarray, (n,)
        Larger where the network sees structure.
    empty : ndarray of bool, (n,)
        Whether there is no structure in truth.
    spread : ndarray, (m,)
        Uncorrected standard deviation of the amplitude, > 0.
    residual : ndarray, (m,)
        True minus predicted amplitude. These may be fewer pixels than the scores: the factor is
        such that 68 % of them lie within one corrected spread, so leave out the many empty ones if
        their error is of no interest.

    Raises
    ------
    InputError
        If nothing is given, a spread is not positive or values are not finite.

    Notes
    -----
    P is the isotonic regression of `empty` on `score` (Zadrozny and Elkan 2002, doi:
    10.1145/775047.775151); k empty pixels of n give (k + ½) ÷ (n + 1).
    """
    if score.size == 0 or residual.size == 0:
        raise InputError("a confidence is fitted to pixels of known truth, got none")
    if not (np.isfinite(score).all() and np.isfinite(residual).all() and spread.min() > 0):
        raise InputError("scores and errors must be finite and spreads positive")
    z = np.abs(residual).astype(np.float64) / spread
    groups = _pooled(_grouped(score.ravel(), empty.ravel()))
    groups = _pooled(groups._replace(share=(groups.share * groups.n + 0.5) / (groups.n + 1.0)))
    knots, log_odds = _thinned(groups.score, logit(groups.share))
    return Confidence(
        float(np.quantile(z, ONE_SIGMA)),
        tuple(knots.tolist()),
        tuple(log_odds.tolist()),
        largest_std=max(float(np.quantile(np.abs(residual), LARGE_ERROR)), _TINY),
    )


class _Groups(NamedTuple):
    """Pixels of similar score: mean score, share of empty ones, number."""

    score: NDArray[np.float64]
    share: NDArray[np.float64]
    n: NDArray[np.float64]


def _grouped(score: NDArray[np.floating], empty: NDArray[np.bool_]) -> _Groups:
    order = np.argsort(score, kind="stable")
    starts = np.linspace(0, score.size, min(score.size, MAX_BINS) + 1).astype(int)[:-1]
    n = np.diff(starts, append=score.size).astype(np.float64)
    means = np.add.reduceat(score[order].astype(np.float64), starts) / n
    n_empty = np.add.reduceat(empty[order].astype(np.float64), starts)
    distinct, group = np.unique(means, return_inverse=True)  # equal scores share a group
    n_pixels = np.bincount(group, n).astype(np.float64)
    return _Groups(distinct, np.bincount(group, n_empty) / n_pixels, n_pixels)


def _pooled(groups: _Groups) -> _Groups:
    """Groups joined until the share of empty pixels falls with the score."""
    fit = isotonic_regression(groups.share, weights=groups.n, increasing=False)
    starts = fit.blocks[:-1]
    scores = np.add.reduceat(groups.score * groups.n, starts) / fit.weights
    return _Groups(scores, fit.x[starts], fit.weights)


def _thinned(
    score: NDArray[np.float64], log_odds: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if score.size == 1:
        return np.array([score[0], score[0] + 1.0]), np.repeat(log_odds, 2)
    if score.size <= MAX_KNOTS:
        return score, log_odds
    levels = np.linspace(log_odds[0], log_odds[-1], MAX_KNOTS)
    return np.interp(-levels, -log_odds, score), levels


def false_discovery_tail(p_empty: FloatImage) -> FloatImage:
    """Share of empty pixels among all pixels of the field that look at least as clear.

    Parameters
    ----------
    p_empty : ndarray
        Probability that each pixel is empty.

    Returns
    -------
    ndarray, same shape, float32
        p-value: of the pixels with p ≤ 0.05 about 5 % are expected to be empty.

    Notes
    -----
    p(x) = mean of P over all pixels with P ≤ P(x): the Bayesian tail-area false-discovery rate, or
    q-value (Storey 2003, doi:10.1214/aos/1074290335; Efron 2008, doi:10.1214/07-STS236). Equal
    pixels get equal values. O(n log n).
    """
    values, group, n = np.unique(p_empty.ravel(), return_inverse=True, return_counts=True)
    tail = np.cumsum(values.astype(np.float64) * n) / np.cumsum(n)
    return np.asarray(tail[group].reshape(p_empty.shape), np.float32)


class CalibrationBin(NamedTuple):
    """Pixels whose stated probability lies in a bin, and what is true of them.

    Parameters
    ----------
    stated : float
        Mean stated probability of being empty.
    observed : float
        Share of pixels that are empty.
    n_pixels : int
    """

    stated: float
    observed: float
    n_pixels: int


def calibration_table(
    p_empty: NDArray[np.floating], empty: NDArray[np.bool_], n_bins: int = 10
) -> list[CalibrationBin]:
    """Stated against observed probability in bins of equal width; bins without pixels left out."""
    p = p_empty.ravel().astype(np.float64)
    index = np.minimum((p * n_bins).astype(int), n_bins - 1)
    n, stated, observed = (
        np.bincount(index, values, n_bins) for values in (np.ones_like(p), p, empty.ravel())
    )
    return [
        CalibrationBin(float(stated[k] / n[k]), float(observed[k] / n[k]), int(n[k]))
        for k in np.flatnonzero(n)
    ]


def discovery_table(
    p_value: NDArray[np.floating],
    empty: NDArray[np.bool_],
    levels: Sequence[float] = (0.01, 0.05, 0.1, 0.2),
) -> list[CalibrationBin]:
    """For each level, the share of empty pixels among those with p ≤ level."""
    rows = []
    for level in levels:
        found = empty[p_value <= level]
        share = float(found.mean()) if found.size else float("nan")
        rows.append(CalibrationBin(level, share, int(found.size)))
    return rows
