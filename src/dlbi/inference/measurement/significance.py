"""Is there light at all? Matched-filter test of the mean image against its background."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import norm

from dlbi.core.images import FloatImage

FALSE_ALARM = 0.01
"""Probability that a movie of pure noise is said to show structure."""


def light_z(signal: FloatImage, variance: FloatImage, sigma_px: float) -> FloatImage:
    """Significance of light at each camera pixel, in standard deviations.

    Parameters
    ----------
    signal : ndarray, (Y, X), counts
        Mean image minus background.
    variance : ndarray, (Y, X), counts²
        Noise variance of the mean image.
    sigma_px : float
        PSF width, camera pixels.

    Notes
    -----
    z = Σ h s/v ÷ √(Σ h²/v) with the PSF h around each pixel: the most powerful test for a point
    source at its centre.
    """
    weighted = gaussian_filter(signal / variance, sigma_px, mode="constant", truncate=4.0)
    # h² of a Gaussian is a Gaussian of width σ/√2 with the sum 1/(4πσ²).
    narrow = gaussian_filter(1.0 / variance, sigma_px / np.sqrt(2.0), mode="constant", truncate=5.0)
    z = weighted / np.sqrt(narrow / (4.0 * np.pi * sigma_px**2))
    return np.asarray(z, np.float32)


def shows_light(z: FloatImage) -> bool:
    """Whether the largest z is beyond what noise alone reaches in 99 % of such fields."""
    return bool(z.max() > norm.isf(FALSE_ALARM / z.size))


def p_dark(z: FloatImage, factor: int) -> FloatImage:
    """One-sided p-value of "no light here" on the fine grid, (Y·factor, X·factor)."""
    fine = zoom(z, factor, order=1, mode="nearest", grid_mode=True)
    return np.asarray(norm.sf(fine), np.float32)
