"""Image decorrelation analysis: the resolution of a single image, without a second one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlbi.evaluation.reprojection import is_constant
from dlbi.evaluation.rings import Image, Rings, check_image, rings_of, spectrum

N_FILTERS = 24
"""High-pass filters that are tried beside the unfiltered image."""

WEAKEST_FILTER_SHARE, STRONGEST_FILTER_PX = 0.25, 0.3
"""Widths of the blur that the filters take off: from a share of the shorter side to pixels."""

LEAST_FALL = 5e-4
"""How far the curve must fall behind a maximum for it to count (the authors' program)."""

LEAST_PEAK = 0.05
"""Height below which a maximum is noise (the authors' program)."""


@dataclass(frozen=True, slots=True)
class Decorrelation:
    """What decorrelation analysis finds in one image.

    Parameters
    ----------
    frequency_per_nm : ndarray, (R,)
        Radius of the mask.
    correlation : ndarray, (R,)
        Of the image with its phases inside the mask, unfiltered.
    peak : float
        Highest maximum of `correlation`; grows with the signal-to-noise ratio. 0 without maximum.
    resolution_nm : float or None
        1 ÷ the highest frequency at which a filtered image has a maximum.
    reason : str
        Why there is no resolution; empty if there is one.
    """

    frequency_per_nm: NDArray[np.float64]
    correlation: NDArray[np.float64]
    peak: float
    resolution_nm: float | None
    reason: str = ""

    def __str__(self) -> str:
        """The resolution, or why there is none."""
        if self.resolution_nm is None:
            return f"no resolution: {self.reason}"
        return f"{self.resolution_nm:.0f} nm"


def decorrelation(image: Image, pixel_size_nm: float) -> Decorrelation:
    """Resolution by decorrelation analysis (Descloux et al. 2019, doi:10.1038/s41592-019-0515-7).

    The image is correlated with its phases alone (every Fourier coefficient divided by its
    modulus) inside a circle that grows. Phases of signal add to the correlation, those of noise
    only to its norm, so it has a maximum where the signal ends in noise. High-pass filters move the
    maximum outwards; the farthest one is the cut-off frequency.

    Parameters
    ----------
    image : ndarray, (Y, X)
        At least 32×32 pixels. Scale and offset do not matter.
    pixel_size_nm : float

    Raises
    ------
    ShapeError, InputError
        If the image is too small or not finite.

    Notes
    -----
    It tells how fine the detail of an image is, not whether the detail is true: noise that a
    deconvolution sharpened, or structure that a network invented, counts as signal. Images of
    separate points (sparse localisations, one pixel each) have detail up to the Nyquist frequency
    and no maximum below it: `resolution_nm` is then None, as the pixel hides the true figure.
    """
    check_image(image, pixel_size_nm)
    rings = rings_of((image.shape[0], image.shape[1]), pixel_size_nm)
    frequency = rings.frequency_per_nm[1:]
    if is_constant(image):
        zeros = np.zeros_like(frequency)
        return Decorrelation(frequency, zeros, 0.0, None, "the image is constant")
    modulus = np.abs(spectrum(image))
    sums = rings.sum(modulus), rings.sum(modulus**2), rings.counts()
    unfiltered = _curve(*sums)
    filters = [np.ones(rings.n_rings), *_high_passes(rings)]
    maxima = [_maximum(_curve(sums[0] * f, sums[1] * f**2, sums[2])) for f in filters]
    found = [place for place, height in maxima if place > 0 and height > LEAST_PEAK]
    peak = maxima[0][1] if maxima[0][0] > 0 else 0.0
    if not found:
        return Decorrelation(
            frequency,
            unfiltered,
            peak,
            None,
            "no maximum below the Nyquist frequency; noise or separate points fill the spectrum",
        )
    return Decorrelation(frequency, unfiltered, peak, 1.0 / float(frequency[max(found)]))


def _curve(
    modulus: NDArray[np.float64], power: NDArray[np.float64], counts: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Correlation with the phases inside ring 1, 2, …; from sums over rings."""
    inside, n_inside = modulus[1:].cumsum(), counts[1:].cumsum()
    curve: NDArray[np.float64] = inside / np.sqrt(power[1:].sum() * n_inside)
    return curve


def _high_passes(rings: Rings) -> list[NDArray[np.float64]]:
    """1 − Gaussian low-pass of each width, by ring."""
    side = 2 * (rings.n_rings - 1)
    sigmas = np.geomspace(WEAKEST_FILTER_SHARE * side, STRONGEST_FILTER_PX, N_FILTERS)
    per_px = np.arange(rings.n_rings) / side
    return [1.0 - np.exp(-2.0 * (np.pi * sigma * per_px) ** 2) for sigma in sigmas]


def _maximum(curve: NDArray[np.float64]) -> tuple[int, float]:
    """Place and height of the highest value that the curve falls behind; place 0 if none."""
    for end in range(curve.size, 1, -1):
        place = int(curve[:end].argmax())
        if place == 0:
            break
        if curve[place] - curve[place:end].min() >= LEAST_FALL:
            return place, float(curve[place])
    return 0, 0.0
