"""Covariance of the fluctuations of neighbouring pixels, free of camera noise and flicker."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import InputError
from dlbi.core.images import FloatImage, ImageStack

MIN_BLOCKS, MIN_BLOCK_FRAMES, MAX_BLOCK_FRAMES = 4, 4, 16
MAX_BLOCK_PIXELS, MAX_PIXELS = 2**24, 2**26
"""Pixels read at once and in all; longer movies are sampled by evenly spread blocks."""

WEIGHT_BLUR_PX, DARK_SHARE, LEAST_LIGHT = 1.5, 0.05, 0.02
"""Blur of the mean image that weights pixels, share of pixels that are taken as dark, and the least
light relative to the brightest."""

_REACH_PX = 12


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


def blinking_covariance(
    stack: ImageStack, weight: NDArray[np.float64] | None = None
) -> BlinkingCovariance:
    """Covariance of the fluctuations within blocks of frames, flicker of the whole field removed.

    Parameters
    ----------
    stack : ImageStack
    weight : ndarray, (Y, X), optional
        A pair counts as the product of the weights of its pixels; all count alike if not given.

    Raises
    ------
    InputError
        If the movie holds NaN or infinite values.
    """
    height, width = stack.grid.shape
    reach = min(_REACH_PX, min(height, width) // 3)
    weight = np.ones((height, width)) if weight is None else weight
    n_pairs = _at_offsets(
        np.abs(fft.rfft2(weight, _padded(weight.shape, reach))) ** 2, reach, weight.shape
    )
    starts, length = _block_plan(stack.n_frames, height * width)
    sums = [_pair_sums(stack.load(slice(s, s + length)), weight, reach) for s in starts]
    return BlinkingCovariance(np.stack(sums) / (n_pairs * (length - 1)), n_pairs)


def signal_weight(stack: ImageStack) -> NDArray[np.float64]:
    """Weight of pixels for faint blinking, (Y, X), at most 1.

    The covariance of a pair rises with the light there and its noise does not, so a pair should
    count as its light: each pixel as the root of the mean image above its darkest part, smooth on
    the scale of a PSF.
    """
    starts, length = _block_plan(stack.n_frames, int(np.prod(stack.grid.shape)))
    mean = np.mean([stack.load(slice(s, s + length)).mean(axis=0) for s in starts], axis=0)
    smooth = gaussian_filter(mean.astype(np.float64), WEIGHT_BLUR_PX)
    light = smooth - np.quantile(smooth, DARK_SHARE)
    weight: NDArray[np.float64] = np.sqrt(np.maximum(light / max(light.max(), 1e-30), LEAST_LIGHT))
    return weight


def _block_plan(n_frames: int, area_px: int) -> tuple[list[int], int]:
    """First frames of the blocks, and frames per block."""
    longest = min(MAX_BLOCK_FRAMES, MAX_BLOCK_PIXELS // area_px, n_frames // (2 * MIN_BLOCKS))
    length = max(MIN_BLOCK_FRAMES, longest)
    n_blocks = min(n_frames // length, max(2 * MIN_BLOCKS, MAX_PIXELS // (area_px * length)))
    return np.linspace(0, n_frames - length, n_blocks).astype(int).tolist(), length


def _pair_sums(frames: FloatImage, weight: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sum over frames and pixel pairs of the product of weighted fluctuations at each offset."""
    mean = frames.mean(axis=0)
    if not np.isfinite(mean).all():
        raise InputError("the movie holds NaN or infinite values; replace them or leave them out")
    fluctuation = frames - mean
    patterns, products = _flicker(fluctuation, mean)
    shape = _padded(mean.shape, reach)
    weighted = fluctuation * weight.astype(np.float32)
    power = (np.abs(fft.rfft2(weighted, shape)) ** 2).sum(axis=0, dtype=np.float64)
    spectra = fft.rfft2(patterns * weight, shape)
    power -= np.einsum("jyx,jk,kyx->yx", spectra, products, spectra.conj()).real
    return _at_offsets(power, reach, mean.shape)


def _padded(shape: tuple[int, ...], reach: int) -> list[int]:
    """Size of transforms in which opposite borders stay apart."""
    return [fft.next_fast_len(n + reach, real=True) for n in shape]


def _at_offsets(
    power: NDArray[np.float64], reach: int, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Pair sums at the offsets from a power spectrum."""
    sums: NDArray[np.float64] = fft.irfft2(power, _padded(shape, reach))
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
