"""Defective pixels: what is found, what is not, and what takes their place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import erf

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.inference.measurement.defects import find_defects, mended, without_defects


def movie_of(data) -> ImageStack:
    return ImageStack(data, PixelGrid(data.shape[1:], 160.0))


def point(fwhm_px, y, x, side=15) -> np.ndarray:
    """A pixel-integrated point source of unit light."""
    edges, spread = np.arange(side + 1) - 0.5, fwhm_px / 2.3548 * np.sqrt(2.0)
    rows, columns = (0.5 * np.diff(erf((edges - centre) / spread)) for centre in (y, x))
    return np.outer(rows, columns).astype(np.float32)


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(7).normal(100.0, 1.0, (256, 256)).astype(np.float32)


@given(
    fwhm_px=st.floats(1.3, 6.0),
    y=st.floats(-1.0, 7.5),
    x=st.floats(0.0, 7.5),
    other=st.tuples(st.floats(0.0, 14.0), st.floats(0.0, 14.0), st.floats(0.0, 1.0)),
)
def test_no_light_behind_a_psf_is_a_defect(fwhm_px, y, x, other):
    """Wherever a source lies in its pixel or beyond the border, with another anywhere."""
    light = 1e4 * point(fwhm_px, y, x) + 1e4 * other[2] * point(fwhm_px, *other[:2])
    assume(light.max() == light[1:-1, 1:-1].max())
    assert find_defects(light) == ()
    assert find_defects(light.T) == ()


@pytest.mark.parametrize(("y", "x"), [(-1.0, -1.0), (-0.5, 3.5)])
def test_light_from_beyond_the_border_is_no_defect(y, x):
    """Unless it is brighter than anything inside."""
    beyond = 1e4 * point(1.5, y, x)
    assert find_defects(beyond + 0.9 * beyond.max() * point(1.5, 7, 7)) != ()
    assert find_defects(beyond + 1e4 * point(1.5, 7, 7)) == ()


def test_noise_holds_no_defects(noise):
    assert find_defects(noise) == ()


def test_a_psf_narrower_than_a_pixel_is_beyond_the_rule():
    """With a FWHM of 1.1 pixels even light stands alone."""
    assert find_defects(point(1.1, 7, 7)) == ((7, 7),)


@pytest.mark.parametrize("place", [(0, 0), (255, 0), (17, 255), (100, 31)])
@pytest.mark.parametrize("height", [-30.0, 30.0, 6e4])
def test_a_pixel_that_stands_alone_is_found(noise, place, height):
    x, y = place
    noise = noise.copy()
    noise[y, x] += height
    found = find_defects(noise)
    assert found == (place,)


def test_a_cleared_region_does_not_make_the_rest_look_dead(noise):
    """Its spread is none, but that of the field is still that of its noise."""
    cleared = noise - noise.mean()
    cleared[:, 96:] = 0.0
    assert find_defects(cleared) == ()


def test_infinite_values_are_refused_wherever_they_are():
    for bad in (np.nan, np.inf, -np.inf):
        data = np.ones((60, 12, 12), np.float32)
        data[14, 3, 4] = bad
        with pytest.raises(InputError, match="NaN or infinite"):
            without_defects(movie_of(data))


def test_small_deviations_are_left(noise):
    noise = noise.copy()
    noise[40, 50] = 104.0
    noise[60, 50] = 96.0
    assert find_defects(noise) == ()


def test_neighbouring_pairs_do_not_hide_each_other(noise):
    noise = noise.copy()
    noise[40, 50] = noise[40, 51] = noise[80, 20] = noise[81, 21] = 900.0
    noise[255, 9] = noise[254, 10] = 800.0
    noise[254, 255] = noise[255, 255] = 950.0
    noise[0, 3] = noise[0, 4] = 10.0
    expected = ((3, 0), (4, 0), (50, 40), (51, 40), (20, 80), (21, 81))
    assert find_defects(noise) == (*expected, (10, 254), (255, 254), (9, 255), (255, 255))


def test_holes_of_a_structure_are_no_dead_pixels():
    """A dark pixel inside light counts only below the darkest level of the field."""
    mean = np.full((40, 40), 100.0, np.float32)
    mean += np.random.default_rng(2).normal(0.0, 1.0, mean.shape).astype(np.float32)
    mean[10:20, 10:20] += 500.0
    mean[15, 15] = 110.0
    assert find_defects(mean) == ()
    mean[15, 15] = 20.0
    assert find_defects(mean) == ((15, 15),)


def test_a_movie_without_defects_stays_as_it_is():
    stack = movie_of(np.ones((2, 4, 4), np.float32))
    assert mended(stack, ()) is stack


def test_quadratic_light_is_filled_in_exactly():
    y, x = np.mgrid[:7, :9]
    whole = np.stack([3.0 * y**2 - 2.0 * x**2 + 5.0 * y + x + t for t in (0.0, 10.0)])
    broken = whole.copy()
    broken[:, 3, 4] = 6e4
    np.testing.assert_allclose(mended(movie_of(broken), ((4, 3),)).data[:], whole)


def test_at_the_border_and_beside_a_defect_the_working_neighbours_count():
    frames = np.arange(32, dtype=np.float32).reshape(2, 4, 4)
    frames[:, 0, 0] = frames[:, 2, 2] = frames[:, 2, 3] = 6e4
    filled = mended(movie_of(frames), ((0, 0), (2, 2), (3, 2))).load()
    assert filled[:, 0, 0] == pytest.approx(np.add([0, 16], np.mean([1, 4, 5])))
    assert filled[:, 2, 2] == pytest.approx(np.add([0, 16], np.mean([5, 6, 7, 9, 13, 14, 15])))
    assert filled[:, 2, 3] == pytest.approx(np.add([0, 16], np.mean([6, 7, 14, 15])))
    untouched = np.ones((4, 4), bool)
    untouched[[0, 2, 2], [0, 2, 3]] = False
    np.testing.assert_array_equal(filled[:, untouched], frames[:, untouched])


def test_counts_stay_counts():
    """Rounded, and not below zero: twice 1 minus 5 is no count."""
    frames = np.array([[[5, 1, 5], [1, 9, 1], [5, 1, 5]], [[0, 1, 0], [2, 9, 1], [0, 1, 1]]])
    filled = mended(movie_of(frames.astype(np.uint16)), ((1, 1),)).data[:]
    assert filled.dtype == np.uint16
    assert filled[:, 1, 1].tolist() == [0, 2]


@given(st.data())
def test_regions_are_those_of_the_mended_movie(data):
    """Also where a region ends beside a defect or in it."""
    frames = np.random.default_rng(3).integers(0, 100, (6, 8, 9)).astype(np.uint16)
    pixels = st.tuples(st.integers(0, 8), st.integers(0, 7))
    defects = tuple(data.draw(st.lists(pixels, min_size=1, max_size=6, unique=True)))
    y, x = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 7))
    height, width = data.draw(st.integers(1, 8 - y)), data.draw(st.integers(1, 9 - x))
    times = data.draw(st.sampled_from([slice(None), slice(1, 6, 2)]))
    stack = mended(movie_of(frames), defects)
    part = stack.select(times, (x, y, width, height)).load()
    np.testing.assert_array_equal(part, stack.load()[times, y : y + height, x : x + width])


def test_only_what_is_asked_for_is_read():
    asked = []

    class Source:
        shape = (50, 400, 600)

        def __getitem__(self, key):
            asked.append(key)
            return np.zeros([len(range(n)[k]) for n, k in zip(self.shape, key, strict=True)])

    lazy = mended(ImageStack(Source(), PixelGrid((400, 600), 160.0)), ((10, 20),)).data
    assert lazy[3:5, 19:22, 9:11].shape == (2, 3, 2)
    assert asked == [(slice(3, 5, 1), slice(18, 23), slice(8, 12))]
