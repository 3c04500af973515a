"""Fit of the covariance of neighbouring pixels by the autocorrelation of a Gaussian PSF."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import t as student

from dlbi.inference.measurement.pixel_covariance import BlinkingCovariance

HALO_WIDTH = 2.5
"""Width of the halo, the blinking out of focus, relative to the PSF."""
HALO_RANGE = (0.0, 0.2)
"""Covariance of the halo at distance 0 relative to that of the PSF."""
FREE_HALO_RANGE = (-0.5, 0.2)
"""The same in a second fit; only filtered frames have a negative halo."""
REACH_SIGMA, CORE_SIGMA = 6.0, 3.5
"""Distances that enter the fit, and a third fit of the core alone, in σ."""
SIGMA_RANGE_PX = (0.2, 3.0)
"""Widths that are fitted."""

_SIGMA_GRID_PX = np.geomspace(0.22, 2.9, 24)


def psf_autocorrelation(distance_px: ArrayLike, sigma_px: float) -> NDArray[np.float64]:
    """Autocorrelation along one axis of a pixel-integrated unit Gaussian.

    Parameters
    ----------
    distance_px : array-like
    sigma_px : float
        Standard deviation of the Gaussian.

    Notes
    -----
    Averaged over the emitter's position in its pixel, it is a Gaussian of variance 2σ² convolved
    with a triangle of half width 1: the second difference of the Gaussian integrated twice.
    """
    d = np.asarray(distance_px, np.float64) + np.array([[1.0], [0.0], [-1.0]])
    spread = np.sqrt(2.0) * sigma_px
    twice = d * ndtr(d / spread) + spread / np.sqrt(2 * np.pi) * np.exp(-0.5 * (d / spread) ** 2)
    second_difference: NDArray[np.float64] = twice[0] - 2.0 * twice[1] + twice[2]
    return second_difference


def covariance_model(
    dy: NDArray[np.int64], dx: NDArray[np.int64], sigma_px: float, halo: float
) -> NDArray[np.float64]:
    """Linear terms of the covariance at N offsets: PSF with halo, constant, row, column; (N, 4)."""
    y, x = np.abs(dy), np.abs(dx)
    profile = psf_autocorrelation(np.arange(max(y.max(), x.max()) + 1), sigma_px)
    wide = psf_autocorrelation(np.arange(len(profile)), HALO_WIDTH * sigma_px)
    shape = profile[y] * profile[x] / profile[0] ** 2 + halo * wide[y] * wide[x] / wide[0] ** 2
    return np.stack([shape, np.ones(len(y)), y == 0, x == 0], axis=1)


@dataclass(frozen=True, slots=True)
class Curve:
    """Covariances that enter a fit, weighted by the root of their number of pairs.

    Parameters
    ----------
    dy, dx, weight : ndarray, (n,)
    blocks : ndarray, (B, n)
        Relative to the largest mean.
    scale : float
        That mean, counts².
    """

    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    weight: NDArray[np.float64]
    blocks: NDArray[np.float64]
    scale: float

    @classmethod
    def of(cls, covariance: BlinkingCovariance, reach_px: float) -> Curve:
        """Offsets up to a distance, each pair once, without the two that noise reaches."""
        limit = covariance.reach
        reach = np.clip(np.ceil(reach_px), 3, limit)
        dy, dx = np.mgrid[: limit + 1, -limit : limit + 1]
        used = ((dy > 0) | (dx > 1)) & (dy**2 + dx**2 <= reach**2)
        weight = np.sqrt(covariance.n_pairs[used] / covariance.n_pairs.max())
        blocks = covariance.blocks[:, used] * weight
        scale = float(np.abs(blocks.mean(axis=0)).max()) or 1.0
        return cls(dy[used], dx[used], weight, blocks / scale, scale)

    def design(self, sigma_px: float, halo: float) -> NDArray[np.float64]:
        """Weighted terms of the model, (n, 4)."""
        return self.weight[:, None] * covariance_model(self.dy, self.dx, sigma_px, halo)

    def misfit(self, sigmas_px: NDArray[np.float64], halo: float) -> NDArray[np.float64]:
        """χ² of given widths beyond that of the best, with the amplitude at its best.

        Parameters
        ----------
        sigmas_px : ndarray, (k,)
        halo : float

        Notes
        -----
        Noise counts as it scatters along the derivative of the model to the width. The amplitude
        is not negative: where nothing blinks, χ² is flat.
        """
        target = self.blocks.mean(axis=0)
        shapes = np.stack([self._shape(sigma, halo) for sigma in sigmas_px])
        overlap = np.maximum(shapes @ target, 0.0)
        explained = overlap**2 / (shapes**2).sum(axis=1)
        best = int(np.argmax(explained))
        chi2: NDArray[np.float64] = explained[best] - explained
        return chi2 / self._slope(sigmas_px[best], halo)[1]

    def log_variance(self, sigma_px: float, halo: float) -> float:
        """Variance of the logarithm of the width by that noise."""
        shape = self._shape(sigma_px, halo)
        amplitude = (shape @ self.blocks.mean(axis=0)) / (shape @ shape)
        slope, noise = self._slope(sigma_px, halo)
        return float(noise / (amplitude**2 * (slope @ slope)))

    def _slope(self, sigma_px: float, halo: float) -> tuple[NDArray[np.float64], float]:
        """Derivative to log σ across the model, and the variance of the mean along it."""
        shape, step = self._shape(sigma_px, halo), 0.01
        wider, narrower = (self._shape(sigma_px * np.exp(s), halo) for s in (step, -step))
        slope = (wider - narrower) / (2.0 * step)
        slope -= shape * (shape @ slope) / (shape @ shape)
        along = self.blocks @ slope
        n_blocks = len(along)
        noise = along.var() / (n_blocks - 1) / (slope @ slope) * few_blocks(n_blocks)
        return slope, max(float(noise), float(np.finfo(float).tiny))

    def _shape(self, sigma_px: float, halo: float) -> NDArray[np.float64]:
        """PSF and halo without what constant, row and column explain, (n,)."""
        shape, *offsets = self.design(sigma_px, halo).T
        basis = np.linalg.qr(np.transpose(offsets))[0]
        rest: NDArray[np.float64] = shape - basis @ (basis.T @ shape)
        return rest

    def start(self, halos: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Best width, halo and linear terms on a grid; None if no positive PSF fits."""
        target = self.blocks.mean(axis=0)
        best, least = None, np.inf
        for sigma, halo in product(_SIGMA_GRID_PX, halos):
            design = self.design(sigma, halo)
            linear = np.linalg.lstsq(design, target)[0]
            misfit = float(((design @ linear - target) ** 2).sum())
            if linear[0] > 0 and misfit < least:
                best, least = np.array([sigma, halo, *linear]), misfit
        return best


class Fit(NamedTuple):
    """Fitted width, halo and linear terms (4,), counts², and what each block adds to the width."""

    sigma_px: float
    halo: float
    linear: NDArray[np.float64]
    influence: NDArray[np.float64]


def alternative_fits(
    covariance: BlinkingCovariance, sigma_px: float
) -> tuple[Fit, Fit, Fit] | None:
    """The fit, that of the core alone, and that with a halo of either sign; None if one fails.

    Parameters
    ----------
    covariance : BlinkingCovariance
    sigma_px : float
        Rough width, which sets the distances that enter.
    """
    whole = Curve.of(covariance, REACH_SIGMA * sigma_px)
    fit, free = fit_covariance(whole), fit_covariance(whole, FREE_HALO_RANGE)
    core = fit_covariance(Curve.of(covariance, CORE_SIGMA * sigma_px))
    return (fit, core, free) if fit and core and free else None


def fit_covariance(curve: Curve, halo_range: tuple[float, float] = HALO_RANGE) -> Fit | None:
    """Least squares; None if no positive PSF fits."""
    start = curve.start(np.quantile(halo_range, [0.02, 0.5, 0.98]))
    if start is None:
        return None
    target = curve.blocks.mean(axis=0)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        misfit: NDArray[np.float64] = curve.design(p[0], p[1]) @ p[2:] - target
        return misfit

    low, high = zip(SIGMA_RANGE_PX, halo_range, (0, np.inf), *3 * [(-np.inf, np.inf)], strict=True)
    result = least_squares(residual, start, bounds=(low, high), method="dogbox")
    free = (result.active_mask == 0) | (np.arange(start.size) == 0)
    influence = (curve.blocks - target) @ np.linalg.pinv(np.asarray(result.jac)[:, free])[0]
    sigma, halo = result.x[:2].tolist()
    return Fit(sigma, halo, result.x[2:] * curve.scale, influence)


def variance_of(fit: Fit, *alternatives: Fit) -> float:
    """Variance of the fitted width, pixels²: scatter over blocks, and misfit of the model.

    An alternative fit that differs beyond its scatter bounds the misfit: a uniform law up to the
    difference has a third of its square as variance.
    """
    n_blocks = len(fit.influence)
    between = 1.0 / (n_blocks * (n_blocks - 1))
    misfits = [
        (other.sigma_px - fit.sigma_px) ** 2
        - between * float(((other.influence - fit.influence) ** 2).sum())
        for other in alternatives
    ]
    scatter = between * float((fit.influence**2).sum()) * few_blocks(n_blocks)
    return scatter + max([0.0, *misfits]) / 3.0


def few_blocks(n_blocks: int) -> float:
    """How much more a variance from few blocks counts: squared ratio of Student's 95 % limits."""
    return float(student.ppf(0.975, n_blocks - 1) / student.ppf(0.975, np.inf)) ** 2
