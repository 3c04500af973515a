"""The photon-transfer line of simulated cameras, with blinking light that is rougher than noise."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.microscope import Camera
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.kinetics.expectation import statistics_of
from dlbi.inference.measurement.fluctuations import measure_fluctuations
from dlbi.inference.measurement.noise import transfer_line
from dlbi.reconstruction.measurement import deconvolve, measure, projection_of
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

GRID = PixelGrid((32, 32), 160.0)
CAMERAS = {
    "scmos": (Camera(offset_adu=100.0, adu_per_electron=2.0, read_noise_e=1.6), 2.0),
    "emccd": (
        Camera(offset_adu=100.0, adu_per_electron=0.1, em_gain=100.0, read_noise_e=30.0), 20.0
    ),
    "gaussian": (Camera(offset_adu=100.0, read_noise_e=10.0, shot_noise=False), 0.0),
}  # fmt: skip


@pytest.fixture(scope="module")
def light(known_movie):
    """Expected photons of few bright fluorophores, half of them in a band, on 5 photons."""
    rng = np.random.default_rng(1)
    y, x = rng.uniform(-0.5, 31.5, (2, 150))
    y[:75] = rng.uniform(10.0, 18.0, 75)
    movie = known_movie(
        y, x, GRID.shape, 150, chain=BlinkingChain(0.79, 0.305), flux=250.0, noise=0
    )
    projection = movie.projection(factor=4)
    density = movie.density(projection)
    found = measure_fluctuations(movie.stack, density, projection)
    return movie.frames + np.float32(5.0), density, projection, statistics_of(found).contrast


def line_of(light, camera, scale=1.0, seed=3):
    photons, density, projection, contrast = light
    counts = np.float32(scale) * camera.expose(photons, np.random.default_rng(seed))
    factor = scale * camera.adu_per_photon
    stack = ImageStack(counts, GRID)
    return stack, transfer_line(
        stack, density * np.float32(factor), projection, contrast=contrast * factor
    )


@pytest.mark.parametrize("name", CAMERAS)
def test_gain_and_noise_lie_within_their_errors(light, name):
    camera, gain = CAMERAS[name]
    stack, line = line_of(light, camera)
    photons = (line.level - camera.offset_adu) / camera.adu_per_photon
    truth = camera.variance_adu(np.array([photons]))[0]
    assert abs(line.gain - gain) < 4.0 * line.gain_error
    assert abs(line.variance - truth) < 4.0 * line.variance_error
    assert line.gain_error < max(0.1 * gain, 0.4)
    assert line.variance_error < 0.05 * truth
    assert line.level == pytest.approx(float(stack.data.mean()), rel=1e-5)


def test_blinking_is_no_noise():
    """Behind a narrow PSF second differences of frames take sparse light for shot noise."""
    structure = draw("filaments", PixelGrid((192, 192), 40.0), np.random.default_rng(1))
    scene = custom(n_emitters=300, peak_to_noise=6.0, fwhm_nm=1.8 * 160.0)
    movie = simulate(structure, scene, n_frames=80, upscaling=4, rng=1)
    measured = measure(movie.stack)
    projection = projection_of(movie.stack, movie.scene.microscope.psf, 4)
    density = deconvolve(measured, projection, n_iterations=60)
    contrast = statistics_of(measure_fluctuations(movie.stack, density, projection)).contrast
    line = transfer_line(movie.stack, density, projection, contrast=contrast)
    assert measured.noise.gain > 0.5
    assert abs(line.gain) < 4.0 * line.gain_error
    assert line.gain_error < 0.15


def test_steady_spots_are_no_noise():
    """Spots of 0.8 px that never blink are rougher than the noise of 10 counts."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:32, :32]
    image = np.full((32, 32), 100.0)
    for cy, cx in rng.uniform(4.0, 28.0, (12, 2)):
        image += 150.0 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 0.8**2)
    frames = (image + rng.normal(0.0, 10.0, (100, 32, 32))).astype(np.float32)
    stack = ImageStack(frames, GRID)
    projection = projection_of(stack, GaussianPSF(300.0), 2)
    dark = np.zeros(projection.fine.shape, np.float32)
    line = transfer_line(stack, dark, projection, contrast=0.0)
    assert abs(line.gain) < 4.0 * line.gain_error < 0.6
    assert line.variance == pytest.approx(100.0, abs=4.0 * line.variance_error)
    assert line.variance_error < 3.0


def test_counts_scale_the_line(light):
    camera = CAMERAS["scmos"][0]
    _, once = line_of(light, camera)
    _, thrice = line_of(light, camera, scale=3.0)
    assert thrice.gain == pytest.approx(3.0 * once.gain, rel=1e-3)
    assert thrice.variance == pytest.approx(9.0 * once.variance, rel=1e-3)
    assert thrice.gain_error == pytest.approx(3.0 * once.gain_error, rel=1e-2)
    assert thrice.span == pytest.approx(3.0 * once.span, rel=1e-3)


def test_errors_are_those_of_repeated_movies(light):
    """Twelve exposures: scatter ÷ stated error between 0.4 and 1.8."""
    camera = CAMERAS["scmos"][0]
    lines = [line_of(light, camera, seed=s)[1] for s in range(12)]
    for value, error in (("gain", "gain_error"), ("variance", "variance_error")):
        scatter = np.std([getattr(line, value) for line in lines], ddof=1)
        told = np.mean([getattr(line, error) for line in lines])
        assert 0.3 < scatter / told < 1.8
