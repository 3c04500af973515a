from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.tiling import plan, scale


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(9, 5000), st.integers(0, 12))
def test_cores_cover_the_field_once_and_lie_within_their_halo(h, w, max_px, halo):
    covered = np.zeros((h, w), int)
    for tile in plan((h, w), max_px=max_px, halo_px=halo):
        covered[tile.core] += 1
        outer = np.arange(h * w).reshape(h, w)[tile.outer]
        core = np.arange(h * w).reshape(h, w)[tile.core]
        np.testing.assert_array_equal(outer[tile.inner], core)
        for c, o, n in zip(tile.core, tile.outer, (h, w), strict=True):
            assert o.start == max(0, c.start - halo)
            assert o.stop == min(n, c.stop + halo)
    assert (covered == 1).all()


@settings(deadline=None)
@given(st.integers(50, 400), st.integers(50, 400), st.integers(2500, 40_000))
def test_outer_regions_keep_to_the_budget(h, w, max_px):
    halo = 8
    for tile in plan((h, w), max_px=max_px, halo_px=halo):
        y, x = tile.outer
        assert (y.stop - y.start) * (x.stop - x.start) <= max_px


def test_a_large_field_is_cut_with_little_work_to_spare():
    """The paper's field: halves, not sixths, since every cut is computed twice over its halo."""
    tiles = plan((263, 337), max_px=226 * 226, halo_px=23)
    assert [t.index for t in tiles] == [(0, 0), (0, 1)]


def test_a_field_within_the_budget_is_one_tile():
    (tile,) = plan((60, 50), max_px=3000, halo_px=8)
    assert tile.core == tile.outer == (slice(0, 60), slice(0, 50))
    assert tile.index == (0, 0)


@pytest.mark.parametrize("factor", [1, 8])
def test_scaled_regions_select_the_refined_pixels(factor):
    image = np.arange(12.0).reshape(3, 4)
    region = (slice(1, 3), slice(0, 2))
    fine = np.kron(image, np.ones((factor, factor)))
    np.testing.assert_array_equal(
        fine[scale(region, factor)], np.kron(image[region], np.ones((factor, factor)))
    )
