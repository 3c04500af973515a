"""Drift: known movements are found, their errors stated rightly, no movement is invented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.evaluation.drift import DriftPath, estimate_drift, estimate_path, movement_nm
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

GRID = PixelGrid((28, 28), 100.0)


def moving(drift_px, n_frames=60, *, offset=50.0, fading=0.0, bend=0.0):
    """A still picture that moves along a straight line, or a bent one, and fades; no noise."""
    picture = gaussian_filter(np.random.default_rng(3).random((28, 28)) ** 4, 1.5) * 1000
    phases = np.linspace(0.0, 1.0, n_frames)
    frames = [
        offset
        + (1 - fading * p) * shift(picture, _place(p, bend) * np.array(drift_px), mode="nearest")
        for p in phases
    ]
    return ImageStack(np.array(frames, np.float32), GRID)


def _place(phase, bend):
    return phase - 0.5 + bend * (6 * phase**2 - 6 * phase + 1)


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


def test_positions_are_legendre_polynomials_of_time():
    path = DriftPath(((10.0, 0.0), (0.0, 6.0), (2.0, -1.0)))
    np.testing.assert_allclose(
        path.positions_nm(5)[[0, 1, 2, 4]],
        [[-12.0, 7.0], [-5.0 + 0.4375 * 2, -0.4375 - 0.75], [0.0, -3.0], [12.0, 5.0]],
        atol=1e-9,
    )
    y, x = path.shift_nm
    np.testing.assert_allclose((y, x), path.positions_nm(9)[-1] - path.positions_nm(9)[0])
    assert path.length_nm == pytest.approx(np.hypot(y, x))


def test_movements_add_up():
    line, bent = DriftPath(((3.0, 1.0),)), DriftPath(((1.0, 0.0), (5.0, -2.0)))
    for both in (line + bent, bent + line):
        np.testing.assert_allclose(
            both.positions_nm(7), line.positions_nm(7) + bent.positions_nm(7), atol=1e-12
        )
    still = DriftPath(())
    assert (still + bent, bent + still) == (bent, bent)
    assert not still.positions_nm(4).any()
    assert still.shift_nm == (0.0, 0.0)


@pytest.mark.parametrize("bend", [0.0, 0.4])
def test_the_way_is_found_in_every_frame(bend):
    found = estimate_path(moving((0.8, -0.5), bend=bend)).positions_nm(60)
    places = _place(np.linspace(0.0, 1.0, 60), bend)
    expected = 100.0 * np.outer(places - places.mean(), (0.8, -0.5))
    assert np.abs(found - expected).max() < 4.0


def test_a_bend_takes_a_second_term_and_a_line_does_not():
    rng = np.random.default_rng(4)

    def terms(bend):
        stack = moving((1.0, 0.4), bend=bend)
        noisy = stack.load() + rng.normal(0.0, 20.0, stack.data.shape)
        return len(estimate_path(replace(stack, data=noisy)).terms_nm)

    assert terms(0.4) >= 2
    assert [terms(0.0) for _ in range(5)].count(1) >= 3


def test_blocks_of_a_moving_picture_scatter_as_a_straight_line_does():
    assert movement_nm(moving((0.0, 0.0))) < 0.01
    # The middles of ten equal blocks of a line of length 1 have a standard deviation of 0.292.
    assert movement_nm(moving((0.9, 1.2))) == pytest.approx(150.0 * 0.292, rel=0.05)


def test_what_shows_no_way():
    short = moving((1.0, 1.0), n_frames=19)
    assert estimate_path(short) is None
    assert movement_nm(short) is None
