"""Photon transfer on movies from simulated cameras: what the fit finds against what they do."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.microscope import Camera
from dlbi.core.optics import integrated_profile
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.measurement.noise import NoiseModel, counted, fit_noise

SCMOS = Camera(offset_adu=100.0, adu_per_electron=2.0, read_noise_e=1.6)
EMCCD = Camera(
    offset_adu=100.0, adu_per_electron=0.1, em_gain=100.0, quantum_efficiency=0.9, read_noise_e=30.0
)
GAUSSIAN = Camera(offset_adu=100.0, read_noise_e=10.0, shot_noise=False)
GRID = PixelGrid((32, 32), 160.0)
SPARSE, DENSE = (60, 300.0), (1500, 60.0)


@pytest.fixture(scope="module", params=[SPARSE, DENSE], ids=["sparse", "dense"])
def photons(request, known_movie):
    """Expected photons of blinking emitters, half of them in a band, on a background of 5."""
    n, flux = request.param
    rng = np.random.default_rng(1)
    y, x = rng.uniform(-0.5, 31.5, (2, n))
    y[: n // 2] = rng.uniform(10.0, 18.0, n // 2)
    movie = known_movie(
        y, x, GRID.shape, 100, chain=BlinkingChain(0.79, 0.305), flux=flux, noise=0.0
    )
    return movie.frames + np.float32(5.0)


def exposed(camera, photons, seed=11):
    return ImageStack(camera.expose(photons, np.random.default_rng(seed)), GRID)


@pytest.mark.parametrize(
    ("camera", "gain", "gain_error", "variance_error"),
    [(SCMOS, 2.0, 0.10, 0.10), (EMCCD, 20.0, 0.12, 0.20), (GAUSSIAN, 0.0, 0.35, 0.10)],
    ids=["scmos", "emccd", "gaussian"],
)
def test_variance_and_gain_are_those_of_the_camera(
    photons, camera, gain, gain_error, variance_error
):
    """Variance from the 5 % darkest to the 5 % brightest pixels; EM gain doubles shot noise."""
    model = fit_noise(exposed(camera, photons))
    assert model.gain == pytest.approx(gain, rel=gain_error, abs=gain_error)
    level = np.quantile(photons, [0.05, 0.5, 0.8, 0.95])
    adu = camera.expected_adu(level).astype(np.float32)
    np.testing.assert_allclose(model.variance(adu), camera.variance_adu(level), rtol=variance_error)


def test_blinking_is_not_taken_for_noise(photons):
    """Emitters far brighter than the noise make the temporal variance useless, not this one."""
    stack = exposed(GAUSSIAN, photons)
    bright = photons.mean(axis=0) > np.quantile(photons.mean(axis=0), 0.9)
    temporal = stack.data.var(axis=0)[bright].mean()
    model = fit_noise(stack)
    assert temporal > 2.5 * 100.0
    np.testing.assert_allclose(model.variance(stack.mean()[bright]), 100.0, rtol=0.15)


@pytest.mark.parametrize("seed", range(3))
def test_constant_noise_is_the_same_everywhere(seed):
    """Within 8 % in every pixel, although all levels are the same but for noise."""
    frames = np.random.default_rng(seed).normal(500.0, 10.0, (100, 32, 32)).astype(np.float32)
    stack = ImageStack(frames, GRID)
    variance = fit_noise(stack).variance(stack.mean())
    assert variance.mean() == pytest.approx(100.0, rel=0.03)
    np.testing.assert_allclose(variance, 100.0, rtol=0.08)


def test_scaling_the_counts_scales_the_model(photons):
    """Counts × 3 + 40: gain × 3, variance × 9 at the moved level."""
    stack = exposed(SCMOS, photons)
    model = fit_noise(stack)
    moved = fit_noise(ImageStack(3.0 * stack.data + 40.0, GRID))
    assert moved.gain == pytest.approx(3.0 * model.gain, rel=1e-3)
    level = np.array([120.0, 200.0], np.float32)
    np.testing.assert_allclose(
        moved.variance(3.0 * level + 40.0), 9.0 * model.variance(level), rtol=1e-3
    )


def test_variance_stays_positive_below_the_darkest_level():
    model = NoiseModel(read=-190.0, gain=2.0, least=3.0)
    np.testing.assert_allclose(
        model.variance(np.array([50.0, 96.0, 100.0], np.float32)), [3.0, 3.0, 10.0]
    )


def test_movies_without_noise_give_a_small_positive_variance():
    flat = np.full((10, 16, 16), 7.0, np.float32)
    model = fit_noise(ImageStack(flat, PixelGrid((16, 16), 160.0)))
    variance = model.variance(flat[0])
    assert (variance > 0).all()
    assert np.isfinite(1.0 / variance).all()


@pytest.mark.parametrize("shape", [(20, 16, 16), (60, 8, 8), (10, 8, 8), (2, 16, 16)])
def test_variance_of_small_movies(shape):
    """Mean over ten movies within 15 %."""
    variance = [
        fit_noise(
            ImageStack(
                np.random.default_rng(seed).normal(100.0, 5.0, shape).astype(np.float32),
                PixelGrid(shape[1:], 160.0),
            )
        ).variance(np.array([100.0], np.float32))
        for seed in range(10)
    ]
    assert np.mean(variance) == pytest.approx(25.0, rel=0.15)


# Noise that neighbours in a row share.


def smeared(smear, shape=(60, 40, 40), seed=0):
    """White noise of 400 counts² of which a share `smear` arrives one pixel late."""
    noise = np.random.default_rng(seed).normal(0.0, 20.0, shape)
    frames = 500.0 + (1.0 - smear) * noise + smear * np.roll(noise, 1, axis=2)
    return ImageStack(frames.astype(np.float32), PixelGrid(shape[1:], 160.0))


def exact(smear):
    """Variance and correlation of neighbours of that noise."""
    variance = (1.0 - smear) ** 2 + smear**2
    return 400.0 * variance, smear * (1.0 - smear) / variance


@pytest.mark.parametrize("smear", [0.1, 0.15, 0.3])
@pytest.mark.parametrize("shape", [(60, 40, 40), (60, 24, 64)], ids=["square", "wide"])
def test_smeared_noise_is_found_with_its_correlation(smear, shape):
    """Variance within 5 %; uncorrected it would be 14 to 48 % too small."""
    model = fit_noise(smeared(smear, shape))
    variance, correlation = exact(smear)
    assert model.row_correlation == pytest.approx(correlation, abs=0.03)
    assert model.variance(np.array([500.0], np.float32))[0] == pytest.approx(variance, rel=0.05)


def test_noise_along_columns_or_both_ways_is_not_of_a_register():
    """Blinking under a PSF correlates both ways."""
    frames = smeared(0.2).data
    turned = ImageStack(np.ascontiguousarray(frames.swapaxes(1, 2)), PixelGrid((40, 40), 160.0))
    assert fit_noise(turned).row_correlation == 0.0
    up, down = (np.roll(frames, k, axis=1) for k in (-1, 1))
    both = ImageStack(0.8 * frames + 0.1 * (up + down), PixelGrid((40, 40), 160.0))
    assert fit_noise(both).row_correlation == 0.0


@pytest.mark.parametrize("camera", [SCMOS, EMCCD, GAUSSIAN], ids=["scmos", "emccd", "gaussian"])
def test_white_noise_over_blinking_light_has_no_correlation(photons, camera):
    assert fit_noise(exposed(camera, photons)).row_correlation == 0.0


def test_a_smearing_register_is_found_over_blinking_light(photons):
    """Gain within 12 % and variance within 20 %, as without smear."""
    camera = replace(EMCCD, smear=0.15, read_noise_e=0.0)
    model = fit_noise(exposed(camera, photons))
    own, beside = 1.0 - camera.smear, 0.5 * camera.smear
    expected = 2 * own * beside / (own**2 + 2 * beside**2)
    assert model.row_correlation == pytest.approx(expected, abs=0.04)
    level = np.quantile(photons, [0.05, 0.5, 0.8, 0.95])
    adu = camera.expected_adu(level).astype(np.float32)
    np.testing.assert_allclose(model.variance(adu), camera.variance_adu(level), rtol=0.2)


@pytest.mark.parametrize(
    ("correlation", "error", "found"),
    [(0.05, 0.0125, 0.05), (0.049, 0.001, 0.0), (0.2, 0.051, 0.0), (0.7, 0.01, 0.5),
     (-0.3, 0.01, 0.0), (0.3, math.inf, 0.0)],
)  # fmt: skip
def test_which_correlations_count(correlation, error, found):
    assert counted(correlation, error) == found


@pytest.mark.parametrize("sigma_px", [0.7, 1.1, 2.0])
def test_variance_of_a_sum_under_a_psf(sigma_px):
    """Against the quadratic form of pixel-integrated Gaussians, averaged over their position."""
    model = NoiseModel(1.0, 0.0, 1.0, row_correlation=0.3)
    white = smeared_sum = 0.0
    for centre in np.linspace(-0.5, 0.5, 41)[:-1]:
        psf = integrated_profile(np.arange(-12, 13), centre, sigma_px)
        white += (psf**2).sum()
        smeared_sum += (psf**2).sum() + 2 * 0.3 * (psf[1:] * psf[:-1]).sum()
    assert model.under(sigma_px) == pytest.approx(smeared_sum / white, rel=1e-4)


def test_white_noise_is_the_same_under_a_psf():
    assert NoiseModel(1.0, 0.0, 1.0).under(1.1) == 1.0


@pytest.mark.parametrize("factor", [2, 3, 5])
@pytest.mark.parametrize("correlation", [0.0, 0.2])
def test_noise_of_blocks_is_that_of_a_sum_of_correlated_pixels(factor, correlation):
    """Against the covariance matrix of two blocks side by side."""
    noise = NoiseModel(30.0, 0.5, 12.0, correlation)
    blocks = noise.binned(factor)
    n = 2 * factor
    row = np.eye(n) + correlation * (np.eye(n, k=1) + np.eye(n, k=-1))
    one, both = row[:factor, :factor].sum(), row[:factor, factor:].sum()
    for level in (-60.0, 0.0, 400.0):
        pixel = float(noise.variance(np.float32(level)))
        block = float(blocks.variance(np.float32(factor**2 * level)))
        assert block == pytest.approx(factor * one * pixel, rel=1e-6)
    assert blocks.row_correlation == pytest.approx(both / one)
