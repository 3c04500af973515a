"""Map of the resolution: Fourier ring correlation in a window around each pixel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fft2, ifft2
from scipy.ndimage import uniform_filter
from scipy.signal.windows import tukey

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.evaluation.ring_correlation import CHANCE_SIGMA, THRESHOLD
from dlbi.evaluation.rings import Image, check_image, rings_of

WINDOW_PX = 49
"""Full width at half maximum of the window, pixels, if none is given."""

MIN_WINDOW_PX = 17

FINEST_PER_PX = 0.45
"""Middle of the finest band, cycles per pixel; Nyquist's frequency is 0.5."""

BAND_RATIO = 1.1
"""Ratio of the frequencies of neighbouring bands."""

BAND_WIDTH = 0.1
"""Standard deviation of a band in the logarithm of the frequency."""

BAND_OVERLAP = 2.63
"""By how much the variance of a mean over bands exceeds that over independent ones:
Σₖ exp(−½ (k · ln `BAND_RATIO` ÷ `BAND_WIDTH`)²) over all integers k."""

LEAST_CONTRAST = 0.05
"""Share of the strongest local contrast below which a place holds no signal."""

STRONGEST_PERCENTILE = 99.9


@dataclass(frozen=True, slots=True)
class ResolutionMap:
    """Local resolution of a pair of images.

    Parameters
    ----------
    resolution_nm : ndarray, (Y, X), float32
        NaN where there is no signal or the images do not agree even coarsely; `finest_nm` where
        they agree in all bands.
    grid : PixelGrid
    window_nm : float
        Full width at half maximum of the window, a pyramid that ends one such width away.
    coarsest_nm, finest_nm : float
        Limits of what the map can show.
    """

    resolution_nm: FloatImage
    grid: PixelGrid
    window_nm: float
    coarsest_nm: float
    finest_nm: float

    @property
    def median_nm(self) -> float | None:
        """Median over the places with a resolution; None if there is none."""
        known = self.resolution_nm[np.isfinite(self.resolution_nm)]
        return float(np.median(known)) if known.size else None

    @property
    def known_share(self) -> float:
        """Share of the field with a resolution."""
        return float(np.isfinite(self.resolution_nm).mean())

    def row(self) -> dict[str, float | None]:
        """The map in figures, as plain JSON values."""
        return {
            "median_nm": self.median_nm,
            "known_share": self.known_share,
            "window_nm": self.window_nm,
            "coarsest_nm": self.coarsest_nm,
            "finest_nm": self.finest_nm,
        }

    def __str__(self) -> str:
        """The map in words."""
        median = "nowhere known" if self.median_nm is None else f"median {self.median_nm:.0f} nm"
        return (
            f"local resolution in windows of {self.window_nm:.0f} nm: {median}, known in "
            f"{self.known_share:.0%} of the field, limits {self.finest_nm:.0f} and "
            f"{self.coarsest_nm:.0f} nm"
        )


def resolution_map(
    first: Image, second: Image, grid: PixelGrid, *, window_nm: float | None = None
) -> ResolutionMap:
    """1/7 resolution of two images around every pixel.

    Both images are cut into bands of frequency, each band correlated in a window around each
    pixel, and the resolution is where this correlation first falls below 1/7, interpolated between
    bands. It is the ring correlation of each window (as the rolling one of
    doi:10.1038/s41377-023-01321-0), with smooth windows and rings instead of blocks and edges.

    Parameters
    ----------
    first, second : ndarray, (Y, X)
        Two images of one field from independent data.
    grid : PixelGrid
    window_nm : float, optional
        Full width at half maximum of the window, rounded to an odd number of pixels; 49 if not
        given, or half the shorter side if that is less. Wider ones are less noisy and less local.

    Raises
    ------
    ShapeError, InputError
        If the images do not fit the grid, are too small or not finite, or the window is narrower
        than 17 pixels or wider than half the shorter side.

    Notes
    -----
    All that is said of `ring_correlation` holds here. A window holds fewer coefficients than the
    field, so single places scatter: on blurred white noise with a resolution of 5, 7 and 12 pixels
    the standard deviation was 3, 5 and 9 %. Up to one window beside structure that is much brighter
    or finer, a place shows the resolution of that structure.

    Spectra are divided by their ring means first, so that coarse structure does not leak into fine
    bands. Where the local contrast of either image is below 5 % of its strongest, there is no
    signal and the map is NaN.
    """
    for image in (first, second):
        check_image(image, grid.pixel_size_nm)
        if image.shape != grid.shape:
            raise ShapeError(f"image {image.shape} does not fit grid {grid.shape}")
    window_px = _window_px(grid, window_nm)
    frequencies = _frequencies(window_px)
    signal = _has_signal(first, window_px) & _has_signal(second, window_px)
    found = np.full(grid.shape, np.nan)
    going = signal.copy()
    last = np.ones(grid.shape)
    agreement = np.zeros(grid.shape)
    n_independent = _independent(frequencies, window_px)
    bands = (_bands(image, frequencies, window_px) for image in (first, second))
    for k, (a, b) in enumerate(zip(*bands, strict=True)):
        correlation = _local_correlation(a, b, window_px)
        agreement += n_independent[k] * correlation
        beyond_chance = agreement >= CHANCE_SIGMA * np.sqrt(
            BAND_OVERLAP * n_independent[: k + 1].sum()
        )
        falls = going & (correlation < THRESHOLD)
        ends = falls & beyond_chance & (last >= THRESHOLD)
        fall = (last - THRESHOLD)[ends] / (last - correlation)[ends]
        found[ends] = 1.0 / (frequencies[k] * BAND_RATIO ** (fall - 1.0))
        going &= ~falls
        last = correlation
    found[going] = 1.0 / frequencies[-1]
    pixel = grid.pixel_size_nm
    return ResolutionMap(
        (found * pixel).astype(np.float32),
        grid,
        window_nm=window_px * pixel,
        coarsest_nm=pixel / frequencies[0],
        finest_nm=pixel / frequencies[-1],
    )


def _window_px(grid: PixelGrid, window_nm: float | None) -> int:
    longest = min(grid.shape) // 2
    if window_nm is None:
        return _odd(min(WINDOW_PX, longest - 1))
    window_px = _odd(window_nm / grid.pixel_size_nm)
    if not MIN_WINDOW_PX <= window_px <= longest:
        raise InputError(
            f"the window must have {MIN_WINDOW_PX} to {longest} pixels of "
            f"{grid.pixel_size_nm:g} nm here, got {window_nm:g} nm; choose another one"
        )
    return window_px


def _odd(number: float) -> int:
    return 2 * round((number - 1) / 2) + 1


def _frequencies(window_px: int) -> NDArray[np.float64]:
    """Middles of the bands, cycles per pixel: from two periods in the window to near Nyquist."""
    n = int(np.log(FINEST_PER_PX * window_px / 2.0) / np.log(BAND_RATIO)) + 1
    return FINEST_PER_PX / BAND_RATIO ** np.arange(n - 1, -1, -1, dtype=np.float64)


def _independent(frequencies: NDArray[np.float64], window_px: int) -> NDArray[np.float64]:
    """Independent coefficients of each band inside the window: area × area in frequency."""
    window = (1.5 * window_px) ** 2
    independent: NDArray[np.float64] = (
        window * 2.0 * np.pi * frequencies**2 * BAND_WIDTH * np.sqrt(2.0 * np.pi)
    )
    return independent


def _bands(
    image: Image, frequencies: NDArray[np.float64], margin_px: int
) -> Iterator[NDArray[np.float64]]:
    """The whitened image in each band, (Y, X)."""
    transform = fft2(_framed(image, margin_px))
    shape = (transform.shape[0], transform.shape[1])
    index = rings_of(shape, 1.0).index
    power = np.bincount(index.ravel(), (np.abs(transform) ** 2).ravel())
    level = np.sqrt(power / np.maximum(np.bincount(index.ravel()), 1))
    transform /= np.where(level > 0.0, level, 1.0)[index]
    y, x = (np.fft.fftfreq(side) for side in shape)
    radius = np.hypot(y[:, None], x)
    radius[0, 0] = np.finfo(np.float64).tiny
    inside = (slice(margin_px, -margin_px),) * 2
    for frequency in frequencies:
        band = np.exp(-0.5 * (np.log(radius / frequency) / BAND_WIDTH) ** 2)
        yield ifft2(transform * band).real[inside]


def _framed(image: Image, margin_px: int) -> NDArray[np.float64]:
    """The image less its mean in a mirrored frame that fades to 0, so that no edge is a jump."""
    values = np.asarray(image, np.float64)
    framed = np.pad(values - values.mean(), margin_px, mode="symmetric")
    y, x = (tukey(side, 2.0 * margin_px / side) for side in framed.shape)
    faded: NDArray[np.float64] = framed * y[:, None] * x
    return faded


def _local_correlation(
    a: NDArray[np.float64], b: NDArray[np.float64], window_px: int
) -> NDArray[np.float64]:
    power = np.sqrt(_local_mean(a * a, window_px) * _local_mean(b * b, window_px))
    cross = _local_mean(a * b, window_px)
    return np.divide(cross, power, out=np.zeros_like(power), where=power > 0.0)


def _local_mean(values: NDArray[np.float64], window_px: int) -> NDArray[np.float64]:
    """Mean under a pyramid: two boxes in a row."""
    once = uniform_filter(values, window_px)
    twice: NDArray[np.float64] = uniform_filter(once, window_px)
    return twice


def _has_signal(image: Image, window_px: int) -> NDArray[np.bool_]:
    values = np.asarray(image, np.float64)
    values = values - values.mean()
    variance = _local_mean(values**2, window_px) - _local_mean(values, window_px) ** 2
    contrast = np.sqrt(np.maximum(variance, 0.0))
    strongest = np.percentile(contrast, STRONGEST_PERCENTILE)
    signal: NDArray[np.bool_] = (contrast > 0.0) & (contrast >= LEAST_CONTRAST * strongest)
    return signal
