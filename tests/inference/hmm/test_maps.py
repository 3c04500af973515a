"""Maps over sweeps against direct computation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.inference.hmm.maps import (
    BLUR_SIGMA_PX,
    OCCUPANCY_WINDOW_PX,
    PosteriorMaps,
    deposit,
)

SHAPE = (18, 23)


def deposited(y, x, weights, shape=SHAPE):
    density, present = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    columns = (np.atleast_1d(np.asarray(v, float)) for v in (y, x, weights))
    deposit(*columns, density, present)
    return density, present


def random_sweeps(n_sweeps, seed=1):
    """Positions and weights of each sweep; some lie outside the field."""
    rng = np.random.default_rng(seed)
    for _ in range(n_sweeps):
        n = rng.integers(0, 40)
        yield rng.uniform(-3, 20, n), rng.uniform(-3, 25, n), rng.uniform(0.5, 4.0, n)


@settings(deadline=None)
@given(st.floats(0.0, SHAPE[0] - 1.0), st.floats(0.0, SHAPE[1] - 1.0), st.floats(0.1, 100.0))
def test_deposit_keeps_the_weight_and_the_place_of_an_emitter_inside(y, x, weight):
    """Sum is the weight, centre of mass the position: that is bilinear interpolation."""
    density, present = deposited(y, x, weight)
    rows, columns = np.indices(SHAPE)
    assert density.sum() == pytest.approx(weight, rel=1e-5)
    assert (density * rows).sum() / weight == pytest.approx(y, abs=1e-4)
    assert (density * columns).sum() / weight == pytest.approx(x, abs=1e-4)
    lit = np.argwhere(density > 0)
    assert (np.abs(lit - [y, x]) <= 1.0).all()
    near = np.abs(np.stack([rows - np.floor(y + 0.5), columns - np.floor(x + 0.5)])).max(axis=0)
    np.testing.assert_array_equal(present, near <= OCCUPANCY_WINDOW_PX // 2)


def test_deposit_weights_are_the_areas_of_the_opposite_corners():
    density, _ = deposited(3.25, 7.4, 8.0)
    np.testing.assert_allclose(density[3:5, 7:9], [[3.6, 2.4], [1.2, 0.8]], rtol=1e-5)


@pytest.mark.parametrize(("y", "x"), [(-0.25, 5.0), (SHAPE[0] - 0.75, 5.0)])
def test_an_emitter_on_the_border_leaves_the_share_that_falls_inside(y, x):
    density, present = deposited(y, x, 1.0)
    assert density.sum() == pytest.approx(0.75)
    assert present.sum() == 3 * 5  # the square of 5×5 without two rows


@pytest.mark.parametrize(("y", "x"), [(-2.0, 4.0), (4.0, 60.0), (-1.0001, 3.0)])
def test_an_emitter_outside_leaves_nothing(y, x):
    density, present = deposited(y, x, 5.0)
    assert not density.any()
    assert not present.any()


def test_maps_equal_a_direct_computation_over_stored_sweeps():
    maps = PosteriorMaps(PixelGrid(SHAPE, 20.0))
    images, occupied = [], []
    reach = OCCUPANCY_WINDOW_PX // 2
    for y, x, weights in random_sweeps(25):
        maps.add(y, x, weights)
        density, _ = deposited(y, x, weights)
        images.append(
            gaussian_filter(density, BLUR_SIGMA_PX, mode="constant", truncate=3.0).astype(float)
        )
        nearest = np.floor(np.stack([y, x]) + 0.5).astype(int)
        rows, columns = nearest[:, ((nearest >= 0).T & (nearest.T < SHAPE)).all(axis=1)]
        present = np.zeros(SHAPE, bool)
        present[rows, columns] = True
        wide = np.pad(present, reach)
        windows = np.lib.stride_tricks.sliding_window_view(wide, (OCCUPANCY_WINDOW_PX,) * 2)
        occupied.append(windows.any(axis=(2, 3)))
    assert maps.n_sweeps == 25
    np.testing.assert_allclose(maps.mean(), np.mean(images, axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(maps.std(), np.std(images, axis=0), rtol=1e-4, atol=1e-5)
    n_empty = 25 - np.sum(occupied, axis=0)
    np.testing.assert_allclose(maps.p_empty(), (n_empty + 0.5) / 26, rtol=1e-6)
    for image in (maps.mean(), maps.std(), maps.p_empty()):
        assert image.dtype == np.float32


def test_equal_sweeps_have_no_spread_and_never_certainty():
    maps = PosteriorMaps(PixelGrid(SHAPE, 20.0))
    for _ in range(9):
        maps.add(np.array([5.2]), np.array([8.7]), np.array([3.0]))
    np.testing.assert_allclose(maps.std(), 0.0, atol=1e-4)
    assert maps.mean().sum() == pytest.approx(3.0, rel=1e-3)
    assert maps.p_empty()[5, 9] == pytest.approx(0.05)
    assert maps.p_empty()[15, 20] == pytest.approx(0.95)


def test_weights_may_be_float32_and_sweeps_empty():
    maps = PosteriorMaps(PixelGrid(SHAPE, 20.0))
    maps.add(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))
    assert not maps.mean().any()
    np.testing.assert_allclose(maps.p_empty(), 0.75)


def maps_of(*spots):
    maps = PosteriorMaps(PixelGrid((64, 64), 20.0))
    for y, x in spots:
        maps.add(np.array([y]), np.array([x]), np.ones(1))
    return maps


def test_agreement_is_the_least_correlation_of_blurred_means():
    """Spots 2 px apart look the same after a blur of 4 px, spots 30 px apart do not."""
    here, near, far = maps_of((20.0, 20.0)), maps_of((20.0, 22.0)), maps_of((50.0, 50.0))
    assert PosteriorMaps.agreement([here, maps_of((20.0, 20.0))]) == pytest.approx(1.0)
    # Two Gaussians of variance 4² + 1² each: exp(−2²/(4 · 17)), the uniform part aside.
    assert PosteriorMaps.agreement([here, near]) == pytest.approx(np.exp(-4 / 68), abs=0.01)
    assert PosteriorMaps.agreement([here, near, far]) < 0.0


def test_a_chain_without_light_agrees_with_none():
    dark = PosteriorMaps(PixelGrid((64, 64), 20.0))
    dark.add(np.zeros(0), np.zeros(0), np.zeros(0))
    assert PosteriorMaps.agreement([dark, maps_of((20.0, 20.0))]) == 0.0
