"""Fourier ring correlation against brute force and against fields with known spectra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import InputError, ShapeError
from dlbi.evaluation.ring_correlation import TRUTH_THRESHOLD, ring_correlation, smooth
from dlbi.evaluation.rings import independent_share, taper

NM = 20.0


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).standard_normal((2, 256, 256))


# The curve


def test_curve_is_the_correlation_of_tapered_spectra_ring_by_ring():
    first, second = np.random.default_rng(1).standard_normal((2, 32, 40)) + 5.0
    window = taper(first.shape)
    a, b = (
        np.fft.fft2((image - (image * window).sum() / window.sum()) * window)
        for image in (first, second)
    )
    cross, power_a, power_b = np.zeros((3, 17))
    for (row, column), coefficient in np.ndenumerate(a):
        y, x = (row + 16) % 32 - 16, ((column + 20) % 40 - 20) * 32 / 40
        ring = round(float(np.hypot(y, x)))
        if ring <= 16:
            other = b[row, column]
            cross[ring] += (coefficient * other.conjugate()).real
            power_a[ring] += abs(coefficient) ** 2
            power_b[ring] += abs(other) ** 2
    found = ring_correlation(first, second, NM)
    expected = (cross / np.sqrt(power_a * power_b))[1:]
    np.testing.assert_allclose(found.correlation, expected, atol=1e-12)
    np.testing.assert_allclose(found.frequency_per_nm, np.arange(1, 17) / (32 * NM))


@pytest.mark.parametrize("shape", [(256, 256), (192, 288)])
def test_noisy_copies_have_the_correlation_of_their_spectra(texture, shape):
    """Expectation S ÷ (S + N), scatter (1 − FRC²) ÷ √n."""
    field = texture(sigma_px=2.5, noise=0.15)
    found = ring_correlation(*field.pair(shape, np.random.default_rng(5)), NM)
    rings = slice(8, None)
    expected = field.expected_frc(found.frequency_per_nm * NM)[rings]
    n = found.n_coefficients[rings] * independent_share(shape)
    z = (found.correlation[rings] - expected) * np.sqrt(n) / (1.0 - expected**2)
    assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
    assert 0.75 < z.std() < 1.3


def test_noise_alone_scatters_around_zero_as_chance_says(noise):
    found = ring_correlation(*noise, NM)
    z = found.correlation * np.sqrt(found.n_coefficients * independent_share(noise[0].shape))
    assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
    assert 0.8 < z.std() < 1.2


def test_an_image_agrees_with_itself_and_not_with_its_negative(noise):
    np.testing.assert_allclose(ring_correlation(noise[0], noise[0], NM).correlation, 1.0)
    np.testing.assert_allclose(ring_correlation(noise[0], -noise[0], NM).correlation, -1.0)


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3))
def test_scale_and_offset_of_an_image_do_not_matter(scale, offset):
    first, second = np.random.default_rng(2).standard_normal((2, 48, 48)) + np.eye(48)
    plain = ring_correlation(first, second, NM)
    moved = ring_correlation(scale * first + offset, second, NM)
    np.testing.assert_allclose(moved.correlation, plain.correlation, atol=1e-8)


def test_a_jump_between_opposite_edges_is_not_agreement(noise):
    """Without a taper, the ramp that both share lies on the axes up to the Nyquist frequency."""
    ramp = 30.0 * np.linspace(-1.0, 1.0, 256)[:, None]
    found = ring_correlation(noise[0] + ramp, noise[1] + ramp, NM)
    assert np.abs(found.correlation[40:]).mean() < 0.05


# The resolution


@pytest.mark.parametrize("sigma_px", [2.0, 3.5])
@pytest.mark.parametrize("level", [0.03, 0.1])
def test_resolution_is_where_signal_has_a_sixth_of_the_noise(texture, sigma_px, level):
    """Four pairs, each with a scatter of up to 3 %."""
    field = texture(sigma_px, level)
    rng = np.random.default_rng(1)
    found = [ring_correlation(*field.pair((256, 256), rng), NM) for _ in range(4)]
    mean_nm = np.mean([f.resolution_nm for f in found])
    assert mean_nm == pytest.approx(NM * field.resolution_px, rel=0.05)
    assert found[0].reason == ""
    assert str(found[0]) == f"{found[0].resolution_nm:.0f} nm"


def test_an_image_is_true_as_far_as_two_of_them_agree(texture):
    """Against the noiseless image the correlation is the root, and so is its threshold."""
    rng = np.random.default_rng(3)
    clean, _ = texture(2.5, 0.0).pair((256, 256), rng)
    noisy = clean + 0.1 * rng.standard_normal(clean.shape)
    found = ring_correlation(noisy, clean, NM, threshold=TRUTH_THRESHOLD)
    assert found.resolution_nm == pytest.approx(NM * texture(2.5, 0.1).resolution_px, rel=0.05)


def test_resolution_scales_with_the_pixel(texture):
    pair = texture(2.0, 0.1).pair((96, 96), np.random.default_rng(1))
    small, large = (ring_correlation(*pair, nm).resolution_nm for nm in (10.0, 160.0))
    assert large == pytest.approx(16.0 * small)


def test_crossing_is_read_between_rings(texture):
    """The smoothed curve first falls through 1/7 at the frequency reported."""
    found = ring_correlation(*texture(2.0, 0.1).pair((64, 64), np.random.default_rng(4)), NM)
    there = np.interp(1.0 / found.resolution_nm, found.frequency_per_nm, found.smoothed)
    assert there == pytest.approx(1.0 / 7.0)
    assert (found.smoothed[found.frequency_per_nm < 1.0 / found.resolution_nm] > 1.0 / 7.0).all()


def test_parabolas_are_not_bent_by_smoothing():
    parabola = np.linspace(1.0, 0.0, 200) ** 2
    np.testing.assert_allclose(smooth(parabola), parabola, atol=1e-12)
    noise = np.random.default_rng(1).standard_normal(200)
    assert smooth(noise).std() < 0.6 * noise.std()


# No resolution, and why


def test_noise_has_no_resolution_by_chance():
    """On 64×64 px single rings exceed 1/7 often; that is not yet agreement beyond chance."""
    rng = np.random.default_rng(11)
    found = [ring_correlation(*rng.standard_normal((2, 64, 64)), NM) for _ in range(60)]
    assert sum(f.resolution_nm is not None for f in found) <= 1
    assert any((f.correlation[:3] > 1.0 / 7.0).any() for f in found)
    assert all("below 0.14" in f.reason for f in found if f.resolution_nm is None)


def test_images_that_agree_down_to_the_pixel_have_no_resolution(noise):
    found = ring_correlation(noise[0], noise[0], NM)
    assert found.resolution_nm is None
    assert "above 0.14 up to the Nyquist frequency" in found.reason
    assert str(found).startswith("no resolution: above")


def test_what_both_images_share_counts_as_resolved(texture):
    """The known failure: fixed-pattern noise, or a prior, hides where the signal ends."""
    rng = np.random.default_rng(9)
    first, second = texture(3.0, 0.05).pair((128, 128), rng)
    shared = 0.05 * rng.standard_normal((128, 128))
    assert ring_correlation(first, second, NM).resolution_nm is not None
    found = ring_correlation(first + shared, second + shared, NM)
    assert found.correlation[-20:].mean() == pytest.approx(0.5, abs=0.08)
    assert found.resolution_nm is None


def test_a_blank_image_has_no_resolution(noise):
    found = ring_correlation(np.zeros((256, 256)), noise[0], NM)
    assert (found.resolution_nm, found.reason) == (None, "an image is constant")
    assert not found.correlation.any()


# Bad input


@pytest.mark.parametrize(
    ("first", "second", "nm", "says"),
    [
        (np.eye(40), np.eye(41), NM, "differ in shape"),
        (np.eye(31), np.eye(31), NM, "at least 32×32"),
        (np.zeros((2, 40, 40)), np.zeros((2, 40, 40)), NM, "at least 32×32"),
        (np.full((40, 40), np.nan), np.eye(40), NM, "NaN"),
        (np.eye(40), np.eye(40), 0.0, "must be positive"),
    ],
)
def test_images_that_cannot_be_compared(first, second, nm, says):
    with pytest.raises((InputError, ShapeError), match=says):
        ring_correlation(first, second, nm)
