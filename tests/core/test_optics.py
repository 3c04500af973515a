import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from dlbi.core.errors import InputError
from dlbi.core.kernels import fill_profile, fill_profiles
from dlbi.core.optics import FWHM_PER_SIGMA, FwhmLaw, GaussianPSF, Halo, integrated_profile

centres_px = st.floats(-3.0, 12.0)
sigmas_px = st.floats(0.3, 3.0)


def compiled(kernel, centre_px, sigma_px, first, n):
    out = np.empty(n)
    kernel(centre_px, sigma_px, first, out)
    return out


@pytest.mark.parametrize(("centre_px", "sigma_px"), [(0.0, 1.1), (2.37, 0.4), (-1.5, 2.6)])
def test_integrated_profile_is_the_integral_of_the_density_over_each_pixel(centre_px, sigma_px):
    expected = [quad(norm(centre_px, sigma_px).pdf, k - 0.5, k + 0.5)[0] for k in range(-4, 8)]
    actual = integrated_profile(np.arange(-4, 8), centre_px, sigma_px)
    np.testing.assert_allclose(actual, expected, atol=1e-12)


@given(centres_px, sigmas_px)
def test_integrated_profile_sums_to_one(centre_px, sigma_px):
    assert integrated_profile(np.arange(-40, 50), centre_px, sigma_px).sum() == pytest.approx(1.0)


@settings(deadline=None)  # the first example compiles
@given(centres_px, sigmas_px, st.integers(-10, 5))
def test_compiled_profile_equals_the_reference(centre_px, sigma_px, first):
    reference = integrated_profile(first + np.arange(16), centre_px, sigma_px)
    actual = compiled(fill_profile, centre_px, sigma_px, first, 16)
    np.testing.assert_allclose(actual, reference, atol=1e-14)


@settings(deadline=None)
@given(centres_px, sigmas_px, st.integers(-12, 2))
def test_profile_and_derivative_of_a_window_near_the_centre(centre_px, sigma_px, offset):
    step, first = 1e-4, int(centre_px) + offset
    pixel = first + np.arange(10)
    share, slope = np.empty(10), np.empty(10)
    fill_profiles(centre_px, sigma_px, first, share, slope)
    np.testing.assert_allclose(share, integrated_profile(pixel, centre_px, sigma_px), atol=2e-7)
    up = integrated_profile(pixel, centre_px + step, sigma_px)
    down = integrated_profile(pixel, centre_px - step, sigma_px)
    np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-6)


def test_fwhm_is_the_width_at_half_height():
    sigma = GaussianPSF(422.4).sigma_nm
    assert norm(0.0, sigma).pdf(211.2) == pytest.approx(norm(0.0, sigma).pdf(0.0) / 2.0)
    assert pytest.approx(2.3548200450309493) == FWHM_PER_SIGMA
    assert GaussianPSF(422.4).sigma_px(160.0) == pytest.approx(sigma / 160.0)


@pytest.mark.parametrize("fwhm_nm", [0.0, -5.0, np.nan, np.inf])
def test_psf_rejects_absurd_widths(fwhm_nm):
    with pytest.raises(InputError, match="FWHM must be positive"):
        GaussianPSF(fwhm_nm)


@pytest.mark.parametrize(
    "law",
    [
        FwhmLaw(420.0, 0.1),
        FwhmLaw(420.0, 0.1, low_nm=400.0, high_nm=430.0),
        FwhmLaw(420.0, 0.2, high_nm=400.0),
    ],
)
def test_fwhm_table_holds_the_quantiles_of_the_truncated_law(law):
    draws = law.median_nm * np.exp(law.sigma_log * np.random.default_rng(1).normal(size=400_000))
    kept = np.sort(draws[(draws >= law.low_nm) & (draws <= law.high_nm)])
    q = (np.arange(32) + 0.5) / 32
    # An empirical quantile has standard error √(q (1 − q) / n) in probability.
    rank = np.searchsorted(kept, law.table(32)) / len(kept)
    z = (rank - q) / np.sqrt(q * (1 - q) / len(kept))
    assert np.abs(z).max() < 4.5


def test_fwhm_law_without_spread_repeats_the_median():
    np.testing.assert_array_equal(FwhmLaw(420.0).table(3), [420.0] * 3)


def test_a_halo_spreads_its_share_of_the_light():
    light = np.zeros((2, 81, 61), np.float32)
    light[0, 30, 25], light[1, 50, 40] = 100.0, 40.0
    seen = Halo(0.3, 400.0).around(light, 160.0)
    spread = gaussian_filter(light, (0.0, 2.5, 2.5), mode="reflect", truncate=8.0)
    np.testing.assert_allclose(seen, 0.7 * light + 0.3 * spread, atol=2e-4)
    np.testing.assert_allclose(seen.sum(axis=(1, 2)), [100.0, 40.0], rtol=1e-5)


@given(st.floats(0.0, 0.8), st.floats(100.0, 900.0), st.integers(0, 2**32))
def test_the_halo_of_an_image_is_what_was_spread(share, sigma_nm, seed):
    halo = Halo(share, sigma_nm)
    light = np.random.default_rng(seed).gamma(0.5, 10.0, (20, 31)).astype(np.float32)
    seen = halo.around(light, 160.0)
    np.testing.assert_allclose(
        seen - halo.part_of(seen, 160.0), (1.0 - share) * light, atol=3e-4 * light.max()
    )


def test_a_halo_without_light_changes_nothing():
    light = np.ones((3, 4), np.float32)
    assert Halo().around(light, 160.0) is light
    assert not Halo().part_of(light, 160.0).any()


@pytest.mark.parametrize(
    ("share", "sigma_nm", "says"),
    [(1.0, 400.0, "within 0 … 1, got 1"), (-0.1, 400.0, "within 0"), (np.nan, 400.0, "within 0"),
     (0.2, 0.0, "must be positive, got 0.0 nm"), (0.2, np.inf, "must be positive")],
)  # fmt: skip
def test_halo_rejects_what_no_optics_have(share, sigma_nm, says):
    with pytest.raises(InputError, match=says):
        Halo(share, sigma_nm)
