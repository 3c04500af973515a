"""Fourier rings: spectra of tapered images, summed over rings of equal spatial frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2
from scipy.signal.windows import tukey

from dlbi.core.errors import InputError, ShapeError

TAPERED_SHARE = 0.125
"""Share of the field along each edge over which the image fades to its mean."""

MIN_SIDE_PX = 32

Image = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings of equal spatial frequency in the Fourier plane of a field.

    Parameters
    ----------
    index : ndarray, (Y, X), int
        Ring of each coefficient, as `scipy.fft.fft2` orders them: its spatial frequency in units
        of `width_per_nm`, rounded. Ring 0 is the mean.
    n_rings : int
        Rings up to the Nyquist frequency; the corners beyond belong to none.
    width_per_nm : float
        1 ÷ the shorter side of the field.
    """

    index: NDArray[np.intp]
    n_rings: int
    width_per_nm: float

    @property
    def frequency_per_nm(self) -> NDArray[np.float64]:
        """Middle of each ring, (R,)."""
        return np.arange(self.n_rings, dtype=np.float64) * self.width_per_nm

    def sum(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Sum over each ring, (Y, X) → (R,)."""
        total = np.bincount(self.index.ravel(), values.ravel(), minlength=self.n_rings)
        return total[: self.n_rings].astype(np.float64)

    def counts(self) -> NDArray[np.intp]:
        """Coefficients in each ring, (R,)."""
        return np.bincount(self.index.ravel(), minlength=self.n_rings)[: self.n_rings]


def rings_of(shape: tuple[int, int], pixel_size_nm: float) -> Rings:
    """The rings of a field of `shape` pixels (Y, X), of any aspect."""
    short = min(shape)
    y, x = (np.fft.fftfreq(side) * short for side in shape)
    index = np.rint(np.hypot(y[:, None], x)).astype(np.intp)
    return Rings(index, short // 2 + 1, 1.0 / (short * pixel_size_nm))


def spectrum(image: Image) -> NDArray[np.complex128]:
    """Fourier transform of an image, its mean taken off and its edges tapered, (Y, X).

    The taper is a Tukey window over `TAPERED_SHARE` of each edge (doi:10.1038/nmeth.2448): without
    it the jump between opposite edges, which all images of a field share, lies on the axes of the
    plane as a cross.
    """
    window = taper((image.shape[0], image.shape[1]))
    values = np.asarray(image, np.float64)
    mean = float(np.vdot(values, window)) / float(window.sum())
    transform: NDArray[np.complex128] = fft2((values - mean) * window)
    return transform


def taper(shape: tuple[int, int]) -> NDArray[np.float64]:
    """The window of `spectrum`, (Y, X)."""
    y, x = (tukey(side, 2.0 * TAPERED_SHARE) for side in shape)
    window: NDArray[np.float64] = y[:, None] * x
    return window


def independent_share(shape: tuple[int, int]) -> float:
    """Share of the coefficients that vary independently in noise after the taper."""
    squared = taper(shape) ** 2
    return float(squared.sum() ** 2 / (squared.size * (squared**2).sum()))


def check_image(image: Image, pixel_size_nm: float) -> None:
    """Refuse what has no rings.

    Raises
    ------
    ShapeError
        If the image is not two-dimensional with at least `MIN_SIDE_PX` pixels along each side.
    InputError
        If it holds NaN or infinite values or the pixel size is not positive.
    """
    if image.ndim != 2 or min(image.shape) < MIN_SIDE_PX:
        raise ShapeError(
            f"Fourier rings need an image of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} pixels, got "
            f"{'×'.join(map(str, image.shape))}; choose a larger field"
        )
    if not np.isfinite(image).all():
        raise InputError("the image holds NaN or infinite values; mask or repair them")
    if not (math.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise InputError(f"the pixel size must be positive, got {pixel_size_nm} nm")
