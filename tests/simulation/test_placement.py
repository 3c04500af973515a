import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.simulation.placement import inside, mirrored, place


def structure(density, pixel_size_nm=20.0):
    density = np.asarray(density, np.float32)
    return StructureImage(density, PixelGrid(density.shape, pixel_size_nm))


@pytest.mark.parametrize("margin", [0, 3, 5, 12])
def test_mirror_is_symmetric_padding(margin):
    image = structure(np.arange(20.0).reshape(4, 5))
    wide = mirrored(image, margin)
    np.testing.assert_array_equal(wide.density, np.pad(image.density, margin, mode="symmetric"))
    assert wide.grid == image.grid.pad(margin)


def test_whole_numbers_are_placed_exactly():
    density = np.random.default_rng(0).integers(0, 4, (30, 20)).astype(float)
    image = structure(density)
    y, x = image.grid.to_px(*place(image, 0, 1))
    counts = np.zeros_like(density)
    np.add.at(counts, (np.rint(y).astype(int), np.rint(x).astype(int)), 1)
    np.testing.assert_array_equal(counts, density)


def test_fractions_are_placed_on_average():
    image = structure(np.full((300, 300), 0.3))
    n = place(image, 0, 2)[0].size
    assert abs(n - 27_000) < 4.5 * np.sqrt(90_000 * 0.3 * 0.7)


def test_positions_fill_their_pixel_evenly():
    image = structure(np.full((200, 200), 1.0))
    for position in image.grid.to_px(*place(image, 0, 3)):
        offset = position - np.rint(position)
        assert abs(offset.mean()) < 4.5 * np.sqrt(1 / 12 / offset.size)
        assert offset.var() == pytest.approx(1 / 12, rel=0.02)


def test_margin_holds_the_mirror_image():
    image = structure(np.eye(8))
    y, x = place(image, 3, 4)
    wide = mirrored(image, 3)
    rows, columns = wide.grid.to_px(y, x)
    counts = np.zeros(wide.grid.shape)
    np.add.at(counts, (np.rint(rows).astype(int), np.rint(columns).astype(int)), 1)
    np.testing.assert_array_equal(counts, wide.density)
    assert inside(image.grid, y, x).sum() == 8


def test_bands_cover_a_tall_field_once():
    image = structure(np.ones((700, 3)))
    y, _ = place(image, 0, 5)
    assert y.size == 2100
    assert np.unique(np.floor(y / 20.0)).size == 700
