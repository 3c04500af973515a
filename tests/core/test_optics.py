import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from dlbi.core.errors import InputError
from dlbi.core.kernels import fill_profile, fill_profiles
from dlbi.core.optics import FWHM_PER_SIGMA, FwhmLaw, GaussianPSF, integrated_profile

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
