import numpy as np
import pytest

from dlbi.core.optics import integrated_profile
from dlbi.inference.measurement.covariance_fit import (
    Curve,
    Tails,
    alternative_fits,
    covariance_model,
    emitter_covariance,
    fit_covariance,
    light_covariance,
    psf_autocorrelation,
    variance_of,
)
from dlbi.inference.measurement.pixel_covariance import BlinkingCovariance

REACH, N_BLOCKS = 8, 12


def covariance(sigma_px, noise, seed, *, amplitude=1.0, defocus=0.0):
    """Covariances of a 40×40 field whose blocks have independent noise at each offset."""
    dy, dx = np.mgrid[: REACH + 1, -REACH : REACH + 1]
    n_pairs = ((40.0 - dy) * (40 - np.abs(dx))).astype(float)
    shape = covariance_model(dy.ravel(), dx.ravel(), sigma_px, defocus)[:, 0].reshape(dy.shape)
    scatter = np.random.default_rng(seed).normal(size=(N_BLOCKS, *dy.shape))
    blocks = amplitude * shape + noise * np.sqrt(1600 / n_pairs) * scatter
    return BlinkingCovariance(blocks, n_pairs)


def curve(*args, **options):
    return Curve.of(covariance(*args, **options), REACH)


@pytest.mark.parametrize("sigma_px", [0.3, 0.6, 1.12, 2.5])
def test_psf_autocorrelation_is_the_mean_over_sub_pixel_positions(sigma_px):
    distance = np.arange(6)
    pixel = np.arange(-40, 41)
    centre = (np.arange(200) + 0.5)[:, None] / 400
    first = integrated_profile(pixel, centre, sigma_px)
    expected = [
        (first * integrated_profile(pixel + d, centre, sigma_px)).sum(axis=1).mean()
        for d in distance
    ]
    np.testing.assert_allclose(psf_autocorrelation(distance, sigma_px), expected, atol=2e-6)


def test_psf_autocorrelation_is_even_and_sums_to_one():
    distance = np.arange(-30, 31)
    values = psf_autocorrelation(distance, 1.3)
    np.testing.assert_allclose(values, values[::-1], rtol=1e-7, atol=1e-13)
    assert values.sum() == pytest.approx(1.0, abs=1e-9)


def test_several_widths_at_once_are_each_of_them():
    """To the last digit or two: squares of single numbers and of arrays may round apart."""
    dy, dx = np.array([0, 1, 2, 4, 3]), np.array([2, 0, 1, 4, 0])
    widths, tails = np.geomspace(0.3, 2.8, 7), Tails(0.3, 2.0)
    together = light_covariance(dy, dx, widths, 0.1, tails)
    alone = [light_covariance(dy, dx, sigma, 0.1, tails) for sigma in widths]
    assert together.shape == (7, 5)
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_emitter_covariance_is_the_overlap_of_psfs_with_halos():
    """Of one emitter at every place in its pixel, seen by two pixels of each offset."""
    sigma, (share, spread) = 0.9, Tails(0.35, 2.2)
    dy, dx = np.array([0, 1, 0, 2, 5]), np.array([0, 0, 2, 3, 4])
    pixel, places = np.arange(-40, 41), (np.arange(20) + 0.5)[:, None] / 20

    def seen(d, width):
        return integrated_profile(pixel + d, places, width)

    def product(width, other):
        sums = [(seen(0, width) * seen(d, other)).sum(axis=1).mean() for d in np.arange(6)]
        return np.array(sums)[dy] * np.array(sums)[dx]

    wide = np.hypot(sigma, spread)
    overlap = (
        (1 - share) ** 2 * product(sigma, sigma)
        + 2 * share * (1 - share) * product(sigma, wide)
        + share**2 * product(wide, wide)
    )
    found = emitter_covariance(dy, dx, sigma, Tails(share, spread))
    np.testing.assert_allclose(found, overlap / overlap[0], atol=1e-5)


@pytest.mark.parametrize("defocus", [0.0, 0.15])
def test_misfit_rises_by_one_at_one_standard_error(defocus):
    """χ² near its minimum is (Δ log σ)² ÷ variance."""
    clean = curve(1.1, 0.01, 0, defocus=defocus)
    sigmas = 1.1 * np.exp(np.linspace(-0.05, 0.05, 401))
    best = sigmas[np.argmin(clean.misfit(sigmas, defocus))]
    step = 2.0 * np.sqrt(clean.log_variance(best, defocus))
    below, least, above = clean.misfit(best * np.exp([-step, 0.0, step]), defocus)
    assert least == 0.0
    assert (below + above) / 2 == pytest.approx(4.0, rel=0.05)


def test_log_variance_is_the_scatter_of_the_best_width():
    """200 covariances with fresh noise: within 25 %."""
    sigmas = 1.1 * np.exp(np.linspace(-0.4, 0.4, 101))
    best, said = [], []
    for seed in range(200):
        one = curve(1.1, 0.05, seed)
        best.append(sigmas[np.argmin(one.misfit(sigmas, 0.0))])
        said.append(one.log_variance(best[-1], 0.0))
    few = (2.2010 / 1.9600) ** 2  # Student's 95 % limit of 11 degrees of freedom ÷ the normal one
    assert np.mean(said) / few == pytest.approx(np.var(np.log(best)), rel=0.25)


def test_the_least_misfit_is_the_fit():
    for seed in range(10):
        one = curve(1.1, 0.03, seed, defocus=0.1)
        fit = fit_covariance(one)
        sigmas = fit.sigma_px * np.exp(np.linspace(-0.02, 0.02, 81))
        assert np.argmin(one.misfit(sigmas, fit.defocus)) == 40
        if fit.defocus > 0:  # the fit's own variance counts its own too
            assert variance_of(fit) > 0.99 * fit.sigma_px**2 * one.log_variance(*fit[:2])


def test_nothing_that_blinks_together_has_a_flat_misfit():
    anti = curve(1.1, 1e-3, 0, amplitude=-1.0)
    assert not anti.misfit(np.geomspace(0.5, 2.0, 9), 0.0).any()


def test_misfit_ignores_constant_row_and_column():
    plain = covariance(1.1, 0.02, 3)
    offset = np.full(plain.n_pairs.shape, 0.3)
    offset[0] += 0.2
    offset[:, REACH] += 0.1
    sigmas = np.geomspace(0.8, 1.5, 9)
    np.testing.assert_allclose(
        Curve.of(plain._replace(blocks=plain.blocks + offset), REACH).misfit(sigmas, 0.0),
        Curve.of(plain, REACH).misfit(sigmas, 0.0),
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_misfit_of_the_model_widens_the_error():
    """Light out of focus of 0.6 is beyond the model's: the core alone fits another width."""
    found = alternative_fits(covariance(1.1, 1e-4, 0, defocus=0.6), 1.1)
    assert np.sqrt(variance_of(*found)) > 3 * np.sqrt(variance_of(found[0]))
    assert abs(found[0].sigma_px - 1.1) < 3 * np.sqrt(variance_of(*found))
