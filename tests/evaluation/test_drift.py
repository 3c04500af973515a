"""Drift: known movements are found, their errors stated rightly, no movement is invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.evaluation.drift import estimate_drift
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

GRID = PixelGrid((28, 28), 100.0)


def moving(drift_px, n_frames=60, *, offset=50.0, fading=0.0):
    """A still picture that moves along a straight line and fades, without noise."""
    picture = gaussian_filter(np.random.default_rng(3).random((28, 28)) ** 4, 1.5) * 1000
    phases = np.linspace(0.0, 1.0, n_frames)
    frames = [
        offset + (1 - fading * p) * shift(picture, (p - 0.5) * np.array(drift_px), mode="nearest")
        for p in phases
    ]
    return ImageStack(np.array(frames, np.float32), GRID)


@pytest.mark.parametrize("drift_px", [(0.8, -0.3), (0.0, 1.5), (-2.0, 1.0)])
@pytest.mark.parametrize("fading", [0.0, 0.5])
def test_a_movement_without_noise_is_found(drift_px, fading):
    found = estimate_drift(moving(drift_px, fading=fading))
    expected = 100.0 * np.array(drift_px)
    assert np.hypot(*(np.array(found.shift_nm) - expected)) < 0.06 * np.hypot(*expected)
    assert found.length_nm == pytest.approx(np.hypot(*found.shift_nm))


def test_a_still_movie_does_not_move():
    found = estimate_drift(moving((0.0, 0.0)))
    assert found.length_nm < 0.01
    assert found.standard_error_nm < 0.01


def test_a_movie_run_backwards_moves_back():
    movie = moving((0.6, -0.4))
    back = replace(movie, data=movie.load()[::-1])
    np.testing.assert_allclose(
        estimate_drift(back).shift_nm, -np.array(estimate_drift(movie).shift_nm), atol=0.5
    )


def test_errors_of_blinking_movies_are_as_large_as_stated():
    """Two components of ten movies: their mean square over the stated one is χ²₂₀ ÷ 20."""
    structure = draw("mesh", PixelGrid((192, 192), 20.0), np.random.default_rng(2))
    scene = replace(custom(n_emitters=400, peak_to_noise=2.0), drift_nm=(90.0, -60.0))
    pulls = []
    for seed in range(10):
        found = estimate_drift(simulate(structure, scene, n_frames=60, rng=seed).stack)
        pulls.append((np.array(found.shift_nm) - scene.drift_nm) / found.standard_error_nm)
    assert 0.4 < np.mean(np.square(pulls)) < 2.5


def test_what_shows_no_drift():
    assert estimate_drift(moving((1.0, 1.0), n_frames=19)) is None
    small = moving((1.0, 1.0)).select(roi=(0, 0, 11, 28))
    assert estimate_drift(small) is None
    flat = ImageStack(np.full((40, 16, 16), 7.0, np.float32), PixelGrid((16, 16), 100.0))
    assert estimate_drift(flat) is None
