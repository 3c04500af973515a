"""Point-spread function (paper Eq. 1 and 2) and the width law of single emissions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft
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


@dataclass(frozen=True, slots=True)
class Halo:
    """Wide tails of a real PSF: a share of the light that is spread once more.

    Parameters
    ----------
    share : float
        Share of the light, from 0 to below 1.
    sigma_nm : float
        Standard deviation of the Gaussian that spreads it, on top of the PSF.

    Raises
    ------
    InputError
        If the share is impossible or the width not positive.

    Notes
    -----
    With the transfer function g = exp(−s²k²/2) of that Gaussian, light imaged without a halo is
    multiplied by 1 − h + h g. That is at least 1 − h, so a halo can be taken off again. Images are
    continued by reflection at their borders.
    """

    share: float = 0.0
    sigma_nm: float = 400.0

    def __post_init__(self) -> None:
        """Validate share and width."""
        if not 0.0 <= self.share < 1.0:
            raise InputError(f"the share of a halo must lie within 0 … 1, got {self.share:g}")
        if not (np.isfinite(self.sigma_nm) and self.sigma_nm > 0):
            raise InputError(f"the width of a halo must be positive, got {self.sigma_nm} nm")

    def around(self, light: NDArray[np.float32], pixel_size_nm: float) -> NDArray[np.float32]:
        """Images (…, Y, X) with the halo around their light."""
        if self.share == 0.0:
            return light
        g = self._transfer(light.shape, pixel_size_nm)
        return _filtered(light, 1.0 - self.share + self.share * g)

    def part_of(self, light: NDArray[np.float32], pixel_size_nm: float) -> NDArray[np.float32]:
        """What of images (…, Y, X) is halo, h g ÷ (1 − h + h g) of each frequency."""
        if self.share == 0.0:
            return np.zeros_like(light)
        g = self.share * self._transfer(light.shape, pixel_size_nm)
        return _filtered(light, g / (1.0 - self.share + g))

    def _transfer(self, shape: tuple[int, ...], pixel_size_nm: float) -> NDArray[np.float64]:
        """Gaussian in the frequencies of a cosine transform, (Y, X)."""
        y, x = (
            np.exp(-0.5 * (self.sigma_nm / pixel_size_nm * np.pi * np.arange(n) / n) ** 2)
            for n in shape[-2:]
        )
        return np.asarray(np.outer(y, x))


def _filtered(images: NDArray[np.float32], transfer: NDArray[np.float64]) -> NDArray[np.float32]:
    spectrum = fft.dctn(images, axes=(-2, -1)) * transfer.astype(np.float32)
    return np.asarray(fft.idctn(spectrum, axes=(-2, -1), overwrite_x=True), np.float32)
