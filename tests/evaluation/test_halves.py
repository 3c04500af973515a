"""Agreement of two reconstructions."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction
from dlbi.evaluation.decorrelation import decorrelation
from dlbi.evaluation.halves import BLURS_PX, score_halves
from dlbi.evaluation.ring_correlation import ring_correlation

GRID = PixelGrid((96, 96), 20.0)


@pytest.fixture(scope="module")
def halves(texture):
    pair = texture(2.0, 0.15).pair(GRID.shape, np.random.default_rng(1))
    return [Reconstruction(image.astype(np.float32), GRID) for image in pair]


def test_scores_are_those_of_the_means(halves):
    first, second = (half.mean.astype(np.float64) for half in halves)
    found = score_halves(*halves)
    expected = [
        np.corrcoef(gaussian_filter(first, s).ravel(), gaussian_filter(second, s).ravel())[0, 1]
        for s in BLURS_PX
    ]
    np.testing.assert_allclose(found.correlations, expected)
    assert found.frc.resolution_nm == ring_correlation(first, second, 20.0).resolution_nm
    for image, sharpness in zip((first, second), found.sharpness, strict=True):
        assert sharpness.resolution_nm == decorrelation(image, 20.0).resolution_nm


def test_scores_as_json_and_in_words(halves):
    found = score_halves(*halves)
    row = json.loads(json.dumps(found.row(), allow_nan=False))
    assert row["corr_2px"] == found.correlations[2]
    assert row["frc_resolution_nm"] == found.frc.resolution_nm
    assert row["frc_reason"] is None
    assert f"{found.frc.resolution_nm:.0f} nm" in str(found)
    assert "agreement is not truth" in str(found)


def test_a_blank_half_agrees_with_nothing(halves):
    blank = Reconstruction(np.zeros(GRID.shape, np.float32), GRID)
    found = score_halves(halves[0], blank)
    row = json.loads(json.dumps(found.row(), allow_nan=False))
    assert row["corr_0px"] is None
    assert row["frc_resolution_nm"] is None
    assert row["frc_reason"] == "an image is constant"
    assert "0 px –" in str(found)


@pytest.mark.parametrize(
    "grid",
    [
        PixelGrid((48, 48), 40.0),
        PixelGrid((96, 96), 40.0),
        PixelGrid((96, 96), 20.0, (200.0, 0.0)),
        PixelGrid((96, 95), 20.0),
    ],
)
def test_halves_must_share_their_grid(halves, grid):
    other = Reconstruction(np.ones(grid.shape, np.float32), grid)
    for pair in ((halves[0], other), (other, halves[0])):
        with pytest.raises(ShapeError, match=r"cannot be compared|one grid"):
            score_halves(*pair)


def test_an_image_with_holes_is_refused(halves):
    holed = halves[0].mean.copy()
    holed[3, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        score_halves(Reconstruction(holed, GRID), halves[1])
