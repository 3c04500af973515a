"""Photon transfer on movies from simulated cameras: what the fit finds against what they do."""

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.microscope import Camera
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.measurement.noise import NoiseModel, fit_noise

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
