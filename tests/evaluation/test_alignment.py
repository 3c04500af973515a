"""Where one grid lies in another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.evaluation.alignment import window_of

CAMERA = PixelGrid((30, 40), 160.0, origin_nm=(320.0, -480.0))


@given(
    x=st.integers(0, 39),
    y=st.integers(0, 29),
    width=st.integers(1, 40),
    height=st.integers(1, 30),
    factor=st.integers(1, 8),
    slip=st.floats(-0.49, 0.49),
)
def test_the_window_of_a_crop_is_that_crop(x, y, width, height, factor, slip):
    width, height = min(width, 40 - x), min(height, 30 - y)
    fine = CAMERA.crop(y, x, height, width).refine(factor)
    top, left = fine.origin_nm
    slipped = PixelGrid(fine.shape, fine.pixel_size_nm, (top, left + slip * fine.pixel_size_nm))
    assert window_of(slipped, CAMERA) == (x, y, width, height)
    assert window_of(CAMERA.crop(y, x, height, width), CAMERA.refine(factor)) == (
        x * factor, y * factor, width * factor, height * factor,
    )  # fmt: skip


@pytest.mark.parametrize(
    "field",
    [
        PixelGrid((30, 41), 160.0, CAMERA.origin_nm),
        PixelGrid((10, 10), 160.0, (0.0, -480.0)),
        PixelGrid((10, 10), 160.0, (400.0, -480.0)),
        PixelGrid((80, 80), 19.0, CAMERA.origin_nm),
        PixelGrid((1, 1), 20.0, CAMERA.origin_nm),
    ],
)
def test_fields_outside_or_between_pixels_are_refused(field):
    with pytest.raises(ShapeError, match="is not a part of"):
        window_of(field, CAMERA)
