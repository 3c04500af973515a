"""Fit of the covariance of neighbouring pixels by the autocorrelation of the PSF.

The PSF is a Gaussian, around which a `Tails` of known strength may lie; a little blinking out of
focus is fitted beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import t as student

from dlbi.inference.measurement.pixel_covariance import BlinkingCovariance

DEFOCUS_WIDTH = 2.5
"""Width of the blinking out of focus, relative to the PSF."""
DEFOCUS_RANGE = (0.0, 0.2)
"""Its covariance at distance 0 relative to that of the PSF."""
FREE_DEFOCUS_RANGE = (-0.5, 0.2)
"""The same in a second fit; only filtered frames make it negative."""
REACH_SIGMA, CORE_SIGMA = 6.0, 3.5
"""Distances that enter the fit, and a third fit of the core alone, in σ."""
SIGMA_RANGE_PX = (0.2, 3.0)
"""Widths that are fitted."""

_SIGMA_GRID_PX = np.geomspace(0.22, 2.9, 24)


class Tails(NamedTuple):
    """Halo of the PSF on the scale of the camera (`dlbi.core.optics.Halo`).

    Parameters
    ----------
    share : float
        Of the light.
    sigma_px : float
        Standard deviation of the Gaussian that spreads it.
    """

    share: float = 0.0
    sigma_px: float = 1.0


NO_TAILS = Tails()


def psf_autocorrelation(distance_px: ArrayLike, sigma_px: ArrayLike) -> NDArray[np.float64]:
    """Autocorrelation along one axis of a pixel-integrated unit Gaussian, (…, N).

    Parameters
    ----------
    distance_px : array-like, (N,)
    sigma_px : array-like, (…)
        Standard deviation of the Gaussian.

    Notes
    -----
    Averaged over the emitter's position in its pixel, it is a Gaussian of variance 2σ² convolved
    with a triangle of half width 1: the second difference of the Gaussian integrated twice.
    """
    spread = np.sqrt(2.0) * np.asarray(sigma_px, np.float64)[..., None]
    steps = np.array([1.0, 0.0, -1.0]).reshape(3, *spread.ndim * [1])
    d = np.asarray(distance_px, np.float64) + steps
    twice = d * ndtr(d / spread) + spread / np.sqrt(2 * np.pi) * np.exp(-0.5 * (d / spread) ** 2)
    second_difference: NDArray[np.float64] = twice[0] - 2.0 * twice[1] + twice[2]
    return second_difference


def emitter_covariance(
    y: NDArray[np.int64], x: NDArray[np.int64], sigma_px: ArrayLike, tails: Tails = NO_TAILS
) -> NDArray[np.float64]:
    """Covariance under one emitter at N offsets, relative to that at distance 0, (…, N).

    Notes
    -----
    A share h of the light is spread by s more, so light of both kinds shares pixels like three
    Gaussian PSFs of variance σ², σ² + s²/2 and σ² + s² with shares (1 − h)², 2 h (1 − h) and h².
    """
    h, spread = tails
    sigma = np.asarray(sigma_px, np.float64)
    distances = np.arange(max(y.max(), x.max()) + 1)
    total, alone = np.zeros((*sigma.shape, len(y))), np.zeros((*sigma.shape, 1))
    for share, more in (((1 - h) ** 2, 0.0), (2 * h * (1 - h), 0.5), (h**2, 1.0)):
        if share > 0.0:
            profile = psf_autocorrelation(distances, np.sqrt(sigma**2 + more * spread**2))
            total += share * profile[..., y] * profile[..., x]
            alone += share * profile[..., :1] ** 2
    return total / alone


def light_covariance(
    dy: NDArray[np.int64],
    dx: NDArray[np.int64],
    sigma_px: ArrayLike,
    defocus: float = 0.0,
    tails: Tails = NO_TAILS,
) -> NDArray[np.float64]:
    """Covariance of emitters and, with the weight `defocus`, of others out of focus, (…, N)."""
    y, x = np.abs(dy), np.abs(dx)
    shape = emitter_covariance(y, x, sigma_px, tails)
    if defocus != 0.0:
        shape += defocus * emitter_covariance(y, x, DEFOCUS_WIDTH * np.asarray(sigma_px))
    return shape


def covariance_model(
    dy: NDArray[np.int64],
    dx: NDArray[np.int64],
    sigma_px: float,
    defocus: float,
    tails: Tails = NO_TAILS,
) -> NDArray[np.float64]:
    """Linear terms of the covariance at N offsets: light, constant, row, column; (N, 4)."""
    light = light_covariance(dy, dx, sigma_px, defocus, tails)
    return np.stack([light, np.ones(len(dy)), dy == 0, dx == 0], axis=1)


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
    basis : ndarray, (n, 3)
        Orthonormal, of what constant, row and column can explain of weighted values.
    tails : Tails
        Halo that the PSF is known to have.
    """

    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    weight: NDArray[np.float64]
    blocks: NDArray[np.float64]
    scale: float
    basis: NDArray[np.float64]
    tails: Tails = NO_TAILS

    @classmethod
    def of(cls, covariance: BlinkingCovariance, reach_px: float, tails: Tails = NO_TAILS) -> Curve:
        """Offsets up to a distance, each pair once, without the two that noise reaches."""
        limit = covariance.reach
        reach = np.clip(np.ceil(reach_px), 3, limit)
        dy, dx = np.mgrid[: limit + 1, -limit : limit + 1]
        used = ((dy > 0) | (dx > 1)) & (dy**2 + dx**2 <= reach**2)
        weight = np.sqrt(covariance.n_pairs[used] / covariance.n_pairs.max())
        blocks = covariance.blocks[:, used] * weight
        scale = float(np.abs(blocks.mean(axis=0)).max()) or 1.0
        dy, dx = dy[used], dx[used]
        offsets = weight[:, None] * np.stack([np.ones(len(dy)), dy == 0, dx == 0], axis=1)
        return cls(dy, dx, weight, blocks / scale, scale, np.linalg.qr(offsets)[0], tails)

    def design(self, sigma_px: float, defocus: float) -> NDArray[np.float64]:
        """Weighted terms of the model, (n, 4)."""
        model = covariance_model(self.dy, self.dx, sigma_px, defocus, self.tails)
        return self.weight[:, None] * model

    def misfit(self, sigmas_px: NDArray[np.float64], defocus: float) -> NDArray[np.float64]:
        """χ² of given widths beyond that of the best, with the amplitude at its best.

        Parameters
        ----------
        sigmas_px : ndarray, (k,)
        defocus : float

        Notes
        -----
        Noise counts as it scatters along the derivative of the model to the width. The amplitude
        is not negative: where nothing blinks, χ² is flat.
        """
        target = self.blocks.mean(axis=0)
        light = self.light(sigmas_px, defocus, self.tails)
        shapes = np.stack([self.without_offsets(one) for one in light])
        overlap = np.maximum(shapes @ target, 0.0)
        explained = overlap**2 / (shapes**2).sum(axis=1)
        best = int(np.argmax(explained))
        chi2: NDArray[np.float64] = explained[best] - explained
        return chi2 / self._slope(sigmas_px[best], defocus)[1]

    def log_variance(self, sigma_px: float, defocus: float) -> float:
        """Variance of the logarithm of the width by that noise."""
        shape = self._shape(sigma_px, defocus)
        amplitude = (shape @ self.blocks.mean(axis=0)) / (shape @ shape)
        slope, noise = self._slope(sigma_px, defocus)
        return float(noise / (amplitude**2 * (slope @ slope)))

    def _slope(self, sigma_px: float, defocus: float) -> tuple[NDArray[np.float64], float]:
        """Derivative to log σ across the model, and the variance of the mean along it."""
        shape, step = self._shape(sigma_px, defocus), 0.01
        wider, narrower = (self._shape(sigma_px * np.exp(s), defocus) for s in (step, -step))
        slope = (wider - narrower) / (2.0 * step)
        slope -= shape * (shape @ slope) / (shape @ shape)
        along = self.blocks @ slope
        n_blocks = len(along)
        noise = along.var() / (n_blocks - 1) / (slope @ slope) * few_blocks(n_blocks)
        return slope, max(float(noise), float(np.finfo(float).tiny))

    def _shape(self, sigma_px: float, defocus: float) -> NDArray[np.float64]:
        """The light without what constant, row and column explain, (n,)."""
        return self.without_offsets(self.light(sigma_px, defocus, self.tails))

    def light(self, sigma_px: ArrayLike, defocus: float, tails: Tails) -> NDArray[np.float64]:
        """Weighted covariance of the light, whatever halo it has, (…, n)."""
        return self.weight * light_covariance(self.dy, self.dx, sigma_px, defocus, tails)

    def without_offsets(self, weighted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted values (…, n) without what constant, row and column explain of them."""
        rest: NDArray[np.float64] = weighted - (weighted @ self.basis) @ self.basis.T
        return rest

    def start(self, defoci: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Best width, defocus and linear terms on a grid; None if no positive PSF fits."""
        target = self.blocks.mean(axis=0)
        sharp, blurred = (
            self.light(factor * _SIGMA_GRID_PX, 0.0, tails)
            for factor, tails in ((1.0, self.tails), (DEFOCUS_WIDTH, NO_TAILS))
        )
        shapes = self.without_offsets(sharp[:, None] + defoci[:, None] * blurred[:, None])
        explained = np.maximum(shapes @ target, 0.0) ** 2 / (shapes**2).sum(axis=-1)
        best = np.unravel_index(np.argmax(explained), explained.shape)
        if explained[best] == 0.0:
            return None
        sigma, defocus = _SIGMA_GRID_PX[best[0]], defoci[best[1]]
        linear = np.linalg.lstsq(self.design(sigma, defocus), target)[0]
        return np.array([sigma, defocus, *linear])


class Fit(NamedTuple):
    """Fitted width, light out of focus and linear terms (4,), counts²; what each block adds to the
    width."""

    sigma_px: float
    defocus: float
    linear: NDArray[np.float64]
    influence: NDArray[np.float64]


def alternative_fits(
    covariance: BlinkingCovariance, sigma_px: float, tails: Tails = NO_TAILS
) -> tuple[Fit, Fit, Fit] | None:
    """The fit, that of the core alone, and that with defocus of either sign; None if one fails.

    Parameters
    ----------
    covariance : BlinkingCovariance
    sigma_px : float
        Rough width, which sets the distances that enter.
    tails : Tails
        Halo that the PSF is known to have.
    """
    whole = Curve.of(covariance, REACH_SIGMA * sigma_px, tails)
    fit, free = fit_covariance(whole), fit_covariance(whole, FREE_DEFOCUS_RANGE)
    core = fit_covariance(Curve.of(covariance, CORE_SIGMA * sigma_px, tails))
    return (fit, core, free) if fit and core and free else None


def fit_covariance(curve: Curve, defocus_range: tuple[float, float] = DEFOCUS_RANGE) -> Fit | None:
    """Least squares; None if no positive PSF fits."""
    start = curve.start(np.quantile(defocus_range, [0.02, 0.5, 0.98]))
    if start is None:
        return None
    target = curve.blocks.mean(axis=0)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        misfit: NDArray[np.float64] = curve.design(p[0], p[1]) @ p[2:] - target
        return misfit

    low, high = zip(
        SIGMA_RANGE_PX, defocus_range, (0, np.inf), *3 * [(-np.inf, np.inf)], strict=True
    )
    result = least_squares(residual, start, bounds=(low, high), method="dogbox")
    free = (result.active_mask == 0) | (np.arange(start.size) == 0)
    influence = (curve.blocks - target) @ np.linalg.pinv(np.asarray(result.jac)[:, free])[0]
    sigma, defocus = result.x[:2].tolist()
    return Fit(sigma, defocus, result.x[2:] * curve.scale, influence)


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
