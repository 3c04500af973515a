"""Decorrelation analysis against brute force and against images with a sharp cut-off."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import InputError
from dlbi.evaluation.decorrelation import decorrelation
from dlbi.evaluation.rings import spectrum

NM = 20.0


def cut_off(per_px, noise, *, side=256, seed=1):
    """White noise of unit variance below a frequency, and weak white noise everywhere."""
    rng = np.random.default_rng(seed)
    y, x = np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)
    spectrum = np.fft.fft2(rng.standard_normal((side, side))) * (np.hypot(y, x) <= per_px)
    return np.fft.ifft2(spectrum).real + noise * rng.standard_normal((side, side))


def test_curve_is_the_correlation_with_the_phases_inside_a_circle():
    image = cut_off(0.2, 0.3, side=48)
    transform = spectrum(image)
    y, x = np.fft.fftfreq(48)[:, None] * 48, np.fft.fftfreq(48) * 48
    radius = np.rint(np.hypot(y, x))
    inside = (radius >= 1) & (radius <= 24)
    found = decorrelation(image, NM)
    for ring in (1, 5, 13, 24):
        mask = (radius >= 1) & (radius <= ring)
        phases = np.where(mask, transform / np.abs(transform), 0.0)
        band = np.where(inside, transform, 0.0)
        cross = (band * phases.conj()).sum().real
        expected = cross / np.sqrt((np.abs(band) ** 2).sum() * (np.abs(phases) ** 2).sum())
        assert found.correlation[ring - 1] == pytest.approx(expected)
        assert found.frequency_per_nm[ring - 1] == pytest.approx(ring / (48 * NM))


@pytest.mark.parametrize("per_px", [0.08, 0.15, 0.3])
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_a_sharp_cut_off_is_found(per_px, noise):
    found = decorrelation(cut_off(per_px, noise), NM)
    assert found.resolution_nm == pytest.approx(NM / per_px, rel=0.03)
    assert found.reason == ""


def test_structure_that_is_blurred_more_resolves_less():
    rng = np.random.default_rng(2)
    points = np.zeros((256, 256))
    points[rng.integers(0, 256, 400), rng.integers(0, 256, 400)] = 100.0
    sizes = [
        decorrelation(gaussian_filter(points, s) + 0.05 * rng.standard_normal((256, 256)), NM)
        for s in (1.5, 2.5, 4.0)
    ]
    found = [size.resolution_nm for size in sizes]
    assert found == sorted(found)
    assert found[2] > 1.8 * found[0]


def test_more_noise_lowers_the_peak():
    peaks = [decorrelation(cut_off(0.1, noise), NM).peak for noise in (0.01, 0.3, 1.0)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[2] < 0.6 * peaks[0]


def test_only_the_pixel_has_a_scale():
    image = cut_off(0.15, 0.1)
    plain = decorrelation(image, NM)
    assert decorrelation(40.0 * image + 7.0, NM).resolution_nm == pytest.approx(plain.resolution_nm)
    assert decorrelation(image, 3.0 * NM).resolution_nm == pytest.approx(3 * plain.resolution_nm)


@pytest.mark.parametrize("kind", ["points", "noise"])
def test_an_image_without_a_cut_off_says_so(kind):
    """The known failure on sparse images: single pixels fill the spectrum."""
    rng = np.random.default_rng(3)
    image = rng.standard_normal((128, 128))
    if kind == "points":
        image = np.zeros((128, 128))
        image[rng.integers(0, 128, 60), rng.integers(0, 128, 60)] = 1.0
    found = decorrelation(image, NM)
    assert found.resolution_nm is None
    assert "no maximum" in found.reason
    assert str(found).startswith("no resolution: no maximum")


def test_a_constant_image_has_no_resolution():
    found = decorrelation(np.full((64, 64), 3.0, np.float32), NM)
    assert (found.resolution_nm, found.peak, found.reason) == (None, 0.0, "the image is constant")


def test_an_image_with_holes_is_refused():
    image = cut_off(0.1, 0.1, side=64)
    image[3, 4] = np.nan
    with pytest.raises(InputError, match="NaN"):
        decorrelation(image, NM)
