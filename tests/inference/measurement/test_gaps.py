"""What no camera recorded is found, and what only looks like it is not."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.inference.measurement.gaps import Gaps, find_gaps
from dlbi.inference.measurement.noise import NoiseModel

NOISE = NoiseModel(25.0, 0.0, 0.1)
"""Of `frames`: a standard deviation of 5 counts."""

NOTHING = Gaps(0.0, ())


@pytest.fixture
def frames() -> np.ndarray:
    return np.random.default_rng(3).normal(100, 5, (60, 32, 32)).astype(np.float32)


def gaps(frames) -> Gaps:
    return find_gaps(ImageStack(frames, PixelGrid(frames.shape[1:], 160.0)), NOISE)


def test_a_movie_as_the_camera_took_it_has_no_gaps(frames):
    assert gaps(frames) == NOTHING


@pytest.mark.parametrize("value", [0.0, 50.0])
def test_a_cleared_region_is_found_whatever_it_was_filled_with(frames, value):
    frames[:, :, 24:] = value
    assert gaps(frames) == Gaps(0.25, ())


def test_a_few_pixels_that_never_change_are_no_region(frames):
    frames[:, :2, :5] = 0.0  # 10 of 1024
    assert gaps(frames) == NOTHING
    frames[:, 2, 0] = 0.0
    assert gaps(frames) == Gaps(11 / 1024, ())


def test_pixels_at_the_level_of_the_others_are_not_cleared(frames):
    """Clipped at zero, dark pixels may never change."""
    frames[:, :, 24:] = 0.0
    assert gaps(np.maximum(frames - 110.0, 0.0)) == NOTHING


def test_a_region_that_changes_once_is_not_cleared(frames):
    frames[:, :, 24:] = 0.0
    frames[-1, :, 24:] = 1.0
    assert gaps(frames) == NOTHING


@pytest.mark.parametrize("value", [0.0, 50.0, 1000.0])
def test_empty_frames_are_found_whatever_they_hold(frames, value):
    frames[[7, *range(40, 60)]] = value
    assert gaps(frames) == Gaps(0.0, (7, *range(40, 60)))


def test_frames_without_a_photon_are_not_empty():
    frames = np.random.default_rng(4).poisson(2e-4, (60, 32, 32)).astype(np.float32)
    blank = ~frames.any(axis=(1, 2))
    assert 0 < blank.sum() < 60
    assert gaps(frames) == NOTHING


def test_both_are_found_together(frames):
    frames[:, 24:] = 0.0
    frames[50:] = 0.0
    assert gaps(frames) == Gaps(0.25, tuple(range(50, 60)))


def test_a_movie_of_one_value_is_no_gap():
    assert gaps(np.full((5, 8, 8), 3.0, np.float32)) == NOTHING
