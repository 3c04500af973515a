"""Fourier ring correlation: up to which spatial frequency two images of a field agree."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from dlbi.core.errors import ShapeError
from dlbi.evaluation.reprojection import is_constant
from dlbi.evaluation.rings import Image, check_image, independent_share, rings_of, spectrum

THRESHOLD = 1 / 7
"""Correlation at the resolution (Nieuwenhuizen et al. 2013)."""

TRUTH_THRESHOLD = math.sqrt(THRESHOLD)
"""The same for an image and the truth."""

SMOOTHED_SHARE = 1 / 20
"""Share of the curve over which it is smoothed by a local parabola, as in the same paper; where the
curve bends, a straight line would lift it, and with it the resolution."""

MIN_SMOOTHED_RINGS = 5

CHANCE_SIGMA = 3.0
"""Standard deviations of chance that the agreement below the resolution must exceed."""


@dataclass(frozen=True, slots=True)
class RingCorrelation:
    """Agreement of two images by spatial frequency.

    Parameters
    ----------
    frequency_per_nm : ndarray, (R,)
        From one ring above zero to the Nyquist frequency.
    correlation : ndarray, (R,)
        −1 … 1; 0 where a ring holds no power.
    smoothed : ndarray, (R,)
        The curve whose crossing is the resolution.
    n_coefficients : ndarray, (R,)
        Fourier coefficients in each ring; chance alone has a standard deviation of about
        1 ÷ their square root.
    resolution_nm : float or None
        1 ÷ the frequency at which `smoothed` first falls below the threshold.
    reason : str
        Why there is no resolution; empty if there is one.
    """

    frequency_per_nm: NDArray[np.float64]
    correlation: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    n_coefficients: NDArray[np.intp]
    resolution_nm: float | None
    reason: str = ""

    def __str__(self) -> str:
        """The resolution, or why there is none."""
        if self.resolution_nm is None:
            return f"no resolution: {self.reason}"
        return f"{self.resolution_nm:.0f} nm"


def ring_correlation(
    first: Image, second: Image, pixel_size_nm: float, *, threshold: float = THRESHOLD
) -> RingCorrelation:
    """Fourier ring correlation and its 1/7 resolution (doi:10.1038/nmeth.2448).

    FRC(q) = Re Σ A·B* ÷ √(Σ|A|² Σ|B|²), summed over the ring of spatial frequency q, of the
    tapered images (`rings.spectrum`). With equal signal spectra S and independent noise N in both,
    its expectation is S ÷ (S + N); at 1/7 the signal has a sixth of the power of the noise.

    Parameters
    ----------
    first, second : ndarray, (Y, X)
        Two images of one field, made from independent data, such as odd and even frames. Scale and
        offset of either do not matter.
    pixel_size_nm : float
    threshold : float
        Correlation at the resolution. An image that is compared with a noiseless truth correlates
        by √(S ÷ (S + N)), so `TRUTH_THRESHOLD` asks of it what 1/7 asks of two images.

    Raises
    ------
    ShapeError, InputError
        If the images differ in shape, are smaller than 32×32 or are not finite.

    Notes
    -----
    This measures repeatability, and repeatability is not truth:

    - Whatever both images share counts as resolved: fixed-pattern noise, a common background,
      and above all a common prior. A network, a deconvolution or any other reconstruction that
      invents the same detail twice agrees with itself down to the pixel.
    - Odd and even frames show the same fluorophores, and an emission that lasts longer than a frame
      lies in both. The halves are independent in their noise, not in what was labelled.
    - The value belongs to images of half the data each; that of all the data is better.
    - A smooth or blank image has no signal at high frequencies, so the curve ends where its
      structure ends, however good the microscope; `reason` says when nothing agrees at all.
    - Images that were moved against each other lose correlation at high frequencies.
    """
    for image in (first, second):
        check_image(image, pixel_size_nm)
    if first.shape != second.shape:
        raise ShapeError(
            f"the two images differ in shape, {first.shape} and {second.shape}; cut both to the "
            "same field"
        )
    shape = (first.shape[0], first.shape[1])
    rings = rings_of(shape, pixel_size_nm)
    a, b = spectrum(first), spectrum(second)
    cross = rings.sum((a * b.conj()).real)
    power = np.sqrt(rings.sum(np.abs(a) ** 2) * rings.sum(np.abs(b) ** 2))
    curve = np.divide(cross, power, out=np.zeros_like(cross), where=power > 0.0)[1:]
    n_coefficients = rings.counts()[1:]
    smoothed = smooth(curve)
    if is_constant(first) or is_constant(second):
        resolution, reason = None, "an image is constant"
    else:
        n_independent = n_coefficients * independent_share(shape)
        resolution, reason = _resolution(
            rings.width_per_nm, curve, smoothed, n_independent, threshold
        )
    return RingCorrelation(
        rings.frequency_per_nm[1:], curve, smoothed, n_coefficients, resolution, reason
    )


def smooth(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Local fits of a parabola over `SMOOTHED_SHARE` of the rings, at least five."""
    n = max(MIN_SMOOTHED_RINGS, 2 * round(SMOOTHED_SHARE * curve.size / 2) + 1)
    smoothed: NDArray[np.float64] = savgol_filter(curve, n, polyorder=2, mode="interp")
    return smoothed


def _resolution(
    width_per_nm: float,
    curve: NDArray[np.float64],
    smoothed: NDArray[np.float64],
    n_independent: NDArray[np.floating],
    threshold: float,
) -> tuple[float | None, str]:
    below = np.flatnonzero(smoothed < threshold)
    if below.size == 0:
        return None, (
            f"above {threshold:.2f} up to the Nyquist frequency; the images agree down to the "
            "pixel, which independent data rarely do"
        )
    end = int(below[0])
    agreement = float(np.average(curve[: end + 1], weights=n_independent[: end + 1]))
    chance = 1.0 / math.sqrt(n_independent[: end + 1].sum())
    if end == 0 or agreement < CHANCE_SIGMA * chance:
        return None, (
            f"below {threshold:.2f} from the coarsest rings on; the images do not agree beyond "
            "chance"
        )
    fall = (smoothed[end - 1] - threshold) / (smoothed[end - 1] - smoothed[end])
    return 1.0 / (width_per_nm * (end + float(fall))), ""
