import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.simulation import shapes
from dlbi.simulation.strokes import Canvas
from dlbi.simulation.structures import (
    KINDS,
    draw,
    from_image,
    prepare_natural,
    prepare_sketch,
)

FIELD = PixelGrid((240, 240), 20.0)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    pixel_nm=st.floats(4.0, 300.0),
    origin=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    seed=st.integers(0, 2**32),
)
def test_any_grid_gets_a_density(kind, shape, pixel_nm, origin, seed):
    grid = PixelGrid(shape, pixel_nm, origin)
    structure = draw(kind, grid, seed)
    assert structure.grid == grid
    assert structure.density.dtype == np.float32
    assert np.isfinite(structure.density).all()
    assert structure.density.min() >= 0
    assert structure.density.max() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_repeat_drawings(kind):
    first = draw(kind, FIELD, 3).density
    np.testing.assert_array_equal(first, draw(kind, FIELD, np.random.default_rng(3)).density)
    assert not np.array_equal(first, draw(kind, FIELD, 4).density)


@pytest.mark.parametrize("kind", KINDS)
def test_drawings_reach_over_every_border(kind):
    """On average the rim of the field is as bright as the whole field."""
    rim, whole = [], []
    for seed in range(40):
        image = draw(kind, PixelGrid((160, 160), 40.0), seed).density
        whole.append(image.mean())
        rim.append(
            np.mean(
                [image[:8].mean(), image[-8:].mean(), image[:, :8].mean(), image[:, -8:].mean()]
            )
        )
    assert np.mean(rim) > 0.5 * np.mean(whole)


def test_unknown_kind_lists_the_known():
    with pytest.raises(InputError, match="filaments, bundles"):
        draw("lysosomes", FIELD)


def test_sizes_are_physical():
    """Rings cover the same share of a field however fine its pixels are."""

    def covered(pixel_nm):
        grid = PixelGrid((round(4000 / pixel_nm),) * 2, pixel_nm)
        return np.mean([(draw("rings", grid, seed).density > 0.2).mean() for seed in range(12)])

    assert covered(10.0) == pytest.approx(covered(20.0), rel=0.15)


def test_numbers_grow_with_the_area():
    def light(side_px):
        grid = PixelGrid((side_px, side_px), 40.0)
        return np.mean([draw("mesh", grid, s).density.mean() for s in range(20)])

    assert light(480) == pytest.approx(light(240), rel=0.4)


@pytest.fixture
def strokes(monkeypatch):
    """The strokes (curve, brightness) of a drawing, in their order."""

    def of(kind, seed):
        drawn = []

        class Recorder(Canvas):
            def line(self, curve, sigma_nm, brightness=1.0):
                drawn.append((curve, brightness))

            def spots(self, centres, sigma_nm, brightness=1.0):
                drawn.append((centres, brightness))

        monkeypatch.setattr(shapes, "Canvas", Recorder)
        KINDS[kind](FIELD, np.random.default_rng(seed))
        return drawn

    return of


def test_outlines_of_mitochondria_are_brighter_than_their_cristae(strokes):
    outline_level, n_outlines, n_cristae = 0.0, 0, 0
    for seed in range(10):
        for curve, level in strokes("mitochondria", seed):
            if np.allclose(curve[0], curve[-1]):
                outline_level = level
                n_outlines += 1
            else:
                assert level < 0.8 * outline_level
                n_cristae += 1
    assert n_cristae > 8 * n_outlines > 0


def test_spokes_of_stars_run_together_below_40_nm(strokes):
    for seed in range(10):
        first, second = (curve for curve, _ in strokes("star", seed)[:2])
        spacing_nm = np.linalg.norm(second - first, axis=1)
        assert spacing_nm.min() < 40
        assert spacing_nm.max() > 80


def test_chromatin_folds_into_territories(strokes):
    """Chains extend less than free chains of the least persistence, 100 nm."""
    extents = []
    for seed in range(10):
        for chain, _ in strokes("chromatin", seed):
            free_nm2 = 100 * 10 * len(chain) / 3
            extents.append(chain.var(axis=0).sum() / free_nm2)
    assert np.mean(extents) < 0.6


def test_chromatin_has_compact_domains(strokes):
    """Most chains crowd at places five times as much as elsewhere; even coils reach four times."""
    contrasts = []
    for seed in range(20):
        for chain, _ in strokes("chromatin", seed):
            crowd = cKDTree(chain).query_ball_point(chain, 60, return_length=True)
            contrasts.append(np.quantile(crowd, 0.98) / np.quantile(crowd, 0.2))
    assert np.median(contrasts) > 5


def test_natural_preparation_is_the_laplace_magnitude():
    image = np.zeros((9, 9))
    image[4, 4] = 3.0
    expected = np.zeros((9, 9))
    expected[4, 4] = 1.0
    expected[[3, 5, 4, 4], [4, 4, 3, 5]] = 0.25
    np.testing.assert_allclose(prepare_natural(image), expected)


def test_natural_preparation_ignores_shading():
    y, x = np.mgrid[:20, :20]
    ramp = prepare_natural(0.3 * y + 0.1 * x + 5 * (x > 10))
    assert ramp[2:-2, 2:8].max() < 1e-6
    assert ramp[2:-2, 10:12].min() > 0.9


def test_sketches_come_out_bright_on_dark():
    strokes = np.zeros((20, 20))
    strokes[5, 3:17] = 1.0
    np.testing.assert_allclose(prepare_sketch(strokes), strokes)
    np.testing.assert_allclose(prepare_sketch(255 - 200 * strokes), strokes)


def test_colour_is_read_as_luminance():
    red = np.zeros((6, 6, 3))
    red[2, 2, 0] = 1.0
    grey = red @ [0.2125, 0.7154, 0.0721]
    np.testing.assert_allclose(prepare_natural(red), prepare_natural(grey))


@pytest.mark.parametrize("shape", [(60, 60), (240, 240), (400, 170), (37, 531)])
def test_images_are_stretched_over_the_field(shape):
    """A blob at a share of the image lies at the same share of the field."""
    y, x = ((np.arange(n) + 0.5) / n for n in shape)
    blob = np.exp(-(((y[:, None] - 0.3) / 0.08) ** 2) - ((x - 0.6) / 0.08) ** 2)
    structure = from_image(blob, FIELD)
    assert structure.grid == FIELD
    share = (np.arange(240) + 0.5) / 240
    total = structure.density.sum()
    assert structure.density.sum(axis=1) @ share / total == pytest.approx(0.3, abs=0.003)
    assert structure.density.sum(axis=0) @ share / total == pytest.approx(0.6, abs=0.003)


def test_merging_pixels_averages_them():
    fine = np.random.default_rng(0).random((960, 960))
    small = from_image(gaussian_filter(fine, 1.0) ** 2, FIELD).density
    assert small.std() < 0.5 * (fine**2).std()


@pytest.mark.parametrize("preparation", ["natural", "sketch", "density"])
def test_every_preparation_yields_a_structure(preparation):
    image = np.random.default_rng(1).random((50, 70, 3))
    structure = from_image(image, FIELD, preparation)
    assert structure.density.max() == 1
    assert structure.density.min() >= 0


@pytest.mark.parametrize(
    ("image", "error", "match"),
    [
        (np.ones((5, 5, 5)), ShapeError, "grey or RGB"),
        (np.ones(5), ShapeError, "grey or RGB"),
        (np.array([[1.0, np.nan]]), InputError, "NaN"),
        (np.array([[1.0, -1.0]]), InputError, "negative"),
        (np.zeros((5, 5)), InputError, "empty"),
    ],
)
def test_images_without_structure_are_refused(image, error, match):
    with pytest.raises(error, match=match):
        from_image(image, FIELD)


def test_flat_images_cannot_be_prepared():
    with pytest.raises(InputError, match="empty"):
        from_image(np.ones((9, 9)), FIELD, "natural")
    with pytest.raises(InputError, match="flat"):
        from_image(np.ones((9, 9)), FIELD, "sketch")
    with pytest.raises(InputError, match="preparation must be"):
        from_image(np.ones((9, 9)), FIELD, "edges")
