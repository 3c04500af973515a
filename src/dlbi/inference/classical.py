"""Quick images without a model of single emitters: the upscaled mean and second-order SOFI."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, uniform_filter, zoom

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.images import FloatImage, ImageStack

BLOCK_FRAMES = 25
"""Frames over which fluctuations are taken: far beyond blinking, short of bleaching."""

MIN_BLOCK_FRAMES = 4
MAX_BLOCK_PIXELS = 2**25
"""Pixels in memory at once; large fields have shorter blocks."""

PAIRS = tuple(
    (dy, dx) for dy in range(3) for dx in range(-2, 3) if (dy > 0 or dx > 1) and dy**2 + dx**2 <= 5
)
"""Offsets (y, x) of the pixel pairs of a cumulant.

None is a pixel with itself, which would add its noise, or with the next of its row, into which the
register of an EMCCD smears charge and noise.
"""


def mean_image(mean: FloatImage, background: FloatImage, factor: int) -> FloatImage:
    """The mean image without background on the area-aligned fine grid.

    Parameters
    ----------
    mean : ndarray, (Y, X), counts
        Time average of the movie.
    background : ndarray, (Y, X), counts
        Additive background of the mean.
    factor : int
        Fine pixels per camera pixel along one axis.

    Returns
    -------
    ndarray, (Y · factor, X · factor), float32
        Non-negative counts per fine pixel by cubic splines; they add up to the light of `mean`
        above `background`.

    Raises
    ------
    InputError, ShapeError
        If the factor is below 1 or the background has another shape.
    """
    _expect_factor(factor)
    if background.shape != mean.shape:
        raise ShapeError(f"the background {background.shape} must have the mean's {mean.shape}")
    signal = np.maximum(mean - background, 0.0)
    fine = zoom(signal, factor, order=3, mode="reflect", grid_mode=True)
    fine = np.maximum(fine, 0.0)
    total = float(fine.sum(dtype=np.float64))
    if total > 0.0:
        fine *= float(signal.sum(dtype=np.float64)) / total
    return np.asarray(fine, np.float32)


def sofi2(stack: ImageStack, factor: int) -> FloatImage:
    """Second-order SOFI image on the area-aligned fine grid, linear in brightness.

    Parameters
    ----------
    stack : ImageStack
    factor : int
        Fine pixels per camera pixel along one axis.

    Returns
    -------
    ndarray, (Y · factor, X · factor), float32
        Root of the cumulant, which goes with the square of the brightness; non-negative,
        arbitrary unit. A movie in which neighbours do not fluctuate together gives zeros and a
        warning.

    Raises
    ------
    InputError
        If the factor is below 1.

    References
    ----------
    Dertinger et al. 2009, doi:10.1073/pnas.0907866106; 2010, doi:10.1364/OE.18.018875.
    """
    _expect_factor(factor)
    cumulant = second_cumulant(stack)
    height, width = stack.grid.shape
    fine = affine_transform(
        cumulant,
        np.full(2, 2.0 / factor),
        offset=1.0 / factor - 1.0,
        output_shape=(height * factor, width * factor),
        order=3,
        mode="nearest",
    )
    image: FloatImage = np.sqrt(np.maximum(fine, 0.0))
    return image


def second_cumulant(stack: ImageStack) -> FloatImage:
    """Second-order cumulant on the camera grid and halfway between its pixels.

    Returns
    -------
    ndarray, (2 Y − 1, 2 X − 1), float32
        Element (2 y, 2 x) lies at the centre of camera pixel (y, x). An emitter appears as the
        square of its PSF, narrower by √2.

    Notes
    -----
    The covariance of different pixels p and p + d shows the emitters around p + d/2 as f(d) · PSF²,
    free of camera noise. The distance factor f is the same everywhere, so the means
    of the covariances over the field have its ratios. Each point is the least-squares value
    Σ f C / Σ f² of all pairs around it.
    """
    covariances = _covariances(stack)
    means = {offset: max(float(c.mean()), 0.0) for offset, c in covariances.items()}
    largest = max(means.values(), default=0.0)
    height, width = stack.grid.shape
    weighted = np.zeros((2 * height - 1, 2 * width - 1))
    weights = np.zeros_like(weighted)
    if largest == 0.0:
        message = "neighbouring pixels do not blink together; the SOFI image is empty"
        warnings.warn(message, DlbiWarning, stacklevel=2)
        return weighted.astype(np.float32)
    for (dy, dx), covariance in covariances.items():
        factor = means[dy, dx] / largest
        middle = np.s_[dy : 2 * height - 1 - dy : 2, abs(dx) : 2 * width - 1 - abs(dx) : 2]
        weighted[middle] += factor * covariance
        weights[middle] += factor**2
    # The corners, and points whose pairs share no blinking, take the mean of their neighbours.
    around, shared = uniform_filter(weighted, 3), uniform_filter(weights, 3)
    near = np.divide(around, shared, out=np.zeros_like(around), where=shared > 0)
    cumulant = np.divide(weighted, weights, out=near, where=weights > 0)
    return cumulant.astype(np.float32)


def _covariances(stack: ImageStack) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Covariance of the pixels (y, x) and (y + dy, x + dx) in the field for each of `PAIRS`.

    Each block of frames has its own mean, so that bleaching is no fluctuation, and each frame its
    median: a change of most pixels at once is background.
    """
    height, width = stack.grid.shape
    inside = [(dy, dx) for dy, dx in PAIRS if dy < height and abs(dx) < width]
    sums = {(dy, dx): np.zeros((height - dy, width - abs(dx))) for dy, dx in inside}
    edges = _block_edges(stack)
    for start, stop in pairwise(edges):
        frames = stack.load(slice(start, stop))
        change = frames - frames.mean(axis=0)
        change -= np.median(change, axis=(1, 2), keepdims=True)
        for (dy, dx), total in sums.items():
            here = change[:, : height - dy, max(0, -dx) : width - max(0, dx)]
            there = change[:, dy:, max(0, dx) : width - max(0, -dx)]
            total += np.einsum("tyx,tyx->yx", here, there) / (stop - start - 1)
    return {offset: total / (len(edges) - 1) for offset, total in sums.items()}


def _block_edges(stack: ImageStack) -> list[int]:
    area = stack.grid.shape[0] * stack.grid.shape[1]
    length = min(BLOCK_FRAMES, max(MIN_BLOCK_FRAMES, MAX_BLOCK_PIXELS // area))
    n_blocks = max(1, stack.n_frames // length)
    edges: list[int] = np.linspace(0, stack.n_frames, n_blocks + 1).astype(int).tolist()
    return edges


def _expect_factor(factor: int) -> None:
    if factor < 1:
        raise InputError(f"the upscaling factor must be at least 1, got {factor}")
