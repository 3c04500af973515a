import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid, block_sum

sides = st.integers(1, 40)
factors = st.integers(1, 8)
origins_nm = st.tuples(st.floats(-5e3, 5e3), st.floats(-5e3, 5e3))
grids = st.builds(PixelGrid, st.tuples(sides, sides), st.floats(1.0, 500.0), origins_nm)


def test_camera_coordinate_of_fine_pixel_centre_follows_the_half_pixel_convention():
    camera = PixelGrid((60, 60), 160.0)
    fine = camera.refine(8)
    index = np.arange(480)
    y, x = camera.to_px(*fine.to_nm(index, index))
    expected = (index + 0.5) / 8 - 0.5
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(x, expected, atol=1e-12)


def test_first_pixel_centre_lies_half_a_pixel_from_the_corner():
    y, x = PixelGrid((2, 3), 100.0, (1000.0, -200.0)).centres_nm()
    np.testing.assert_array_equal(y, [1050.0, 1150.0])
    np.testing.assert_array_equal(x, [-150.0, -50.0, 50.0])


@given(grids, st.floats(-10.0, 50.0), st.floats(-10.0, 50.0))
def test_pixels_to_nm_and_back(grid, row, column):
    y, x = grid.to_px(*grid.to_nm(row, column))
    assert y == pytest.approx(row, abs=1e-7)
    assert x == pytest.approx(column, abs=1e-7)


@given(grids, factors)
def test_refine_keeps_the_field_and_coarsen_undoes_it(grid, factor):
    fine = grid.refine(factor)
    assert fine.extent_nm == pytest.approx(grid.extent_nm)
    assert fine.origin_nm == grid.origin_nm
    back = fine.coarsen(factor)
    assert back.shape == grid.shape
    assert back.pixel_size_nm == pytest.approx(grid.pixel_size_nm)


@given(grids, st.integers(0, 5))
def test_pad_keeps_every_old_pixel_where_it_was(grid, margin):
    padded = grid.pad(margin)
    h, w = grid.shape
    assert padded.shape == (h + 2 * margin, w + 2 * margin)
    old, new = grid.centres_nm(), padded.centres_nm()
    np.testing.assert_allclose(new[0][margin : margin + h], old[0], atol=1e-6)
    np.testing.assert_allclose(new[1][margin : margin + w], old[1], atol=1e-6)
    back = padded.crop(margin, margin, h, w)
    assert back.shape == grid.shape
    assert back.origin_nm == pytest.approx(grid.origin_nm, abs=1e-6)


def test_crop_moves_the_origin_to_the_corner_of_its_first_pixel():
    crop = PixelGrid((60, 50), 160.0, (10.0, 20.0)).crop(3, 5, 7, 9)
    assert crop == PixelGrid((7, 9), 160.0, (10.0 + 480.0, 20.0 + 800.0))


@pytest.mark.parametrize("shape", [(0, 4), (4,), (4, 4, 4), (-1, 4), (4.0, 4)])
def test_grid_rejects_shapes_that_are_no_picture(shape):
    with pytest.raises(ShapeError, match="two positive whole side lengths"):
        PixelGrid(shape, 100.0)


@pytest.mark.parametrize("pixel_size_nm", [0.0, -1.0, np.nan, np.inf])
def test_grid_rejects_absurd_pixel_sizes(pixel_size_nm):
    with pytest.raises(InputError, match="pixel size must be positive"):
        PixelGrid((4, 4), pixel_size_nm)


def test_coarsen_rejects_sides_that_do_not_divide():
    with pytest.raises(ShapeError, match="does not divide"):
        PixelGrid((16, 12), 20.0).coarsen(8)


def test_block_sum_adds_each_block():
    image = np.arange(24.0).reshape(4, 6)
    expected = [[image[i : i + 2, j : j + 2].sum() for j in (0, 2, 4)] for i in (0, 2)]
    np.testing.assert_array_equal(block_sum(image, 2), expected)


def test_block_sum_rejects_sides_that_do_not_divide():
    with pytest.raises(ShapeError, match="does not divide"):
        block_sum(np.zeros((4, 6)), 4)
