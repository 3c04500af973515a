import numpy as np
import pytest

from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.learning.observation import (
    CHANNELS,
    Observation,
    guide_of,
    signal_level,
)
from dlbi.reconstruction.measurement import deconvolve, measure, observed, projection_of
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

SIDE = 24


@pytest.fixture(scope="module")
def stack() -> ImageStack:
    structure = draw("filaments", PixelGrid((8 * SIDE, 8 * SIDE), 20.0), 5)
    return simulate(structure, custom(n_emitters=800, peak_to_noise=2.0), n_frames=80, rng=5).stack


def look(stack: ImageStack) -> Observation:
    movie = measure(stack)
    projection = projection_of(stack, GaussianPSF(422.0), 8)
    return observed(movie, deconvolve(movie, projection), projection)


def test_shapes_and_finiteness(stack: ImageStack) -> None:
    seen = look(stack)
    assert seen.statistics.shape == (len(CHANNELS), SIDE, SIDE)
    assert seen.guide.shape == (8 * SIDE, 8 * SIDE)
    assert seen.statistics.dtype == seen.guide.dtype == np.float32
    assert np.isfinite(seen.statistics).all()
    assert np.isfinite(list(seen.summary.values())).all()


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (1.0, 250.0), (0.2, 90.0)])
def test_gain_and_offset_of_the_camera_do_not_matter(
    stack: ImageStack, gain: float, offset: float
) -> None:
    changed = ImageStack((gain * stack.load() + offset).astype(np.float32), stack.grid)
    a, b = look(stack), look(changed)
    assert b.scale == pytest.approx(gain * a.scale, rel=1e-3)
    np.testing.assert_allclose(b.statistics, a.statistics, rtol=0.01, atol=0.01)
    np.testing.assert_allclose(b.guide, a.guide, rtol=0.01, atol=0.01)
    assert b.summary == pytest.approx(a.summary, rel=0.01)


def test_guide_squares_to_the_signal(stack: ImageStack) -> None:
    seen = look(stack)
    light = block_sum(seen.guide**2, 8).sum() / 64
    signal = seen.statistics[CHANNELS.index("signal")].sum()
    assert light == pytest.approx(signal, rel=0.05)


def test_guide_is_the_inside_of_the_density() -> None:
    camera = PixelGrid((4, 5), 160.0)
    empty = ImageStack(np.zeros((2, 4, 5), np.float32), camera)
    projection = projection_of(empty, GaussianPSF(400.0), 8)
    density = np.zeros(projection.fine.shape, np.float32)
    density[32, 32] = 2.0  # the first pixel after a margin of 4 camera pixels
    guide = guide_of(density, 0.5, projection)
    assert guide.shape == (32, 40)
    assert guide[0, 0] == pytest.approx(np.sqrt(2.0 * 64 / 0.5))
    assert np.count_nonzero(guide) == 1


def test_signal_level_ignores_empty_surroundings() -> None:
    signal = np.array([[1.0, 3.0], [0.0, 2.0]], np.float32)
    wide = np.pad(signal, 20)
    assert signal_level(signal) == pytest.approx((1 + 9 + 4) / 6)
    assert signal_level(wide) == pytest.approx(signal_level(signal))
    assert signal_level(np.zeros((3, 3), np.float32)) > 0


def test_dark_movies_stay_finite() -> None:
    rng = np.random.default_rng(2)
    noise = ImageStack(
        rng.normal(100, 3, (20, 16, 16)).astype(np.float32), PixelGrid((16, 16), 160.0)
    )
    seen = look(noise)
    assert np.isfinite(seen.statistics).all()
    assert abs(seen.summary["fluctuation"]) < 1e6
