"""The moves on easy movies: spots go where they are, a missing one is added, a false one goes."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.inference.threeb.model import Model
from dlbi.inference.threeb.options import CHAIN, ThreeBOptions
from dlbi.inference.threeb.preprocessing import preprocess
from dlbi.inference.threeb.spots import priors_of

Y_PX, X_PX = np.array([5.2, 6.4, 14.1]), np.array([4.8, 13.3, 8.7])
SIGMA_PX = 422 / 160 / 2.3548
OPTIONS = ThreeBOptions(growth_steps=300, hessian_samples=20, size_samples=10)


@pytest.fixture(scope="module")
def movie(known_movie):
    known = known_movie(
        Y_PX, X_PX, (20, 18), 60, chain=CHAIN, flux=400.0, cv=0.05, noise=4.0, seed=3
    )
    return preprocess(known.frames)


def model(movie, spots=None, seed=0, options=OPTIONS):
    return Model(movie, priors_of(SIGMA_PX), options, seed, spots)


def spots_at(movie, x_px, y_px):
    """Spots of the PSF's width with the light of the movie."""
    brightness = 400.0 / movie.scale / (SIGMA_PX * np.sqrt(2 * np.pi))
    return np.array([[brightness, SIGMA_PX, x, y] for x, y in zip(x_px, y_px, strict=True)])


def distances(spots):
    """Distance from each true position to the next spot."""
    return np.hypot(spots[:, 2] - X_PX[:, None], spots[:, 3] - Y_PX[:, None]).min(axis=1)


def test_first_spots_lie_on_light(movie):
    spots = model(movie).spots
    assert len(spots) == 36
    light = movie.data.sum(axis=2)
    row, column = (np.floor(spots[:, i] + 0.5).astype(int) for i in (3, 2))
    assert (light[row, column] > 0).all()
    np.testing.assert_allclose(
        spots[:, :2], np.broadcast_to(priors_of(SIGMA_PX).at(0, 0)[:2], (36, 2))
    )
    # Half of a pixel at most from its centre, and not always at it.
    assert np.ptp(spots[:, 2] - column) > 0.5
    by_light = np.add.reduceat(np.sort(light[row, column])[::-1], [0, 18])
    assert by_light[0] > by_light[1] > 0


def test_a_field_that_is_bright_only_at_its_border_has_no_first_spots():
    frames = np.full((4, 12, 12), 10.0)
    frames[:, [0, -1]] = frames[:, :, [0, -1]] = 90.0
    with pytest.raises(InputError, match="brighter than its surroundings"):
        model(preprocess(frames))


def test_passes_move_spots_to_where_they_are(movie):
    start = spots_at(movie, X_PX + 0.6, Y_PX - 0.5)
    start[:, 0] *= 0.6
    m = model(movie, start)
    for n in range(4):
        m.optimise(0, n)
    assert len(m.spots) == 3
    assert distances(m.spots).max() < 0.08
    np.testing.assert_allclose(m.spots[:, 1], SIGMA_PX, rtol=0.12)
    light = m.spots[:, 0] * m.spots[:, 1] * np.sqrt(2 * np.pi) * movie.scale
    # The trough that the high-pass digs around a spot takes about a fifth of its light.
    np.testing.assert_allclose(light, 325, rtol=0.08)
    assert m.counts.visits == 12
    assert m.counts.pass_evaluations > 100


@pytest.mark.parametrize(
    ("pass_", "order"), [(0, [0, 2, 1]), (1, [1, 2, 0]), (2, [0, 1, 2]), (3, [2, 1, 0])]
)
def test_passes_take_the_spots_in_turn(movie, pass_, order):
    m = model(movie, spots_at(movie, X_PX, Y_PX))
    m.optimise(4, pass_)
    nearest = np.hypot(m.spots[:, 2, None] - X_PX, m.spots[:, 3, None] - Y_PX).argmin(axis=1)
    assert nearest.tolist() == order


def test_a_missing_spot_is_added_and_a_good_model_stays(movie):
    m = model(movie, spots_at(movie, X_PX, Y_PX)[:2])
    for n in range(12):
        m.try_size(0, n)
    assert distances(m.spots).max() < 0.2
    assert len(m.spots) == 3
    assert m.counts.added >= 1
    assert m.counts.try_evaluations > 0


def test_a_false_spot_is_removed(movie):
    twin = np.vstack([spots_at(movie, X_PX, Y_PX), [2.0, SIGMA_PX, 14.0, 15.0]])
    m = model(movie, twin, seed=1)
    for n in range(14):
        m.try_size(0, n)
    assert m.counts.removed >= 1
    assert len(m.spots) == 3
    assert distances(m.spots).max() < 0.2


def test_a_model_without_spots_can_grow(movie):
    m = model(movie, np.zeros((0, 4)))
    m.optimise(0, 0)
    assert len(m.spots) == 0
    assert m.frames_on().shape == (0,)
    for n in range(6):
        m.try_size(0, n)
    assert len(m.spots) >= 1


def test_spots_that_leave_are_deleted(movie):
    lost = np.vstack([spots_at(movie, X_PX, Y_PX), [3.0, SIGMA_PX, -9.0, 4.0]])
    m = model(movie, lost)
    m.optimise(0, 0)
    assert len(m.spots) == 3
    assert m.counts.ejected == 1
    assert distances(m.spots).max() < 0.3


def test_frames_on_are_those_of_the_blinking(movie):
    m = model(movie, spots_at(movie, X_PX, Y_PX))
    found = m.frames_on()
    light = movie.data[np.round(Y_PX).astype(int), np.round(X_PX).astype(int)]
    np.testing.assert_allclose(found, (light > 0.5 * light.max()).sum(axis=1), atol=1.5)


def test_same_seed_same_spots(movie):
    options = ThreeBOptions(growth_steps=20, hessian_samples=5, size_samples=5, samples=3)

    def run(seed):
        m = model(movie, spots_at(movie, X_PX + 0.3, Y_PX), seed, options)
        m.optimise(0, 0)
        m.try_size(0, 0)
        return m.spots

    np.testing.assert_array_equal(run(5), run(5))
    assert not np.array_equal(run(5), run(6))
