"""The PSF from the movie itself: the covariance of neighbouring pixels that blink together.

A blinking emitter makes all pixels under its PSF fluctuate together; camera noise does not.
Summed over the field, the temporal covariance of pixels at distance d is therefore free of noise
and shows the autocorrelation of the PSF, about exp(−d²/4σ²), whatever the structure is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft
from scipy.optimize import least_squares
from scipy.special import ndtr
from scipy.stats import t as student

from dlbi.core.errors import InputError
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.optics import FWHM_PER_SIGMA

MAX_RELATIVE_ERROR = 0.07
"""Largest standard error ÷ FWHM of an identified PSF."""
PLAUSIBLE_FWHM_PX = (0.6, 6.0)
"""FWHM of an identified PSF, camera pixels."""
DIFFRACTION_LIMIT_NM = 150.0
"""No microscope for visible light has a narrower PSF."""

HALO_WIDTH = 2.5
"""Width of the halo, the blinking out of focus, relative to the PSF."""
HALO_RANGE = (0.0, 0.2)
"""Covariance of the halo at distance 0 relative to that of the PSF."""
FREE_HALO_RANGE = (-0.5, 0.2)
"""The same in a second fit; only filtered frames have a negative halo."""
REACH_SIGMA, CORE_SIGMA = 6.0, 3.5
"""Distances that enter the fit, and a third fit of the core alone, in σ."""
BORDER_ERROR = 0.5
"""Error by emitters that the border cuts, in units of σ ÷ side of the field (simulations)."""
MODEL_ERROR = 0.003
"""Relative error that neither more frames nor a larger field removes."""

MIN_BLOCKS, MIN_BLOCK_FRAMES, MAX_BLOCK_FRAMES, MIN_SIDE_PX = 4, 4, 16, 12
MAX_BLOCK_PIXELS, MAX_PIXELS = 2**24, 2**26
"""Pixels read at once and in all; longer movies are sampled by evenly spread blocks."""

LEAST_NOISE = 0.003
"""Least share of white noise in the variance of raw frames."""
WHITE_NOISE_RANGE = (0.4, 2.5)
"""Noise in second differences ÷ noise at distance 0; 1 where it is white."""

_REACH_PX, _FIRST_REACH_PX = 12, 8
_SIGMA_RANGE_PX = (0.2, 3.0)
_SIGMA_GRID_PX = np.geomspace(0.22, 2.9, 24)


@dataclass(frozen=True, slots=True)
class PsfEstimate:
    """Width of the PSF as a movie shows it.

    Parameters
    ----------
    fwhm_nm : float
        Full width at half maximum; NaN where nothing blinks.
    standard_error_nm : float
        Its standard error; infinite where nothing blinks.
    identified : bool
        Whether the movie determines the width well enough to rely on it.
    reason : str
        Why it does not; empty if it does.
    """

    fwhm_nm: float
    standard_error_nm: float
    identified: bool
    reason: str = ""

    def __str__(self) -> str:
        """One line for a message."""
        if self.identified:
            return f"PSF FWHM {self.fwhm_nm:.0f} ± {self.standard_error_nm:.0f} nm"
        return f"the movie does not identify the PSF: {self.reason}"


def estimate_psf(stack: ImageStack) -> PsfEstimate:
    """Width of the PSF from the blinking of a movie.

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
    The covariance at offset d is fitted by A [ρ(d; σ) + h ρ(d; 2.5 σ)] + c with the
    autocorrelation ρ of the pixel-integrated Gaussian (paper Eq. 1), a halo 0 ≤ h ≤ 0.2 of blinking
    out of focus, and a constant c of its own for rows and columns, whose read-out may share noise.
    Two offsets stay out because noise reaches them: d = 0, and the next pixel of the row, into
    which the register of an EMCCD smears charge.

    The standard error joins the scatter between blocks of frames, the change when the core of the
    covariance alone or a halo of either sign is fitted, and a small error for emitters cut by the
    border.
    """
    if stack.n_frames < MIN_BLOCKS * MIN_BLOCK_FRAMES or min(stack.grid.shape) < MIN_SIDE_PX:
        return _unidentified("it needs at least 16 frames of 12×12 pixels")
    covariance = blinking_covariance(stack)
    fits = _fits(covariance)
    if fits is None:
        return _unidentified("neighbouring pixels do not blink together")
    sigma_px = fits[0].sigma_px
    border = BORDER_ERROR * sigma_px / min(stack.grid.shape)
    error_px = np.hypot(_error(*fits), (border + MODEL_ERROR) * sigma_px)
    pixel = stack.grid.pixel_size_nm
    fwhm, error = (float(s * FWHM_PER_SIGMA * pixel) for s in (sigma_px, error_px))
    reason = _doubt(fwhm, error, pixel) or _noise_doubt(covariance, fits[0])
    return PsfEstimate(fwhm, error, not reason, reason)


def _unidentified(reason: str) -> PsfEstimate:
    return PsfEstimate(np.nan, np.inf, False, reason)


def _doubt(fwhm_nm: float, error_nm: float, pixel_size_nm: float) -> str:
    """Why a width is not to be relied on; empty if it is."""
    low, high = (limit * pixel_size_nm for limit in PLAUSIBLE_FWHM_PX)
    low = max(low, DIFFRACTION_LIMIT_NM)
    if error_nm > MAX_RELATIVE_ERROR * fwhm_nm:
        return f"its blinking gives a FWHM of {fwhm_nm:.0f} ± {error_nm:.0f} nm, too uncertain"
    if not low <= fwhm_nm <= high:
        return f"a FWHM of {fwhm_nm:.0f} nm is outside the plausible {low:.0f} to {high:.0f} nm"
    return ""


class BlinkingCovariance(NamedTuple):
    """Temporal covariance of pixel pairs, averaged over the field.

    Parameters
    ----------
    blocks : ndarray, (B, R + 1, 2 R + 1), counts²
        For each block of frames, the mean covariance of pixels (y, x) and (y + dy, x + dx) with
        dy = 0 … R and dx = −R … R.
    n_pairs : ndarray, (R + 1, 2 R + 1)
        Pixel pairs at each offset.
    """

    blocks: NDArray[np.float64]
    n_pairs: NDArray[np.float64]

    @property
    def reach(self) -> int:
        """Largest offset R along an axis, pixels."""
        return len(self.n_pairs) - 1


def blinking_covariance(stack: ImageStack) -> BlinkingCovariance:
    """Covariance of the fluctuations within blocks of frames, flicker of the whole field removed.

    Raises
    ------
    InputError
        If the movie holds NaN or infinite values.
    """
    height, width = stack.grid.shape
    reach = min(_REACH_PX, min(height, width) // 3)
    dy, dx = np.arange(reach + 1), np.arange(-reach, reach + 1)
    n_pairs = np.outer(height - dy, width - np.abs(dx)).astype(np.float64)
    starts, length = _block_plan(stack.n_frames, height * width)
    sums = [_pair_sums(stack.load(slice(start, start + length)), reach) for start in starts]
    return BlinkingCovariance(np.stack(sums) / (n_pairs * (length - 1)), n_pairs)


def _block_plan(n_frames: int, area_px: int) -> tuple[list[int], int]:
    """First frames of the blocks, and frames per block."""
    longest = min(MAX_BLOCK_FRAMES, MAX_BLOCK_PIXELS // area_px, n_frames // (2 * MIN_BLOCKS))
    length = max(MIN_BLOCK_FRAMES, longest)
    n_blocks = min(n_frames // length, max(2 * MIN_BLOCKS, MAX_PIXELS // (area_px * length)))
    return np.linspace(0, n_frames - length, n_blocks).astype(int).tolist(), length


def _pair_sums(frames: FloatImage, reach: int) -> NDArray[np.float64]:
    """Sum over frames and pixel pairs of the product of fluctuations at each offset."""
    mean = frames.mean(axis=0)
    if not np.isfinite(mean).all():
        raise InputError("the movie holds NaN or infinite values; replace them or leave them out")
    fluctuation = frames - mean
    patterns, products = _flicker(fluctuation, mean)
    shape = [fft.next_fast_len(n + reach, real=True) for n in mean.shape]
    power = (np.abs(fft.rfft2(fluctuation, shape)) ** 2).sum(axis=0, dtype=np.float64)
    spectra = fft.rfft2(patterns, shape)
    power -= np.einsum("jyx,jk,kyx->yx", spectra, products, spectra.conj()).real
    sums: NDArray[np.float64] = fft.irfft2(power, shape)
    return sums[np.ix_(np.arange(reach + 1), np.arange(-reach, reach + 1))]


def _flicker(
    fluctuation: FloatImage, mean: FloatImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What illumination and background do to the whole field.

    The amplitudes of a constant and of the mean image are fitted in two halves of the field.
    Noise and blinking differ between the halves, so the products of their amplitudes add up to
    flicker alone.

    Returns
    -------
    patterns : ndarray, (2, Y, X)
    products : ndarray, (2, 2)
        Products of the amplitudes, summed over frames.
    """
    height, width = mean.shape
    contrast = mean - mean.mean(dtype=np.float64)
    contrast /= max(float(np.abs(contrast).max()), float(np.finfo(np.float32).tiny))
    patterns = np.stack([np.ones_like(contrast), contrast]).astype(np.float64)
    lower, right = np.arange(height)[:, None] >= height // 2, np.arange(width) >= width // 2
    halves = [lower ^ right, ~(lower ^ right)]
    first, second = (fluctuation[:, half] @ np.linalg.pinv(patterns[:, half]) for half in halves)
    products = first.T @ second
    return patterns, 0.5 * (products + products.T)


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


def _model(
    dy: NDArray[np.int64], dx: NDArray[np.int64], sigma_px: float, halo: float
) -> NDArray[np.float64]:
    """Linear terms of the covariance at N offsets: PSF with halo, constant, row, column; (N, 4)."""
    y, x = np.abs(dy), np.abs(dx)
    profile = psf_autocorrelation(np.arange(max(y.max(), x.max()) + 1), sigma_px)
    wide = psf_autocorrelation(np.arange(len(profile)), HALO_WIDTH * sigma_px)
    shape = profile[y] * profile[x] / profile[0] ** 2 + halo * wide[y] * wide[x] / wide[0] ** 2
    return np.stack([shape, np.ones(len(y)), y == 0, x == 0], axis=1)


@dataclass(frozen=True, slots=True)
class _Curve:
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
    def of(cls, covariance: BlinkingCovariance, reach_px: float) -> _Curve:
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
        return self.weight[:, None] * _model(self.dy, self.dx, sigma_px, halo)

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


class _Fit(NamedTuple):
    """Fitted width, halo and linear terms (4,), counts², and what each block adds to the width."""

    sigma_px: float
    halo: float
    linear: NDArray[np.float64]
    influence: NDArray[np.float64]


def _fits(covariance: BlinkingCovariance) -> tuple[_Fit, _Fit, _Fit] | None:
    """The fit, that of the core alone, and that with a halo of either sign; None if one fails."""
    rough = _fit(_Curve.of(covariance, _FIRST_REACH_PX))
    if rough is None:
        return None
    whole = _Curve.of(covariance, REACH_SIGMA * rough.sigma_px)
    fit, free = _fit(whole), _fit(whole, FREE_HALO_RANGE)
    core = _fit(_Curve.of(covariance, CORE_SIGMA * rough.sigma_px))
    return (fit, core, free) if fit and core and free else None


def _fit(curve: _Curve, halo_range: tuple[float, float] = HALO_RANGE) -> _Fit | None:
    """Least squares; None if no positive PSF fits."""
    start = curve.start(np.quantile(halo_range, [0.02, 0.5, 0.98]))
    if start is None:
        return None
    target = curve.blocks.mean(axis=0)

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        misfit: NDArray[np.float64] = curve.design(p[0], p[1]) @ p[2:] - target
        return misfit

    low, high = zip(_SIGMA_RANGE_PX, halo_range, (0, np.inf), *3 * [(-np.inf, np.inf)], strict=True)
    result = least_squares(residual, start, bounds=(low, high), method="dogbox")
    free = (result.active_mask == 0) | (np.arange(start.size) == 0)
    influence = (curve.blocks - target) @ np.linalg.pinv(np.asarray(result.jac)[:, free])[0]
    sigma, halo = result.x[:2].tolist()
    return _Fit(sigma, halo, result.x[2:] * curve.scale, influence)


def _error(fit: _Fit, *alternatives: _Fit) -> float:
    """Standard error of the width: scatter over blocks, and misfit of the model.

    An alternative fit that differs beyond its scatter bounds the misfit: a uniform law up to the
    difference has a third of its square as variance.
    """
    n_blocks = len(fit.influence)
    between = 1.0 / (n_blocks * (n_blocks - 1))
    few_blocks = student.ppf(0.975, n_blocks - 1) / student.ppf(0.975, np.inf)
    scatter = between * (fit.influence**2).sum() * few_blocks**2
    misfits = [
        (other.sigma_px - fit.sigma_px) ** 2
        - between * ((other.influence - fit.influence) ** 2).sum()
        for other in alternatives
    ]
    return float(np.sqrt(scatter + max(0.0, *misfits) / 3.0))


def _noise_doubt(covariance: BlinkingCovariance, fit: _Fit) -> str:
    """Why what remains at distance 0 is not the noise of raw frames; empty if it is.

    Second differences along y and x, scaled to keep the variance of white noise, leave next to
    nothing of smoothed noise.
    """
    dy, dx = np.mgrid[:3, -2:3]
    measured = covariance.blocks.mean(axis=0)[:3, covariance.reach + np.arange(-2, 3)]
    model = _model(dy.ravel(), dx.ravel(), fit.sigma_px, fit.halo) @ fit.linear
    noise = measured - model.reshape(dy.shape)
    taps = np.array([6.0, -4.0, 1.0]) / 6.0
    both_sides = np.where(dy > 0, 2.0, 1.0)
    fine = float((both_sides * taps[dy] * taps[np.abs(dx)] * noise).sum())
    low, high = WHITE_NOISE_RANGE
    if fine < LEAST_NOISE * measured[0, 2] or not low < fine / noise[0, 2] < high:
        return "its noise is not independent between pixels; give raw frames, unfiltered"
    return ""
