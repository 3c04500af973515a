"""Light that is not the structure: per-frame background and smooth haze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, minimum_filter, uniform_filter1d

from dlbi.core.images import FloatImage, ImageStack

DARK_SHARE = 0.05
TREND_HALF_WINDOW = 5
ENVELOPE_SMOOTHING_PX = 1.0
HAZE_WINDOW_PX = 13
HAZE_SIGMA_PX = 6.0

ENVELOPE_BIAS = 0.68
"""How far the haze of pure white noise lies below its mean, in its standard deviations; measured
on simulated noise images of 60² to 256² pixels (0.679–0.688)."""


@dataclass(frozen=True, slots=True)
class Background:
    """Additive background trend[t] + haze[y, x].

    Parameters
    ----------
    trend : ndarray, (T,), float32
        Change of the background from frame to frame, zero mean, counts.
    haze : ndarray, (Y, X), float32
        Time-averaged background, counts.
    """

    trend: NDArray[np.float32]
    haze: FloatImage


def estimate_background(stack: ImageStack, mean: FloatImage, variance: FloatImage) -> Background:
    """Background from the darkest pixels of each frame and the lower envelope of the mean.

    Parameters
    ----------
    stack : ImageStack
    mean : ndarray, (Y, X)
        Its time average.
    variance : ndarray, (Y, X), counts²
        Noise variance of `mean`; the envelope is raised by the bias this noise gives it.

    Notes
    -----
    The authors' simulator makes the background proportional to each frame's intensity (paper
    2.1.3), and bleaching carries it down; a constant would be read as blinking. The trend is the
    mean over the darkest 5 % of pixels, averaged over ±5 frames. The haze is the lower envelope
    of the mean image: a minimum filter wider than the PSF, then a Gaussian.
    """
    smooth = gaussian_filter(mean, ENVELOPE_SMOOTHING_PX, mode="nearest")
    n_dark = max(1, round(DARK_SHARE * smooth.size))
    dark = np.argpartition(smooth.ravel(), n_dark - 1)[:n_dark]
    level = np.empty(stack.n_frames)
    for frames, images in stack.chunks():
        level[frames] = images.reshape(len(images), -1)[:, dark].mean(axis=1)
    trend = uniform_filter1d(level, 2 * TREND_HALF_WINDOW + 1, mode="nearest")
    return Background((trend - trend.mean()).astype(np.float32), haze_of(mean, variance))


def haze_of(mean: FloatImage, variance: FloatImage) -> FloatImage:
    """Lower envelope of a mean image, (Y, X), raised by the bias that its noise gives it."""
    smooth = gaussian_filter(mean, ENVELOPE_SMOOTHING_PX, mode="nearest")
    envelope = minimum_filter(smooth, HAZE_WINDOW_PX, mode="nearest")
    haze = gaussian_filter(envelope, HAZE_SIGMA_PX, mode="nearest")
    haze += ENVELOPE_BIAS * np.sqrt(variance)
    return np.asarray(haze, np.float32)
