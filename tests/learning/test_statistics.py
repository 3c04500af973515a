import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.learning.statistics import (
    BLOCK_FRAMES,
    N_MAPS,
    _add_block,
    add_block_reference,
    fluctuation_maps,
)


def movie(frames: np.ndarray) -> ImageStack:
    return ImageStack(frames.astype(np.float32), PixelGrid(frames.shape[1:], 160.0))


def test_kernel_equals_its_reference() -> None:
    rng = np.random.default_rng(1)
    padded = rng.normal(size=(9, 8, 11)).astype(np.float32)
    fast, plain = (np.zeros((N_MAPS, 6, 9), np.float32) for _ in range(2))
    _add_block(padded, fast)
    add_block_reference(padded, plain)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-5)


def test_values_of_a_movie_worked_by_hand() -> None:
    # One pixel of a cross flips sign together with its eastern and southern neighbours.
    pattern = np.zeros((3, 3))
    pattern[1, 1], pattern[1, 2], pattern[2, 1] = 1.0, 2.0, 4.0
    frames = np.array([1.0, -1.0, 1.0, -1.0])[:, None, None] * pattern
    maps = fluctuation_maps(movie(frames), np.zeros(4, np.float32))
    assert maps.variance[1, 1] == pytest.approx(1.0)
    assert maps.along_x[1, 1] == pytest.approx(1.0 * (0.0 + 2.0) / 2)
    assert maps.along_y[1, 1] == pytest.approx(1.0 * (0.0 + 4.0) / 2)
    assert maps.across_x[1, 1] == 0.0  # the western neighbour is dark
    assert maps.lag[1, 1] == pytest.approx(-3 / 4)  # three of four frames have a next one
    assert maps.neighbour_lag[1, 1] == pytest.approx(-3 / 4 * (2.0 + 4.0) / 4)
    assert maps.third[1, 1] == pytest.approx(0.0)  # odd in the frames
    assert (maps.highest[2, 1], maps.lowest[2, 1]) == pytest.approx((4.0, -4.0))


def test_slow_changes_and_the_trend_are_no_fluctuation() -> None:
    n = 3 * BLOCK_FRAMES
    steps = np.repeat([5.0, 3.0, 2.0], BLOCK_FRAMES)
    trend = np.sin(np.arange(n)).astype(np.float32)
    frames = (steps + trend)[:, None, None] * np.ones((1, 8, 8))
    maps = fluctuation_maps(movie(frames), trend)
    np.testing.assert_allclose(maps, 0.0, atol=1e-5)


def test_camera_noise_is_only_in_the_maps_of_one_pixel() -> None:
    rng = np.random.default_rng(3)
    n, sigma = 400, 2.0
    frames = 100 + sigma * rng.normal(size=(n, 40, 40))
    maps = fluctuation_maps(movie(frames), np.zeros(n, np.float32))
    # Mean of 40² pixels of variance σ⁴/n each; the mean of a block takes away 1/40.
    five_sd = 5 * sigma**2 / np.sqrt(n * 1600)
    expected = sigma**2 * (1 - 1 / BLOCK_FRAMES)
    assert maps.variance.mean() == pytest.approx(expected, abs=np.sqrt(2) * five_sd)
    for name in ("across_x", "across_y", "falling", "rising"):
        # inside; at the border a pixel is its own neighbour
        inner = getattr(maps, name)[1:-1, 1:-1]
        assert abs(inner.mean()) < five_sd, name


def test_maps_do_not_depend_on_how_the_movie_is_stored() -> None:
    rng = np.random.default_rng(4)
    frames = rng.poisson(50, size=(50, 10, 12))
    trend = np.zeros(50, np.float32)
    as_integers = ImageStack(frames.astype(np.uint16), PixelGrid((10, 12), 160.0))
    np.testing.assert_array_equal(
        fluctuation_maps(as_integers, trend), fluctuation_maps(movie(frames), trend)
    )
