import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, zoom

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.squirrel import score_movie, temporal_variance
from dlbi.forward import Projection

CAMERA = PixelGrid((32, 26), 160.0, (1600.0, 0.0))
FINE = CAMERA.refine(4)
PSF = GaussianPSF(422.4)
NOISE_SD = 3.0
N_FRAMES = 40


def structure(seed=0):
    spots = np.random.default_rng(seed).random(FINE.shape) > 0.99
    return 1000.0 * gaussian_filter(spots.astype(np.float32), 1.0)


IMAGE = structure()
MEAN = 2.0 * Projection(FINE, CAMERA, PSF).forward(IMAGE) + 100.0


def movie_of(mean, *, noise_sd=NOISE_SD, n_frames=N_FRAMES, seed=1):
    noise = np.random.default_rng(seed).normal(0.0, noise_sd, (n_frames, *mean.shape))
    return ImageStack((mean + noise).astype(np.float32), CAMERA)


def sr_of(image):
    return Reconstruction(image.astype(np.float32), FINE)


def test_the_image_behind_the_movie_explains_it():
    scores = score_movie(sr_of(IMAGE), movie_of(MEAN, noise_sd=0.05))
    assert scores.rsp > 0.99999
    assert scores.scale == pytest.approx(2.0, rel=2e-3)
    level = np.median(IMAGE) * scores.scale * 16
    assert scores.offset - level == pytest.approx(100.0, abs=1.0)
    assert scores.fwhm_nm == pytest.approx(PSF.fwhm_nm, rel=2e-3)
    assert scores.fwhm_fitted
    assert scores.shift_nm == (0.0, 0.0)


@pytest.mark.parametrize("seed", [0, 5])
def test_rsp_and_rse_are_those_of_the_returned_pictures(seed):
    scores = score_movie(sr_of(structure(seed)), movie_of(MEAN), psf=PSF)
    inner = (slice(4, -4), slice(4, -4))
    mean, reprojection = scores.mean[inner].ravel(), scores.reprojection[inner].ravel()
    rsp = np.corrcoef(mean, reprojection)[0, 1] * np.sign(scores.scale)
    assert scores.rsp == pytest.approx(rsp, abs=1e-5)
    assert scores.rse == pytest.approx(np.sqrt(np.mean((mean - reprojection) ** 2)), rel=1e-5)
    assert scores.rse == pytest.approx(mean.std() * np.sqrt(1.0 - rsp**2), rel=1e-4)
    np.testing.assert_array_equal(scores.error_map, np.abs(scores.mean - scores.reprojection))


@settings(max_examples=10, deadline=None)
@given(st.floats(0.01, 100.0), st.floats(-50.0, 50.0))
def test_the_unit_and_the_pedestal_of_the_image_do_not_matter(factor, pedestal):
    movie = movie_of(MEAN)
    expected = score_movie(sr_of(structure(2)), movie, psf=PSF, border_px=0)
    other = sr_of(factor * (structure(2) + pedestal))
    actual = score_movie(other, movie, psf=PSF, border_px=0)
    assert actual.rsp == pytest.approx(expected.rsp, abs=1e-4)
    assert actual.rse == pytest.approx(expected.rse, rel=1e-3)


def test_the_error_map_points_at_what_the_image_invents():
    invented = IMAGE.copy()
    invented[60:64, 40:44] += IMAGE.max()
    scores = score_movie(sr_of(invented), movie_of(MEAN), psf=PSF)
    row, column = np.unravel_index(scores.error_map.argmax(), CAMERA.shape)
    assert (row, column) == (pytest.approx(15, abs=1), pytest.approx(10, abs=1))
    assert scores.chi2_reduced > 10.0


def test_the_interpolated_mean_frame_scores_almost_perfectly():
    movie = movie_of(MEAN)
    blurred = zoom(movie.mean(), 4, order=3, mode="nearest", grid_mode=True)
    scores = score_movie(sr_of(blurred), movie)
    assert scores.rsp > 0.998
    assert scores.fwhm_nm < 80.0


def test_registration_finds_the_shift_and_is_off_by_default():
    moved = np.roll(IMAGE, (1, -2), axis=(0, 1))
    movie = movie_of(MEAN, noise_sd=0.05)
    plain = score_movie(sr_of(moved), movie)
    registered = score_movie(sr_of(moved), movie, register=True)
    assert plain.shift_nm == (0.0, 0.0)
    assert registered.shift_nm == (pytest.approx(-40.0, abs=1.0), pytest.approx(80.0, abs=1.0))
    assert registered.rsp > 0.9999 > 0.99 > plain.rsp
    assert registered.fwhm_nm == pytest.approx(PSF.fwhm_nm, rel=0.01)
    fixed = score_movie(sr_of(moved), movie, register=True, psf=GaussianPSF(430.0))
    assert fixed.fwhm_nm == 430.0
    assert fixed.shift_nm == pytest.approx((-40.0, 80.0), abs=2.0)


def test_a_shift_beyond_the_border_is_warned_of():
    with pytest.warns(DlbiWarning, match=r"moved the image by y=-?\d+, x=-?\d+ nm, beyond"):
        score_movie(
            sr_of(np.roll(IMAGE, 3, axis=1)), movie_of(MEAN), psf=PSF, register=True, border_px=0
        )


@pytest.mark.parametrize("seed", range(3))
def test_chi2_of_the_true_image_is_one(seed):
    movie = movie_of(MEAN, n_frames=200, seed=seed)
    known = np.full(CAMERA.shape, NOISE_SD**2 / 200, np.float32)
    dof = (32 - 8) * (26 - 8) - 2
    scores = score_movie(sr_of(IMAGE), movie, psf=PSF, variance_of_mean=known)
    # χ² of ν degrees of freedom has variance 2ν.
    assert abs(scores.chi2_reduced - 1.0) < 4.5 * np.sqrt(2.0 / dof)
    estimated = score_movie(sr_of(IMAGE), movie, psf=PSF)
    assert estimated.chi2_reduced == pytest.approx(scores.chi2_reduced, rel=0.05)


def test_every_fitted_number_costs_a_degree_of_freedom():
    movie = movie_of(MEAN)
    n = (32 - 8) * (26 - 8)
    for options, n_fitted in (({"psf": PSF}, 2), ({}, 3), ({"register": True}, 5)):
        variance = np.ones(CAMERA.shape, np.float32)
        scores = score_movie(sr_of(IMAGE), movie, variance_of_mean=variance, **options)
        assert scores.chi2_reduced * (n - n_fitted) == pytest.approx(n * scores.rse**2, rel=1e-6)


def test_the_image_behind_a_movie_that_fades_explains_it():
    """χ² within 4.5 standard deviations of 1, as for a movie that does not.

    Late frames show another structure, as where a few fluorophores survive; in the plain mean it
    would be a misfit.
    """
    n_frames = 200
    light = np.exp(-np.arange(n_frames) / 40.0)[:, None, None]
    others = Projection(FINE, CAMERA, PSF).forward(structure(7))
    survivors = 4.0 * (others / others.std()) * (np.arange(n_frames) > 150)[:, None, None]
    frames = 100.0 + (MEAN - 100.0) * light + survivors
    noise = np.random.default_rng(2).normal(0.0, NOISE_SD, frames.shape)
    movie = ImageStack((frames + noise).astype(np.float32), CAMERA)
    dof = (32 - 8) * (26 - 8) - 2
    scores = score_movie(sr_of(IMAGE), movie, psf=PSF)
    assert abs(scores.chi2_reduced - 1.0) < 4.5 * np.sqrt(2.0 / dof)
    plain = score_movie(sr_of(IMAGE), movie, psf=PSF, mean=movie.mean())
    assert plain.chi2_reduced > 2.0


def test_temporal_variance_is_half_the_mean_square_of_differences():
    frames = np.random.default_rng(4).normal(50.0, 4.0, (130, *CAMERA.shape)).astype(np.float32)
    expected = np.mean(np.diff(frames.astype(np.float64), axis=0) ** 2, axis=0) / 2
    actual = temporal_variance(ImageStack(frames, CAMERA))
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_temporal_variance_is_that_of_white_noise_and_blind_to_bleaching():
    movie = movie_of(MEAN, n_frames=300)
    trend = np.linspace(30.0, 0.0, 300, dtype=np.float32)[:, None, None]
    bleaching = ImageStack(movie.data + trend, CAMERA)
    # Var[mean of d²/2] = σ⁴ (3T − 4) / (T − 1)² for T white frames (von Neumann 1941).
    standard_error = NOISE_SD**2 * np.sqrt(3.0 / (299 * MEAN.size))
    for stack in (movie, bleaching):
        assert abs(temporal_variance(stack).mean() - NOISE_SD**2) < 4.5 * standard_error


def test_noise_that_fades_with_the_light_counts_where_the_mean_comes_from():
    """χ² of the true image is 1 under shot noise, within 4.5 of its standard deviations.

    The variance of a frame, ÷ Σ fading², is less than half of that of the mean: χ² would be 2.5.
    """
    n_frames = 300
    light = np.exp(-np.arange(n_frames) / 75.0)[:, None, None]
    frames = np.random.default_rng(6).poisson(5.0 * (MEAN - 90.0) * light)
    movie = ImageStack(frames.astype(np.float32), CAMERA)
    scores = score_movie(sr_of(IMAGE), movie, psf=PSF)
    dof = (32 - 8) * (26 - 8) - 2
    assert abs(scores.chi2_reduced - 1.0) < 4.5 * np.sqrt(2.0 / dof)


def test_blinking_adds_to_the_temporal_variance():
    movie = movie_of(MEAN, n_frames=200)
    on = np.random.default_rng(9).random((200, *CAMERA.shape), dtype=np.float32) < 0.3
    blinking = ImageStack(movie.data + 10.0 * on, CAMERA)
    excess = temporal_variance(blinking).mean() - temporal_variance(movie).mean()
    assert excess == pytest.approx(100.0 * 0.3 * 0.7, rel=0.05)


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_constant_image_explains_nothing(level):
    scores = score_movie(sr_of(np.full(FINE.shape, level)), movie_of(MEAN))
    assert np.isnan(scores.rsp)
    assert scores.rse == pytest.approx(scores.mean[4:-4, 4:-4].std(), rel=1e-5)
    assert json.loads(json.dumps(scores.row(), allow_nan=False))["rsp"] is None


def test_an_image_of_another_field_is_warned_of():
    with pytest.warns(DlbiWarning, match="widest blur"):
        score_movie(sr_of(-IMAGE), movie_of(MEAN))


def test_pixels_that_never_change_are_left_out_of_chi2():
    movie = movie_of(MEAN)
    stuck = movie.data.copy()
    stuck[:, 10:12, 10:12] = 120.0
    with pytest.warns(DlbiWarning, match="4 of 432 pixels never change"):
        scores = score_movie(sr_of(IMAGE), ImageStack(stuck, CAMERA), psf=PSF)
    assert np.isfinite(scores.chi2_reduced)


def test_small_movies_get_a_smaller_border():
    small = movie_of(MEAN).select(roi=(8, 8, 10, 9))
    image = Reconstruction(IMAGE[32:68, 32:72], small.grid.refine(4))
    assert score_movie(image, small, psf=PSF).border_px == 2
    assert score_movie(image, small, psf=PSF, border_px=0).border_px == 0


@pytest.mark.parametrize("border_px", [-1, 13, 20])
def test_a_border_that_leaves_nothing_is_refused(border_px):
    with pytest.raises(ShapeError, match=f"border of {border_px} px"):
        score_movie(sr_of(IMAGE), movie_of(MEAN), border_px=border_px)


def test_what_cannot_be_scored_is_refused():
    movie = movie_of(MEAN)
    with pytest.raises(ShapeError, match="must cover the same field"):
        score_movie(sr_of(IMAGE), movie.select(roi=(0, 0, 20, 20)))
    broken = IMAGE.copy()
    broken[3, 3] = np.inf
    with pytest.raises(InputError, match="image holds NaN"):
        score_movie(sr_of(broken), movie)
    frames = movie.data.copy()
    frames[5, 9, 9] = np.nan
    with pytest.raises(InputError, match="mean frame holds NaN"):
        score_movie(sr_of(IMAGE), ImageStack(frames, CAMERA))
    flat = ImageStack(np.full((3, *CAMERA.shape), 9.0), CAMERA)
    with pytest.raises(InputError, match="mean frame is constant"):
        score_movie(sr_of(IMAGE), flat)
    with pytest.raises(ShapeError, match=r"variance map is \(3, 3\)"):
        score_movie(sr_of(IMAGE), movie, psf=PSF, variance_of_mean=np.ones((3, 3), np.float32))


def test_background_is_taken_off_the_mean_frame():
    rng = np.random.default_rng(5)
    camera = PixelGrid((32, 32), 160.0)
    structure = rng.random((256, 256)).astype(np.float32) ** 20
    psf = GaussianPSF(400.0)
    seen = Projection(camera.refine(8), camera, psf).forward(structure)
    haze = np.linspace(0, 10 * float(seen.max()), 32, dtype=np.float32)[:, None] + 0 * seen
    frames = np.stack([seen + haze + 0.01 * k for k in (-1.0, 1.0)]).astype(np.float32)
    movie = ImageStack(frames, camera)
    sr = Reconstruction(structure, camera.refine(8), background=haze)
    alone = score_movie(sr, movie, psf=psf)
    explained = score_movie(sr, movie, psf=psf, background=sr.background)
    assert alone.rsp < 0.9
    assert explained.rsp > 0.999
    with pytest.raises(ShapeError, match="background"):
        score_movie(sr, movie, background=haze[:5])


def test_a_background_that_does_not_divide_into_the_grid_is_refused():
    grid = PixelGrid((16, 24), 20.0)
    with pytest.raises(ShapeError, match="background"):
        Reconstruction(np.ones((16, 24), np.float32), grid, background=np.ones((4, 4), np.float32))
