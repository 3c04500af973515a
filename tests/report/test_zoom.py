"""The zoom is where the most light is."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.report.zoom import Zoom, busiest

CAMERA = PixelGrid((30, 36), 100.0, (500.0, 700.0))


def test_it_holds_the_most_light_of_all_squares():
    image = np.random.default_rng(1).random((60, 72), np.float32) ** 8
    found = busiest(image, CAMERA)
    assert found.side == 10
    light = image.reshape(30, 2, 36, 2).sum(axis=(1, 3), dtype=float)
    sums = {
        (x, y): light[y : y + 10, x : x + 10].sum() for y in range(21) for x in range(27)
    }  # fmt: skip
    assert (found.x, found.y) == max(sums, key=sums.get)


@pytest.mark.parametrize(("side", "expected"), [(9, 8), (6, 6), (60, 20), (300, 24)])
def test_its_side_is_a_third_of_the_field_within_limits(side, expected):
    camera = PixelGrid((side, side + 4), 100.0)
    assert busiest(np.eye(side, side + 4, dtype=np.float32), camera).side == expected


def test_of_an_empty_image_it_is_the_middle():
    assert busiest(np.zeros((30, 36), np.float32), CAMERA) == Zoom(13, 10, 10)


def test_image_grid_and_box_belong_together():
    zoom = Zoom(9, 3, 6)
    fine = np.arange(60 * 72, dtype=np.float32).reshape(60, 72)
    np.testing.assert_array_equal(zoom.cut(fine, 2), fine[6:18, 18:30])
    assert zoom.grid(CAMERA, 2) == PixelGrid((12, 12), 50.0, (800.0, 1600.0))
    box = zoom.box(CAMERA)
    assert (box.left, box.top) == (25.0, 10.0)
    assert (box.width, box.height) == (pytest.approx(100 / 6), 20.0)
