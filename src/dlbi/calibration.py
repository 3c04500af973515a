"""The PSF from the movie itself: the covariance of neighbouring pixels that blink together.

A blinking emitter makes all pixels under its PSF fluctuate together; camera noise does not.
Summed over the field, the temporal covariance of pixels at distance d is therefore free of noise
and shows the autocorrelation of the PSF, about exp(−d²/4σ²), whatever the structure is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
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

HALO_WIDTH = 2.5
"""Width of the halo, the blinking out of focus, relative to the PSF."""
HALO_LIMIT = 0.2
"""Largest covariance of the halo at distance 0 relative to that of the PSF."""

REACH_PX = 12
"""Largest distance of a covariance along an axis."""
REACH_SIGMA = 6.0
"""Distances that enter the fit, in σ."""
CORE_SIGMA = 3.5
"""Distances that enter the second fit, which tests the model, in σ."""

BORDER_ERROR = 0.5
"""Error by emitters that the border cuts, in units of σ ÷ side of the field (simulations)."""
MODEL_ERROR = 0.003
"""Relative error that neither more frames nor a larger field removes."""

MIN_BLOCKS = 4
MIN_BLOCK_FRAMES, MAX_BLOCK_FRAMES = 4, 16
MIN_SIDE_PX = 12
MAX_BLOCK_PIXELS, MAX_PIXELS = 2**24, 2**26
"""Pixels read at once and in all; longer movies are sampled by evenly spread blocks."""

_SIGMA_BOUNDS_PX = (0.2, 3.0)
_FIRST_REACH_PX = 8


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
        Raw frames. Frames that were smoothed, compressed or shifted by parts of a pixel have
        correlated noise, which looks like a PSF.

    Raises
    ------
    InputError
        If the movie holds NaN or infinite values.

    Notes
    -----
    The covariance at offset d is fitted by A [ρ(d; σ) + h ρ(d; 2.5 σ)] + c with the
    autocorrelation ρ of the pixel-integrated Gaussian (paper Eq. 1), a halo 0 ≤ h ≤ 0.2 of blinking
    out of focus, and a constant c. Two offsets stay out because of the noise they carry: d = 0, and
    the next pixel of the row, into which the register of an EMCCD smears charge. The standard
    error joins the scatter between blocks of frames, what changes when only the core of the
    covariance is fitted, and a small error for emitters cut by the border.
    """
    if not _enough(stack):
        return _unidentified("it needs at least 16 frames of 12×12 pixels")
    covariance = blinking_covariance(stack)
    first = _fit(_select(covariance, _FIRST_REACH_PX))
    fit = first and _fit(_select(covariance, REACH_SIGMA * first.sigma_px))
    core = fit and _fit(_select(covariance, CORE_SIGMA * fit.sigma_px))
    if fit is None or core is None:
        return _unidentified("neighbouring pixels do not blink together")
    border = BORDER_ERROR * fit.sigma_px / min(stack.grid.shape)
    error_px = np.hypot(_error(fit, core), (border + MODEL_ERROR) * fit.sigma_px)
    return _judge(fit.sigma_px * FWHM_PER_SIGMA, error_px * FWHM_PER_SIGMA, stack)


def _unidentified(reason: str) -> PsfEstimate:
    return PsfEstimate(np.nan, np.inf, False, reason)


def _judge(fwhm_px: float, error_px: float, stack: ImageStack) -> PsfEstimate:
    low, high = PLAUSIBLE_FWHM_PX
    reason = ""
    if error_px > MAX_RELATIVE_ERROR * fwhm_px:
        reason = (
            f"its blinking is too weak or too short, FWHM {fwhm_px:.1f} ± {error_px:.1f} pixels"
        )
    elif not low <= fwhm_px <= high:
        reason = f"FWHM {fwhm_px:.1f} pixels is outside the plausible {low:g} to {high:g}"
    pixel = stack.grid.pixel_size_nm
    return PsfEstimate(float(fwhm_px * pixel), float(error_px * pixel), not reason, reason)


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


def blinking_covariance(stack: ImageStack) -> BlinkingCovariance:
    """Covariance of the fluctuations within blocks of frames, flicker of the whole field removed.

    Raises
    ------
    InputError
        If the movie holds NaN or infinite values.
    """
    height, width = stack.grid.shape
    reach = min(REACH_PX, min(height, width) // 3)
    dy, dx = np.arange(reach + 1), np.arange(-reach, reach + 1)
    n_pairs = np.outer(height - dy, width - np.abs(dx)).astype(np.float64)
    starts, length = _block_plan(stack)
    sums = [_pair_sums(stack.load(slice(start, start + length)), reach) for start in starts]
    blocks = np.stack(sums) / (n_pairs * (length - 1))
    if not np.isfinite(blocks).all():
        raise InputError("the movie holds NaN or infinite values; replace them or leave them out")
    return BlinkingCovariance(blocks, n_pairs)


def _enough(stack: ImageStack) -> bool:
    return (
        stack.n_frames >= MIN_BLOCKS * MIN_BLOCK_FRAMES and min(stack.grid.shape) >= MIN_SIDE_PX
    )


def _block_plan(stack: ImageStack) -> tuple[list[int], int]:
    """First frames of the blocks, and frames per block."""
    n, area = stack.n_frames, stack.grid.shape[0] * stack.grid.shape[1]
    longest = min(MAX_BLOCK_FRAMES, MAX_BLOCK_PIXELS // area, n // (2 * MIN_BLOCKS))
    length = max(MIN_BLOCK_FRAMES, longest)
    n_blocks = min(n // length, max(2 * MIN_BLOCKS, MAX_PIXELS // (area * length)))
    return np.linspace(0, n - length, n_blocks).astype(int).tolist(), length


def _pair_sums(frames: FloatImage, reach: int) -> NDArray[np.float64]:
    """Sum over frames and pixel pairs of the product of fluctuations at each offset."""
    mean = frames.mean(axis=0)
    fluctuation = frames - mean
    patterns, shared = _flicker(fluctuation, mean)
    shape = [fft.next_fast_len(n + reach, real=True) for n in mean.shape]
    power = (np.abs(fft.rfft2(fluctuation, shape)) ** 2).sum(axis=0, dtype=np.float64)
    spectra = fft.rfft2(patterns, shape)
    power -= np.einsum("jyx,jk,kyx->yx", spectra, shared, spectra.conj()).real
    sums = fft.irfft2(power, shape)
    dy, dx = np.arange(reach + 1), np.arange(-reach, reach + 1)
    window: NDArray[np.float64] = sums[np.ix_(dy, dx)]
    return window


def _flicker(
    fluctuation: FloatImage, mean: FloatImage
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What illumination and background do to the whole field: patterns and their covariance.

    The amplitudes of a constant and of the mean image are fitted in two halves of the field.
    Noise and blinking differ between the halves, so the products of their amplitudes sum up to
    flicker alone.

    Returns
    -------
    patterns : ndarray, (2, Y, X)
    shared : ndarray, (2, 2)
        Products of the amplitudes, summed over frames.
    """
    height, width = mean.shape
    contrast = mean - mean.mean(dtype=np.float64)
    contrast /= max(float(np.abs(contrast).max()), np.finfo(np.float32).tiny)
    patterns = np.stack([np.ones_like(contrast), contrast])
    lower, right = np.arange(height)[:, None] >= height // 2, np.arange(width) >= width // 2
    halves = [lower ^ right, ~(lower ^ right)]
    first, second = (fluctuation[:, half] @ np.linalg.pinv(patterns[:, half]) for half in halves)
    products = first.T @ second
    return patterns, 0.5 * (products + products.T)


class _Curve(NamedTuple):
    """Covariances that enter a fit, weighted by the root of their number of pairs.

    `dy`, `dx` and `weight` are (n,), `blocks` is (B, n).
    """

    dy: NDArray[np.int64]
    dx: NDArray[np.int64]
    weight: NDArray[np.float64]
    blocks: NDArray[np.float64]


def _select(covariance: BlinkingCovariance, reach_px: float) -> _Curve:
    """Offsets up to a distance, each pair once, without those that carry noise."""
    limit = covariance.blocks.shape[1] - 1
    reach = np.clip(np.ceil(reach_px), 3, limit)
    dy, dx = np.mgrid[: limit + 1, -limit : limit + 1]
    once = (dy > 0) | (dx > 1)
    near = once & (dy**2 + dx**2 <= reach**2)
    weight = np.sqrt(covariance.n_pairs[near] / covariance.n_pairs.max())
    return _Curve(dy[near], dx[near], weight, covariance.blocks[:, near] * weight)


def psf_autocorrelation(distance_px: NDArray[np.number], sigma_px: float) -> NDArray[np.float64]:
    """Autocorrelation along one axis of a pixel-integrated unit Gaussian.

    Parameters
    ----------
    distance_px : ndarray
        Whole pixels.
    sigma_px : float
        Standard deviation of the Gaussian.

    Notes
    -----
    Averaged over the emitter's position in its pixel, it is a Gaussian of variance 2σ² convolved
    with a triangle of half width 1: the second difference of ∫∫ of that Gaussian.
    """
    spread = np.sqrt(2.0) * sigma_px

    def ramp(x: NDArray[np.float64]) -> NDArray[np.float64]:
        u = x / spread
        return np.asarray(x * ndtr(u) + spread * np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi))

    d = np.abs(np.asarray(distance_px, np.float64))
    return ramp(d + 1.0) - 2.0 * ramp(d) + ramp(d - 1.0)


class _Fit(NamedTuple):
    """Fitted width and, for each block of frames, its influence on it, (B,)."""

    sigma_px: float
    influence: NDArray[np.float64]


def _fit(curve: _Curve) -> _Fit | None:
    """Least squares of the covariance model; None where no positive amplitude fits."""
    scale = float(np.abs(curve.blocks.mean(axis=0)).max())
    if scale == 0.0:
        return None
    blocks = curve.blocks / scale
    target = blocks.mean(axis=0)
    start = _start(curve, target)
    if start is None:
        return None

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        sigma, halo, amplitude, constant = p
        return curve.weight * (amplitude * _shape(curve, sigma, halo) + constant) - target

    low, high = _SIGMA_BOUNDS_PX
    bounds = ([low, 0.0, 0.0, -np.inf], [high, HALO_LIMIT, np.inf, np.inf])
    result = least_squares(
        residual, start, bounds=bounds, x_scale=(0.3, 0.1, 0.5, 0.1), method="dogbox"
    )
    free = result.active_mask == 0
    free[0] = True
    influence = (blocks - target) @ np.linalg.pinv(result.jac[:, free])[0]
    return _Fit(float(result.x[0]), influence)


def _start(curve: _Curve, target: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Best parameters on a grid of widths and halos, amplitude and constant by linear algebra."""
    best, least = None, np.inf
    for sigma in np.geomspace(1.1 * _SIGMA_BOUNDS_PX[0], 0.97 * _SIGMA_BOUNDS_PX[1], 24):
        for halo in np.array([0.02, 0.5, 0.98]) * HALO_LIMIT:
            columns = [_shape(curve, sigma, halo), np.ones_like(target)]
            design = np.stack(columns, axis=1) * curve.weight[:, None]
            linear = np.linalg.lstsq(design, target)[0]
            misfit = float(((design @ linear - target) ** 2).sum())
            if linear[0] > 0 and misfit < least:
                best, least = np.array([sigma, halo, *linear]), misfit
    return best


def _shape(curve: _Curve, sigma_px: float, halo: float) -> NDArray[np.float64]:
    """Covariance of PSF and halo relative to that of the PSF at distance 0."""
    limit = int(max(curve.dy.max(), curve.dx.max()))
    sharp, wide = (
        psf_autocorrelation(np.arange(limit + 1), sigma)
        for sigma in (sigma_px, HALO_WIDTH * sigma_px)
    )
    y, x = curve.dy, np.abs(curve.dx)
    relative: NDArray[np.float64] = sharp[y] * sharp[x] / sharp[0] ** 2
    return relative + halo * wide[y] * wide[x] / wide[0] ** 2


def _error(fit: _Fit, core: _Fit) -> float:
    """Standard error of the width: scatter over blocks, and misfit of the model.

    The misfit is half of what separates the fit from that of the core, beyond its own scatter.
    """
    n_blocks = len(fit.influence)
    between = 1.0 / (n_blocks * (n_blocks - 1))
    few_blocks = student.ppf(0.975, n_blocks - 1) / student.ppf(0.975, np.inf)
    scatter = between * float((fit.influence**2).sum()) * few_blocks**2
    difference = between * float(((core.influence - fit.influence) ** 2).sum())
    misfit = max((core.sigma_px - fit.sigma_px) ** 2 - difference, 0.0) / 4.0
    return float(np.sqrt(scatter + misfit))
