"""The resolution map on fields whose resolution is known place by place."""

import numpy as np
import pytest

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.evaluation import local_resolution
from dlbi.evaluation.local_resolution import resolution_map
from dlbi.evaluation.ring_correlation import ring_correlation

SIDE = 160
GRID = PixelGrid((SIDE, SIDE), 20.0)
BLANK = np.zeros(GRID.shape)


def test_two_halves_of_different_blur_have_the_resolution_of_each(texture):
    """Further than a window from the border between them."""
    sharp, blurred = texture(1.5, 0.1), texture(3.0, 0.1)
    grid = PixelGrid((128, 224), 20.0)
    rng = np.random.default_rng(1)
    left = np.arange(224) < 112
    pairs = zip(sharp.pair(grid.shape, rng), blurred.pair(grid.shape, rng), strict=True)
    found = resolution_map(*(np.where(left, a, b) for a, b in pairs), grid)
    map_nm = found.resolution_nm
    assert np.nanmedian(map_nm[:, :63]) == pytest.approx(20.0 * sharp.resolution_px, rel=0.06)
    assert np.nanmedian(map_nm[:, -63:]) == pytest.approx(20.0 * blurred.resolution_px, rel=0.1)
    assert found.known_share > 0.99
    assert map_nm.dtype == np.float32


def test_a_uniform_field_has_the_resolution_of_its_rings(texture):
    field = texture(2.0, 0.1)
    pair = field.pair(GRID.shape, np.random.default_rng(2))
    found = resolution_map(*pair, GRID)
    assert found.median_nm == pytest.approx(ring_correlation(*pair, 20.0).resolution_nm, rel=0.06)
    scatter = np.nanstd(found.resolution_nm) / found.median_nm
    assert scatter < 0.12


def test_scale_offset_and_transposition_change_nothing(texture):
    first, second = texture(2.0, 0.1).pair(GRID.shape, np.random.default_rng(3))
    plain = resolution_map(first, second, GRID).resolution_nm
    moved = resolution_map(5.0 * first + 3.0, second, GRID).resolution_nm
    turned = resolution_map(first.T, second.T, GRID).resolution_nm
    np.testing.assert_allclose(moved, plain, rtol=1e-4)
    np.testing.assert_allclose(turned.T, plain, rtol=1e-4)


def test_resolution_scales_with_the_pixel(texture):
    pair = texture(2.0, 0.1).pair(GRID.shape, np.random.default_rng(3))
    small, large = (resolution_map(*pair, PixelGrid(GRID.shape, nm)) for nm in (20.0, 100.0))
    np.testing.assert_allclose(large.resolution_nm, 5.0 * small.resolution_nm, rtol=1e-5)
    assert large.window_nm == pytest.approx(49 * 100.0)


def test_places_without_signal_are_not_known(texture):
    first, second = texture(2.0, 0.1).pair(GRID.shape, np.random.default_rng(4))
    rng = np.random.default_rng(5)
    empty = np.arange(SIDE) >= 90
    first, second = (
        np.where(empty, 0.001 * rng.standard_normal(GRID.shape), image) for image in (first, second)
    )
    known = np.isfinite(resolution_map(first, second, GRID).resolution_nm)
    assert known[:, :80].all()
    assert not known[:, -20:].any()


def test_noise_does_not_agree_by_chance():
    for seed in (1, 2):
        pair = np.random.default_rng(seed).standard_normal((2, *GRID.shape))
        found = resolution_map(*pair, GRID)
        assert found.known_share < 0.01
    assert found.median_nm is None or found.known_share > 0


def test_identical_images_reach_the_finest_band():
    image = np.random.default_rng(6).standard_normal(GRID.shape)
    found = resolution_map(image, image, GRID)
    np.testing.assert_allclose(found.resolution_nm, found.finest_nm)
    assert found.finest_nm == pytest.approx(20.0 / 0.45)


def test_blank_images_have_no_resolution():
    found = resolution_map(BLANK, BLANK, GRID)
    assert np.isnan(found.resolution_nm).all()
    assert found.row()["median_nm"] is None
    assert "nowhere known" in str(found)


def test_chance_is_as_large_as_the_independent_coefficients_say():
    """Scatter of the local correlation of noise, band by band, and of means over bands."""
    rng = np.random.default_rng(7)
    frequencies = local_resolution._frequencies(49)[4:]
    n = local_resolution._independent(frequencies, 49)
    z, means = [], []
    for _ in range(3):
        bands = (
            local_resolution._bands(rng.standard_normal((256, 256)), frequencies, 49)
            for _ in range(2)
        )
        maps = [local_resolution._local_correlation(a, b, 49) for a, b in zip(*bands, strict=True)]
        z.append([c.std() * np.sqrt(k) for c, k in zip(maps, n, strict=True)])
        means.append(np.average(maps, axis=0, weights=n).std())
    assert 0.85 < np.mean(z) < 1.15
    expected = np.sqrt(local_resolution.BAND_OVERLAP / n.sum())
    assert 0.7 < np.mean(means) / expected < 1.3


def test_overlap_of_bands_is_the_sum_of_their_correlations():
    k = np.arange(-20, 21)
    step = np.log(local_resolution.BAND_RATIO) / local_resolution.BAND_WIDTH
    expected = np.exp(-0.5 * (k * step) ** 2).sum()
    assert expected == pytest.approx(local_resolution.BAND_OVERLAP, abs=0.01)


@pytest.mark.parametrize(
    ("images", "options", "says"),
    [
        ((BLANK, BLANK[:-1]), {}, "does not fit grid"),
        ((BLANK, np.full(GRID.shape, np.inf)), {}, "infinite"),
        ((BLANK, BLANK), {"window_nm": 100.0}, "17 to 80 pixels"),
        ((BLANK, BLANK), {"window_nm": 4000.0}, "17 to 80 pixels"),
    ],
)
def test_bad_input(images, options, says):
    with pytest.raises((InputError, ShapeError), match=says):
        resolution_map(*images, GRID, **options)
