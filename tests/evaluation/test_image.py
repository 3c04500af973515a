import json
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import Reconstruction, StructureImage
from dlbi.evaluation.image import NORMALISATIONS, bright_level, render_emitters, score_truth

GRID = PixelGrid((48, 64), 20.0, (160.0, 320.0))


def filaments(shape=GRID.shape, seed=0):
    spots = np.random.default_rng(seed).random(shape) > 0.97
    return gaussian_filter(spots.astype(np.float32), 1.5)


TRUTH = StructureImage(filaments(), GRID)
NOISY = filaments() + 0.3 * filaments(seed=1)


def wang_ssim(a, b):
    """SSIM from its definition (doi:10.1109/TIP.2003.819861), data range 1, borders left out."""

    def local(x):
        return gaussian_filter(x, 1.5, truncate=3.5)

    ma, mb = local(a), local(b)
    va, vb, vab = local(a * a) - ma**2, local(b * b) - mb**2, local(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    ssim = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return ssim[5:-5, 5:-5].mean()


def normalised(image):
    return image.astype(np.float64) / np.percentile(image.astype(np.float64), 99.9)


def score(image, truth=TRUTH, grid=GRID):
    return score_truth(Reconstruction(image, grid), truth)


def numbers(row):
    return astuple(row)[1:]


def test_the_truth_itself_scores_perfectly():
    row = score(TRUTH.density).image
    assert (row.corr_0px, row.corr_2px, row.corr_4px) == pytest.approx((1.0, 1.0, 1.0))
    assert row.psnr_p999_db == np.inf
    assert row.psnr_ls_db > 200.0
    assert (row.ssim_ls, row.ssim_p999) == pytest.approx((1.0, 1.0))


def test_every_score_follows_its_definition():
    t, x = normalised(TRUTH.density), NOISY.astype(np.float64)
    fitted = x * (x * t).sum() / (x * x).sum()
    row = score(NOISY).image
    assert row.name == "image"
    assert row.psnr_ls_db == pytest.approx(10 * np.log10(1.0 / np.mean((fitted - t) ** 2)))
    assert row.psnr_p999_db == pytest.approx(
        10 * np.log10(1.0 / np.mean((normalised(NOISY) - t) ** 2))
    )
    assert row.ssim_ls == pytest.approx(wang_ssim(fitted, t))
    assert row.ssim_p999 == pytest.approx(wang_ssim(normalised(NOISY), t))
    for blur_px, actual in ((0, row.corr_0px), (2, row.corr_2px), (4, row.corr_4px)):
        blurred = [gaussian_filter(p, blur_px).ravel() for p in (x, t)]
        assert actual == pytest.approx(np.corrcoef(*blurred)[0, 1])


def test_the_null_row_is_the_all_zero_image():
    t, null = normalised(TRUTH.density), score(NOISY).null
    assert null.name == "null"
    assert null.psnr_ls_db == null.psnr_p999_db == pytest.approx(-10 * np.log10(np.mean(t**2)))
    assert null.ssim_ls == null.ssim_p999 == pytest.approx(wang_ssim(np.zeros_like(t), t))
    assert np.isnan([null.corr_0px, null.corr_2px, null.corr_4px]).all()
    blank = score(np.zeros(GRID.shape, np.float32))
    assert blank.rows()[0] == {**blank.rows()[1], "name": "image"}


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 1e4))
def test_the_unit_of_the_image_does_not_matter(factor):
    actual = score((factor * NOISY).astype(np.float32)).image
    assert numbers(actual) == pytest.approx(numbers(score(NOISY).image), rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.floats(1e-3, 1e4))
def test_the_unit_of_the_truth_does_not_matter(factor):
    other = StructureImage((factor * TRUTH.density).astype(np.float32), GRID)
    actual = score(NOISY, other).image
    assert numbers(actual) == pytest.approx(numbers(score(NOISY).image), rel=1e-5)


def test_an_inverted_image_is_not_flipped_by_the_fit():
    scores = score(-TRUTH.density)
    assert scores.image.psnr_ls_db == scores.null.psnr_ls_db
    assert scores.image.corr_0px == pytest.approx(-1.0)


@pytest.mark.parametrize("factor", [2, 4])
def test_a_coarser_truth_is_met_by_block_sums_of_the_image(factor):
    coarse = StructureImage(block_sum(TRUTH.density, factor), GRID.coarsen(factor))
    scores = score(NOISY, coarse)
    expected = score(block_sum(NOISY, factor), coarse, GRID.coarsen(factor))
    assert scores.grid == GRID.coarsen(factor)
    assert numbers(scores.image) == pytest.approx(numbers(expected.image), rel=1e-5)


def test_a_finer_truth_is_summed_onto_the_image_grid():
    fine = StructureImage(filaments((96, 128)), GRID.refine(2))
    scores = score(NOISY, fine)
    expected = score(NOISY, StructureImage(block_sum(fine.density, 2), GRID))
    assert scores.grid == GRID
    assert numbers(scores.image) == pytest.approx(numbers(expected.image), rel=1e-5)


@pytest.mark.filterwarnings("ignore::dlbi.core.errors.DlbiWarning")
def test_emitters_are_scored_as_their_picture():
    y, x = GRID.to_nm(*np.random.default_rng(3).uniform(0, 48, (2, 40)))
    emitters = Emitters(x, y)
    expected = score(NOISY, render_emitters(emitters, GRID))
    assert score(NOISY, emitters).rows() == expected.rows()


def test_an_emitter_is_drawn_as_a_gaussian_in_the_pixel_that_holds_it():
    y, x = GRID.to_nm(np.array([20.4, 500.0]), np.array([30.6, 3.0]))
    picture = render_emitters(Emitters(x, y), GRID).density
    rows, columns = np.indices(GRID.shape)
    expected = np.exp(-((rows - 20) ** 2 + (columns - 31) ** 2) / 2.0) / (2 * np.pi)
    np.testing.assert_allclose(picture, expected, atol=2e-4)
    assert picture.sum() == pytest.approx(1.0, abs=1e-3)


def test_rounded_metadata_do_not_count_as_another_field():
    h, w = GRID.shape
    rounded = PixelGrid((h, w), 20.0 + 9.0 / w, (160.0, 329.0))
    assert score(NOISY, grid=rounded).image == score(NOISY).image


@pytest.mark.parametrize(
    "grid",
    [
        PixelGrid((48, 64), 20.0, (160.0, 331.0)),
        PixelGrid((48, 64), 20.5, (160.0, 320.0)),
        PixelGrid((48, 60), 20.0, (160.0, 320.0)),
        PixelGrid((72, 96), 20.0 / 1.5, (160.0, 320.0)),
        PixelGrid((96, 64), 20.0, (160.0, 320.0)),
    ],
    ids=["shifted", "other pixel size", "narrower", "1.5 times finer", "not square"],
)
def test_pictures_of_different_fields_are_refused(grid):
    with pytest.raises(
        ShapeError, match=r"64×48 px of 20 nm .*must cover the same field"
    ) as caught:
        score(np.ones(grid.shape, np.float32), grid=grid)
    assert "\n" not in str(caught.value)


def test_a_truth_of_a_few_points_is_measured_by_its_maximum():
    density = np.zeros(GRID.shape, np.float32)
    density[10, 10], density[30, 40] = 3.0, 6.0
    with pytest.warns(DlbiWarning, match=r"less than 0.1 % of the pixels are bright"):
        scores = score(NOISY, StructureImage(density, GRID))
    mean_square = (1.0 + 0.25) / density.size
    assert scores.null.psnr_ls_db == pytest.approx(-10 * np.log10(mean_square))


def test_bright_level_is_the_percentile_of_a_dense_image():
    assert bright_level(np.arange(10_001.0)) == pytest.approx(9991.0, abs=1.0)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="truth is empty"):
        score(NOISY, StructureImage(np.zeros(GRID.shape, np.float32), GRID))
    with pytest.raises(InputError, match="NaN or infinite"):
        score(np.full(GRID.shape, np.nan, np.float32))
    small = PixelGrid((10, 20), 20.0)
    with pytest.raises(ShapeError, match="at least 11×11"):
        score(filaments(small.shape), StructureImage(filaments(small.shape), small), small)


def test_rows_are_plain_json_and_every_normalisation_is_named():
    image, null = json.loads(json.dumps(score(TRUTH.density).rows(), allow_nan=False))
    assert image["psnr_p999_db"] is None
    assert null["corr_0px"] is None
    named = {key.removeprefix("ssim_") for key in image if key.startswith("ssim_")}
    assert named == set(NORMALISATIONS)
