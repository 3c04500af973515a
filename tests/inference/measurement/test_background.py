"""Background of synthetic movies whose trend and haze are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.photophysics import DARK, EMITTING
from dlbi.inference.measurement.background import (
    HAZE_WINDOW_PX,
    TREND_HALF_WINDOW,
    estimate_background,
)

SIDE = 40


def background_of(frames, variance=0.0):
    frames = np.asarray(frames, np.float32)
    mean = frames.mean(axis=0)
    stack = ImageStack(frames, PixelGrid(mean.shape, 160.0))
    return estimate_background(stack, mean, np.full_like(mean, variance))


def haze_of(image):
    return background_of(np.stack([image, image])).haze


def threads(seed=0):
    """Bright lines of one to three pixels, far enough apart to leave dark pixels between."""
    rng = np.random.default_rng(seed)
    image = np.zeros((SIDE, SIDE))
    for line in (8, 20, 30):
        image[line : line + rng.integers(1, 4)] += rng.uniform(20.0, 80.0)
    return image


@pytest.mark.parametrize("kind", ["linear", "bleaching", "wave"])
def test_trend_of_the_background_is_recovered_beside_bleaching_structure(kind):
    """Noise 4, trend of ±10 counts: error of each frame within 4.5 standard deviations.

    32 … 80 dark pixels and 6 … 11 frames are averaged; the ends see one-sided windows, and the
    window flattens curvature.
    """
    t = np.arange(120) / 119
    trend = (
        10.0
        * {
            "linear": 1.0 - 2.0 * t,
            "bleaching": 2.0 * np.exp(-3.0 * t) - 1.0,
            "wave": np.sin(2.0 * np.pi * t),
        }[kind]
    )
    structure = threads() * np.exp(-2.0 * t)[:, None, None]
    noise = np.random.default_rng(2).normal(0.0, 4.0, (120, SIDE, SIDE))
    found = background_of(structure + 100.0 + trend[:, None, None] + noise).trend
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(0.0, abs=1e-4)
    error = found - (trend - trend.mean())
    sd = 4.0 / np.sqrt(0.05 * SIDE**2 * (2 * TREND_HALF_WINDOW + 1))
    # A straight slope s at the end of a window of ±5 frames is seen 5·6/2/11 frames inside.
    bend = np.abs(np.gradient(trend)).max() * 15 / 11
    inner = np.s_[TREND_HALF_WINDOW:-TREND_HALF_WINDOW]
    assert np.abs(error[inner]).max() < 4.5 * sd + 0.1 * bend
    assert np.abs(error).max() < 4.5 * sd * np.sqrt(2) + bend


def test_blinking_structure_without_background_change_has_no_trend(known_movie):
    """Emitters in a band; the dark rest does not follow their common flashes."""
    rng = np.random.default_rng(5)
    y, x = rng.uniform(15.0, 24.0, 300), rng.uniform(0.0, SIDE - 1.0, 300)
    flashing = np.where(np.arange(100) % 20 < 10, EMITTING, DARK) * np.ones((300, 1), int)
    movie = known_movie(y, x, (SIDE, SIDE), 100, paths=flashing, flux=100.0, noise=2.0)
    assert movie.frames.mean(axis=(1, 2)).std() > 5.0
    assert np.abs(background_of(movie.frames).trend).max() < 0.3


@settings(deadline=None, max_examples=25)
@given(st.floats(-500.0, 5000.0), st.integers(0, 1000))
def test_an_added_constant_moves_the_haze_by_it(constant, seed):
    image = np.random.default_rng(seed).gamma(2.0, 20.0, (SIDE, SIDE))
    image = gaussian_filter(image, 1.5)
    np.testing.assert_allclose(
        haze_of(image + constant), haze_of(image) + constant, atol=1e-3 + 1e-6 * abs(constant)
    )


@settings(deadline=None, max_examples=25)
@given(st.floats(0.1, 100.0), st.integers(0, 1000))
def test_the_haze_scales_with_the_counts(factor, seed):
    image = gaussian_filter(np.random.default_rng(seed).gamma(2.0, 20.0, (SIDE, SIDE)), 1.5)
    np.testing.assert_allclose(haze_of(factor * image), factor * haze_of(image), rtol=1e-4)


def test_structures_narrower_than_the_window_leave_the_haze_alone():
    np.testing.assert_allclose(haze_of(threads() + 30.0), 30.0, atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_the_haze_of_a_smooth_image_is_not_above_it_on_average(seed):
    """A lower envelope: at most the smoothed mean image, up to the blur of its own shape."""
    image = gaussian_filter(np.random.default_rng(seed).gamma(1.0, 50.0, (64, 64)), 2.0)
    haze = haze_of(image)
    assert (haze <= gaussian_filter(image, 6.0, mode="nearest") + 1e-3).all()
    assert haze.min() >= image.min() - 1.0


def test_wide_smooth_haze_is_followed():
    """A blob with σ = 25 px, twice the window: from below, short by less than it changes in half
    a window."""
    y, x = np.mgrid[:128, :128] - 63.5
    blob = 100.0 * np.exp(-(y**2 + x**2) / (2 * 25.0**2))
    haze = haze_of(blob)
    centre = np.s_[48:80, 48:80]
    np.testing.assert_allclose(haze[centre], blob[centre], atol=23.0)
    assert haze[64, 64] > 80.0
    assert haze.max() <= blob.max()
    assert HAZE_WINDOW_PX < 25.0


@pytest.mark.parametrize("side", [48, 128])
def test_haze_of_pure_noise_is_its_mean(side):
    """The variance given lifts the envelope to the true level; 0.12 standard deviations."""
    levels = []
    for seed in range(6):
        image = np.random.default_rng(seed).normal(200.0, 3.0, (side, side))
        levels.append(background_of(np.stack([image, image]), variance=9.0).haze.mean())
    assert np.mean(levels) == pytest.approx(200.0, abs=0.12 * 3.0)
    low = haze_of(image)
    assert low.mean() < 200.0 - 1.0
