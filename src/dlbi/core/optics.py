"""Point-spread function (paper Eq. 1 and 2) and the width law of single emissions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, ndtr, ndtri

from dlbi.core.errors import InputError

FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))
"""FWHM = 2√(2 ln 2) σ ≈ 2.355 σ (paper Eq. 2)."""


@dataclass(frozen=True, slots=True)
class GaussianPSF:
    """Isotropic Gaussian PSF of unit sum, integrated over pixels (paper Eq. 1).

    Parameters
    ----------
    fwhm_nm : float
        Full width at half maximum in the sample plane.
    """

    fwhm_nm: float

    def __post_init__(self) -> None:
        """Validate the width."""
        if not (np.isfinite(self.fwhm_nm) and self.fwhm_nm > 0):
            raise InputError(f"PSF FWHM must be positive, got {self.fwhm_nm} nm")

    @property
    def sigma_nm(self) -> float:
        """Standard deviation of the Gaussian."""
        return float(self.fwhm_nm / FWHM_PER_SIGMA)

    def sigma_px(self, pixel_size_nm: float) -> float:
        """Standard deviation in pixels of the given size."""
        return self.sigma_nm / pixel_size_nm


def integrated_profile(
    pixel: NDArray[np.number], centre_px: NDArray[np.number] | float, sigma_px: float
) -> NDArray[np.float64]:
    """Share of a 1-D unit Gaussian that falls on each pixel, the reference of every PSF kernel.

    Parameters
    ----------
    pixel : ndarray
        Pixel indices; pixel k covers k − ½ … k + ½. Broadcasts with `centre_px`.
    centre_px : float or ndarray
        Centre of the Gaussian, pixel coordinates.
    sigma_px : float
        Standard deviation, pixels.

    Notes
    -----
    g(k; x) = ½ [erf((k + ½ − x)/√2σ) − erf((k − ½ − x)/√2σ)]
    """
    d = np.asarray(pixel, np.float64) - centre_px
    s = np.sqrt(2.0) * sigma_px
    share: NDArray[np.float64] = 0.5 * (erf((d + 0.5) / s) - erf((d - 0.5) / s))
    return share


@dataclass(frozen=True, slots=True)
class FwhmLaw:
    """Law of the FWHM of single emissions: a truncated log-normal (paper 2.1.2).

    Parameters
    ----------
    median_nm : float
        Median of the log-normal before truncation.
    sigma_log : float
        Standard deviation of log FWHM; 0 makes every emission alike.
    low_nm, high_nm : float
        Truncation limits.
    """

    median_nm: float
    sigma_log: float = 0.0
    low_nm: float = 0.0
    high_nm: float = np.inf

    def table(self, n_entries: int) -> NDArray[np.float64]:
        """FWHM at `n_entries` equally likely quantile midpoints, nm; the calibrated PSF table."""
        if self.sigma_log == 0.0:
            return np.full(n_entries, self.median_nm)
        with np.errstate(divide="ignore"):
            low, high = ndtr(
                np.log(np.array([self.low_nm, self.high_nm]) / self.median_nm) / self.sigma_log
            )
        q = low + (high - low) * (np.arange(n_entries) + 0.5) / n_entries
        return np.asarray(self.median_nm * np.exp(self.sigma_log * ndtri(q)), np.float64)
