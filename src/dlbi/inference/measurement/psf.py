"""The PSF from the movie itself: the covariance of neighbouring pixels that blink together.

A blinking emitter makes all pixels under its PSF fluctuate together; camera noise does not.
Summed over the field, the temporal covariance of pixels at distance d is therefore free of noise
and shows the autocorrelation of the PSF, about exp(−d²/4σ²), whatever the structure is; with a halo
(`dlbi.inference.measurement.halo`) it falls more slowly. Where the movie says little, what is known
of microscopes counts as well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import FWHM_PER_SIGMA
from dlbi.inference.measurement.covariance_fit import (
    NO_TAILS,
    REACH_SIGMA,
    SIGMA_RANGE_PX,
    Curve,
    Fit,
    alternative_fits,
    covariance_model,
    fit_covariance,
    variance_of,
)
from dlbi.inference.measurement.halo import HaloEstimate, estimate_halo
from dlbi.inference.measurement.pixel_covariance import (
    MIN_BLOCK_FRAMES,
    MIN_BLOCKS,
    BlinkingCovariance,
    blinking_covariance,
    signal_weight,
)

PRIOR_FWHM_NM, PRIOR_LOG_SD = 422.0, 0.25
"""Median and deviation of the log-normal prior: mEos3.2 in the paper's microscope, and 95 % between
258 and 689 nm, which holds what objectives and dyes of localization microscopy make of it."""
MOST_PRIOR = 0.9
"""Posterior ÷ prior deviation above which the movie tells nothing."""

MAX_RELATIVE_ERROR = 0.07
"""Largest standard error ÷ FWHM of a PSF that the movie alone identifies."""
PLAUSIBLE_FWHM_PX = (0.6, 6.0)
"""FWHM of an identified PSF, camera pixels."""
DIFFRACTION_LIMIT_NM = 150.0
"""No microscope for visible light has a narrower PSF."""

BORDER_ERROR = 0.5
"""Error by emitters that the border cuts, in units of σ ÷ side of the field (simulations)."""
MODEL_ERROR = 0.003
"""Relative error that neither more frames nor a larger field removes."""
WEIGHT_ERROR = 0.02
"""The same where pixels are weighted by their light: the PSF looks 1–2 % narrower (simulations)."""

MIN_SIDE_PX = 12

LEAST_NOISE = 0.003
"""Least share of white noise in the variance of raw frames."""
WHITE_NOISE_RANGE = (0.4, 2.5)
"""Noise in second differences ÷ noise at distance 0; 1 where it is white."""
NOISE_ERROR = 0.02
"""Error of the noise at distance 0, relative to the variance: what remains of bright blinking."""

LEAST_BLINKING = 0.02
"""Share of the variance below which blinking cannot be told from noise that neighbours share: there
widths come out a quarter too small even in simulations of independent noise."""

LEAST_CORE = 0.65
"""Width of a PSF beside its halo ÷ without one, below which neighbours share noise: the frames were
smoothed a little. With true halos of 10 to 50 % it was 0.70 to 1.01 in 44 simulated movies."""

_FIRST_REACH_PX = 8
_SIGMA_NODES_PX, _FINE_NODES = np.geomspace(*SIGMA_RANGE_PX, 40), np.geomspace(0.93, 1.075, 35)
_N_WIDTHS, _PRIOR_REACH = 8192, 5.0

PsfOrigin = Literal["movie", "movie and prior", "prior"]


@dataclass(frozen=True, slots=True)
class PsfEstimate:
    """Width of the PSF, from the movie as far as it shows it.

    Parameters
    ----------
    fwhm_nm : float
        Full width at half maximum, without the halo.
    standard_error_nm : float
        Its standard error.
    origin : {"movie", "movie and prior", "prior"}
        Where it comes from.
    reason : str
        Why not from the movie alone; empty if it is.
    halo : HaloEstimate or None
        What the movie says of the halo; None where it says nothing.
    """

    fwhm_nm: float
    standard_error_nm: float
    origin: PsfOrigin
    reason: str = ""
    halo: HaloEstimate | None = None

    @property
    def identified(self) -> bool:
        """Whether the movie alone determines the width."""
        return self.origin == "movie"

    @property
    def relative_error(self) -> float:
        """Standard error ÷ width."""
        return self.standard_error_nm / self.fwhm_nm

    def __str__(self) -> str:
        """One line for a message."""
        width = f"PSF FWHM {self.fwhm_nm:.0f} ± {self.standard_error_nm:.0f} nm"
        if self.identified:
            return width
        return f"{width} from {self.origin}, the movie does not identify it: {self.reason}"


def estimate_psf(stack: ImageStack) -> PsfEstimate:
    """Width of the PSF from the blinking of a movie and a prior.

    Parameters
    ----------
    stack : ImageStack
        Raw frames: smoothing, compression and shifts by parts of a pixel correlate the noise.

    Raises
    ------
    InputError
        If the movie holds NaN or infinite values.

    Notes
    -----
    The covariance at offset d is fitted by A [ρ(d; σ) + q ρ(d; 2.5 σ)] + c with the
    autocorrelation ρ of the pixel-integrated Gaussian (paper Eq. 1) and of its halo, if there is
    one, a little blinking out of focus, 0 ≤ q ≤ 0.2, and a constant c of its own for rows and
    columns, whose read-out may share noise.
    Two offsets stay out because noise reaches them: d = 0, and the next pixel of the row, into
    which the register of an EMCCD smears charge.

    The variance of σ joins the scatter between blocks of frames, the change when the core of the
    covariance alone or light out of focus of either sign is fitted, what not knowing the halo adds,
    and a small error for emitters cut by the border. The likelihood of σ is exp(−χ²/2), where χ² is
    the least misfit at σ in units that make its curvature the inverse of that variance. Width and
    standard error are the mean and deviation of log FWHM under likelihood × log-normal prior; a
    prior of 25 % moves a width known to 2 % by 0.6 % of their distance. Where blinking makes up
    less than 2 % of the variance, the prior alone is taken. A movie that does not identify the
    width is measured once more with pixels weighted by their light, and the surer estimate is kept.
    """
    if stack.n_frames < MIN_BLOCKS * MIN_BLOCK_FRAMES or min(stack.grid.shape) < MIN_SIDE_PX:
        return _prior("it needs at least 16 frames of 12×12 pixels")
    covariance = blinking_covariance(stack)
    plain = _measured(covariance, stack.grid)
    if plain.fit and (doubt := _noise_doubt(covariance, plain.fit)):
        return _prior(doubt)
    halo = None if plain.doubt else estimate_halo(covariance)
    if halo is not None and halo.stands_out:
        beside = _measured(covariance, stack.grid, halo=halo)
        plain, halo = (beside, halo) if _credible(beside, plain) else (plain, None)
    found = _combined(plain)
    if not found.identified:
        weighted = blinking_covariance(stack, signal_weight(stack))
        other = _combined(_measured(weighted, stack.grid, WEIGHT_ERROR, halo))
        found = min(found, other, key=lambda estimate: estimate.relative_error)
    return found if found.origin == "prior" else replace(found, halo=halo)


class _Measured(NamedTuple):
    """What the blinking alone tells.

    Parameters
    ----------
    curve : Curve
    nm_per_px : float
        FWHM of σ = 1 pixel.
    fit : Fit or None
    variance : float
        Variance of the logarithm of the width.
    doubt : str
        Why the width is not to be relied on; empty if it is.
    """

    curve: Curve
    nm_per_px: float
    fit: Fit | None
    variance: float
    doubt: str


def _measured(
    covariance: BlinkingCovariance,
    grid: PixelGrid,
    weight_error: float = 0.0,
    halo: HaloEstimate | None = None,
) -> _Measured:
    scale = FWHM_PER_SIGMA * grid.pixel_size_nm
    tails = NO_TAILS if halo is None else halo.tails
    near = Curve.of(covariance, _FIRST_REACH_PX, tails)
    first = fit_covariance(near)
    rough_nm, _ = _posterior(near, scale, first.defocus if first else 0.0)
    rough_px = float(np.clip(rough_nm / scale, *SIGMA_RANGE_PX))
    curve = Curve.of(covariance, REACH_SIGMA * rough_px, tails)
    found = alternative_fits(covariance, rough_px, tails)
    if found is None:
        return _Measured(curve, scale, None, np.inf, "")
    fit = found[0]
    model = BORDER_ERROR / min(grid.shape) + MODEL_ERROR + weight_error
    scatter = variance_of(*found) + (halo.core_variance if halo and halo.stands_out else 0.0)
    variance = scatter / fit.sigma_px**2 + model**2
    doubt = _too_faint(covariance, fit) or implausible(fit.sigma_px * scale, grid.pixel_size_nm)
    return _Measured(curve, scale, fit, variance, doubt)


def _combined(measured: _Measured) -> PsfEstimate:
    """Blinking and prior; a posterior as wide as the prior is replaced by it."""
    curve, scale, fit, variance, doubt = measured
    if doubt:
        return _prior(doubt)
    if fit is None:
        defocus, excess, reason = 0.0, 1.0, "neighbouring pixels do not blink together"
    else:
        defocus, error = fit.defocus, float(np.sqrt(variance))
        excess = max(1.0, variance / curve.log_variance(fit.sigma_px, defocus))
        alone = f"its blinking alone gives {fit.sigma_px * scale:.0f} nm ± {100 * error:.0f} %"
        reason = alone if error > MAX_RELATIVE_ERROR else ""
    fwhm_nm, log_sd = _posterior(curve, scale, defocus, excess)
    if reason and log_sd > MOST_PRIOR * PRIOR_LOG_SD:
        return _prior(reason)
    return PsfEstimate(fwhm_nm, log_sd * fwhm_nm, "movie and prior" if reason else "movie", reason)


def _prior(reason: str) -> PsfEstimate:
    return PsfEstimate(PRIOR_FWHM_NM, PRIOR_LOG_SD * PRIOR_FWHM_NM, "prior", reason)


def _posterior(
    curve: Curve, nm_per_sigma_px: float, defocus: float = 0.0, excess: float = 1.0
) -> tuple[float, float]:
    """FWHM, nm, at the mean of its logarithm, and the deviation of that.

    Parameters
    ----------
    curve : Curve
    nm_per_sigma_px : float
        FWHM of a PSF of σ = 1 pixel.
    defocus : float
    excess : float
        Variance of the width ÷ that by noise alone.
    """
    best = _SIGMA_NODES_PX[np.argmin(curve.misfit(_SIGMA_NODES_PX, defocus))]
    near = np.clip(best * _FINE_NODES, *SIGMA_RANGE_PX)
    sigmas = np.unique(np.concatenate([_SIGMA_NODES_PX, near]))
    nodes, prior = np.log(sigmas * nm_per_sigma_px), np.log(PRIOR_FWHM_NM)
    beyond = _PRIOR_REACH * PRIOR_LOG_SD
    width = np.linspace(min(nodes[0], prior - beyond), max(nodes[-1], prior + beyond), _N_WIDTHS)
    misfit = CubicSpline(nodes, curve.misfit(sigmas, defocus))(np.clip(width, *nodes[[0, -1]]))
    log_density = -0.5 * (misfit / excess + ((width - prior) / PRIOR_LOG_SD) ** 2)
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = float(density @ width)
    return float(np.exp(mean)), float(np.sqrt(density @ (width - mean) ** 2))


def _credible(beside: _Measured, plain: _Measured) -> bool:
    """Whether a PSF is found beside its halo, not noise with the PSF for a halo."""
    if beside.doubt or beside.fit is None:
        return False
    return plain.fit is None or beside.fit.sigma_px >= LEAST_CORE * plain.fit.sigma_px


def _too_faint(covariance: BlinkingCovariance, fit: Fit) -> str:
    """Why the blinking is too little to be measured; empty if it is enough."""
    share = fit.linear[0] / covariance.blocks.mean(axis=0)[0, covariance.reach]
    if share >= LEAST_BLINKING:
        return ""
    return f"its blinking makes up {100 * share:.1f} % of the variance"


def implausible(fwhm_nm: float, pixel_size_nm: float) -> str:
    """Why no PSF has this width, so that something else correlates pixels; empty if one may."""
    low, high = (limit * pixel_size_nm for limit in PLAUSIBLE_FWHM_PX)
    low = max(low, DIFFRACTION_LIMIT_NM)
    if low <= fwhm_nm <= high:
        return ""
    return f"a FWHM of {fwhm_nm:.3g} nm is outside the plausible {low:.0f} to {high:.0f} nm"


def _noise_doubt(covariance: BlinkingCovariance, fit: Fit) -> str:
    """Why what remains at distance 0 is not the noise of raw frames; empty if it is.

    Second differences along y and x, scaled to keep the variance of white noise, leave next to
    nothing of smoothed noise. What neighbours in a row share beyond those in a column does not
    count: a register smears charge along rows only, a filter does it both ways.
    """
    dy, dx = np.mgrid[:3, -2:3]
    measured = covariance.blocks.mean(axis=0)[:3, covariance.reach + np.arange(-2, 3)]
    model = covariance_model(dy.ravel(), dx.ravel(), fit.sigma_px, fit.defocus) @ fit.linear
    smeared = np.maximum(measured[0] - measured[np.abs(dx[0]), 2], 0.0)
    noise = measured - model.reshape(dy.shape) - np.where(dy == 0, smeared, 0.0)
    taps = np.array([6.0, -4.0, 1.0]) / 6.0
    both_sides = np.where(dy > 0, 2.0, 1.0)
    fine = float((both_sides * taps[dy] * taps[np.abs(dx)] * noise).sum())
    total, (low, high) = measured[0, 2], WHITE_NOISE_RANGE
    most = high * (noise[0, 2] + NOISE_ERROR * total)
    if fine < LEAST_NOISE * total or not low * noise[0, 2] < fine < most:
        return "its noise is not independent between pixels; give raw frames, unfiltered"
    return ""
