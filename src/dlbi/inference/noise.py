"""Camera noise of a movie, read off its frames (photon transfer)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import convolve1d, uniform_filter
from scipy.optimize import nnls

from dlbi.core.images import FloatImage, ImageStack

MAX_FRAMES = 60
MAX_BINS, MIN_BIN_SAMPLES = 40, 64
N_FITS = 3

_TINY = float(np.finfo(np.float32).tiny)
_SECOND_DIFFERENCE = np.array([1.0, -2.0, 1.0])


class NoiseModel(NamedTuple):
    """Noise variance read + gain · level, never below `least`.

    Parameters
    ----------
    read : float, counts²
        Variance at level zero; includes the camera offset, so it may be negative.
    gain : float, counts
        Variance per count.
    least : float, counts²
    """

    read: float
    gain: float
    least: float

    def variance(self, level: FloatImage) -> FloatImage:
        """Noise variance at the given mean counts, same shape, counts²."""
        variance: FloatImage = np.maximum(self.read + self.gain * level, self.least)
        return variance.astype(np.float32)


def fit_noise(stack: ImageStack) -> NoiseModel:
    """Fit the noise variance against the light level, frame by frame.

    Parameters
    ----------
    stack : ImageStack
        At least 8×8 pixels.

    Notes
    -----
    The product of the second differences along y and x, divided by 6, has the variance of white
    noise and all but removes light that has passed a PSF. Its mean square in up to 40 bins of the
    local level is fitted by non-negative least squares on (1, level), weighted by the fit itself:
    a photon-transfer curve (Janesick, doi:10.1117/3.725073). Unlike the temporal variance it is
    not fooled by blinking, and it sees the level of the frame, not that of the mean.
    """
    step = max(1, stack.n_frames // MAX_FRAMES)
    levels, squares = [], []
    for t in range(0, stack.n_frames, step):
        frame = stack.load(slice(t, t + 1))[0]
        rough = convolve1d(
            convolve1d(frame, _SECOND_DIFFERENCE, axis=0), _SECOND_DIFFERENCE, axis=1
        )
        inner = (slice(2, -2), slice(2, -2))
        levels.append(uniform_filter(frame, 3)[inner].ravel())
        squares.append((rough[inner] / 6.0).ravel() ** 2)
    level, square = np.concatenate(levels), np.concatenate(squares)
    n_bins = int(np.clip(level.size // MIN_BIN_SAMPLES, 1, MAX_BINS))
    edges = np.quantile(level, np.linspace(0.0, 1.0, n_bins + 1)[1:-1])
    index = np.searchsorted(edges, level)
    n = np.bincount(index, minlength=n_bins)
    used = n > 0
    n = n[used]
    variance = np.bincount(index, square, n_bins)[used] / n
    centre = np.bincount(index, level, n_bins)[used] / n
    low = float(centre.min())
    floor = max(float(variance.max()) * 1e-9, _TINY)
    design = np.stack([np.ones_like(centre), centre - low], axis=1)
    fitted = np.full_like(variance, np.average(variance, weights=n))
    read = gain = 0.0
    for _ in range(N_FITS):
        weight = np.sqrt(n) / np.maximum(fitted, floor)
        (read, gain), _ = nnls(design * weight[:, None], variance * weight)
        fitted = design @ np.array([read, gain])
    least = max(0.5 * float(variance.min()), floor)
    return NoiseModel(read=float(read - gain * low), gain=float(gain), least=least)
