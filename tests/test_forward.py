from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.emitters import Emitters
from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF, integrated_profile
from dlbi.forward import PROFILE_REACH_SIGMA, Projection, expected_image

PSF = GaussianPSF(422.4)
CAMERA = PixelGrid((14, 11), 160.0, (320.0, -160.0))
LIGHT_BEYOND_REACH = 1e-4


def random_image(shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def point(fine, row, column):
    image = np.zeros(fine.shape, np.float32)
    image[row, column] = 1.0
    y, x = fine.to_nm(np.array([row]), np.array([column]))
    return image, Emitters(x, y)


def axis_reference(camera, fine, axis):
    """Full matrix of one axis without a band, from the two grids alone."""
    fine_nm = fine.centres_nm()[axis]
    centres_px = camera.to_px(fine_nm, fine_nm)[axis]
    pixel = np.arange(camera.shape[axis])
    return integrated_profile(pixel[:, None], centres_px, PSF.sigma_px(camera.pixel_size_nm))


grids = pytest.mark.parametrize(
    "fine",
    [CAMERA.refine(8), CAMERA.refine(3).pad(7), CAMERA, CAMERA.pad(2).refine(4)],
    ids=["x8", "x3 with a margin", "x1", "x4 with a margin"],
)


@grids
def test_projection_is_the_pair_of_profile_matrices(fine):
    image = random_image(fine.shape)
    rows, columns = (axis_reference(CAMERA, fine, axis) for axis in (0, 1))
    expected = rows @ image @ columns.T
    actual = Projection(fine, CAMERA, PSF).forward(image)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=2e-4)


@grids
def test_projection_equals_its_own_dense_matrices(fine):
    projection = Projection(fine, CAMERA, PSF)
    rows, columns = projection.rows.dense(), projection.columns.dense()
    image, camera = random_image(fine.shape), random_image(CAMERA.shape)
    np.testing.assert_allclose(projection.forward(image), rows @ image @ columns.T, rtol=1e-5)
    np.testing.assert_allclose(projection.adjoint(camera), rows.T @ camera @ columns, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 8),
    st.integers(0, 9),
    st.floats(20.0, 900.0),
    st.integers(0, 99),
)
def test_adjoint_is_the_transpose(height, width, factor, margin, fwhm_nm, seed):
    camera = PixelGrid((height, width), 100.0, (250.0, -30.0))
    projection = Projection(camera.refine(factor).pad(margin), camera, GaussianPSF(fwhm_nm))
    x, y = random_image(projection.fine.shape, seed), random_image(camera.shape, seed + 1)
    there = np.vdot(projection.forward(x).astype(np.float64), y)
    back = np.vdot(x, projection.adjoint(y).astype(np.float64))
    assert there == pytest.approx(back, rel=1e-5)


@pytest.mark.parametrize("cuts", [[0, 23], [0, 1, 2, 23], [0, 11, 22, 23]])
def test_parts_of_a_projection_are_those_of_the_whole_bit_for_bit(cuts):
    camera = PixelGrid((23, 31), 160.0)
    projection = Projection(camera.pad(4).refine(8), camera, GaussianPSF(390.0))
    x, y = random_image(projection.fine.shape, 8), random_image(camera.shape, 9)
    rows = [slice(a, b) for a, b in pairwise(cuts)]
    fine_rows = [slice(10 * r.start, 10 * r.stop) for r in rows[:-1]]
    fine_rows.append(slice(10 * rows[-1].start, projection.fine.shape[0]))
    seen = np.concatenate([projection.forward_rows(x, part) for part in rows])
    half = np.concatenate([projection.spread_columns(y[part]) for part in rows])
    weights, scaled = random_image(x.shape, 10), x.copy()
    for part in fine_rows:
        projection.scale_rows(scaled, half, weights, part)
    np.testing.assert_array_equal(seen, projection.forward(x))
    np.testing.assert_array_equal(scaled, x * (projection.adjoint(y) * weights))


@pytest.mark.parametrize("fwhm_nm", [90.0, 250.0, 422.0])
@pytest.mark.parametrize("factor", [1, 3, 8])
def test_rows_four_at_a_time_are_the_matrix_product(factor, fwhm_nm):
    """Bands of any length, cut at the border or not: `BandedMatrix.dense` on both sides."""
    camera = PixelGrid((9, 13), 160.0)
    projection = Projection(camera.refine(factor), camera, GaussianPSF(fwhm_nm))
    x, y = random_image(projection.fine.shape, 1), random_image(camera.shape, 2)
    rows, columns = projection.rows.dense(), projection.columns.dense()
    np.testing.assert_allclose(projection.forward(x), rows @ x @ columns.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(projection.adjoint(y), rows.T @ y @ columns, rtol=1e-5, atol=1e-6)


def test_light_inside_the_field_is_conserved():
    camera = PixelGrid((40, 40), 160.0)
    fine = camera.refine(4)
    image = np.zeros(fine.shape, np.float32)
    image[60:100, 60:100] = random_image((40, 40))
    total = Projection(fine, camera, PSF).forward(image).sum(dtype=np.float64)
    assert total == pytest.approx(image.sum(dtype=np.float64), rel=2 * LIGHT_BEYOND_REACH)


def test_a_flat_image_with_a_margin_gives_a_flat_camera_image():
    fine = CAMERA.pad(6).refine(8)
    flat = Projection(fine, CAMERA, PSF).forward(np.ones(fine.shape, np.float32))
    np.testing.assert_allclose(flat, 64.0, rtol=2 * LIGHT_BEYOND_REACH)


@pytest.mark.parametrize("position", [(0, 0), (37, 50), (111, 3), (60, 87)])
def test_a_fine_pixel_is_seen_as_a_point_at_its_centre(position):
    fine = CAMERA.refine(8)
    image, emitter = point(fine, *position)
    expected = expected_image(emitter, np.ones(1), CAMERA, PSF)
    actual = Projection(fine, CAMERA, PSF).forward(image)
    np.testing.assert_allclose(actual, expected, atol=LIGHT_BEYOND_REACH)


def test_a_pixel_of_the_margin_sends_its_light_into_the_field():
    fine = CAMERA.refine(8).pad(24)
    image, emitter = point(fine, 14, 60)
    actual = Projection(fine, CAMERA, PSF).forward(image)
    expected = expected_image(emitter, np.ones(1), CAMERA, PSF)
    np.testing.assert_allclose(actual, expected, atol=LIGHT_BEYOND_REACH)
    assert 0.05 < actual.sum() < 0.3


def test_expected_image_is_the_weighted_sum_of_profiles():
    rng = np.random.default_rng(2)
    y_nm, x_nm = rng.uniform(-300.0, 2500.0, (2, 30))
    weights = rng.uniform(0.0, 50.0, 30)
    y, x = CAMERA.to_px(y_nm, x_nm)
    sigma = PSF.sigma_px(160.0)
    rows = integrated_profile(np.arange(14)[:, None], y, sigma)
    columns = integrated_profile(np.arange(11)[:, None], x, sigma)
    expected = np.einsum("in,jn,n->ij", rows, columns, weights)
    actual = expected_image(Emitters(x_nm, y_nm), weights, CAMERA, PSF)
    np.testing.assert_allclose(actual, expected, atol=weights.sum() * LIGHT_BEYOND_REACH)


def test_expected_image_of_no_emitters_is_dark():
    nobody = Emitters(np.zeros(0), np.zeros(0))
    assert not expected_image(nobody, np.zeros(0), CAMERA, PSF).any()


def test_a_profile_is_cut_where_little_light_is_left():
    outside = 1.0 - integrated_profile(np.array([0]), 0.0, 0.5 / PROFILE_REACH_SIGMA)[0]
    assert outside == pytest.approx(6.3e-5, rel=0.01)


def test_images_of_another_shape_are_refused():
    projection = Projection(CAMERA.refine(8), CAMERA, PSF)
    with pytest.raises(ShapeError, match=r"\(112, 88\), got \(14, 11\)"):
        projection.forward(np.zeros((14, 11), np.float32))
    with pytest.raises(ShapeError, match=r"\(14, 11\), got \(112, 88\)"):
        projection.adjoint(np.zeros((112, 88), np.float32))
