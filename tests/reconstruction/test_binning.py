"""Blocks of pixels for the network where the PSF covers too many of them."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.inference.measurement.halo import bared
from dlbi.learning.prediction import Prediction
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.binning import BEYOND, binned, binning_for, show, unbinned
from dlbi.reconstruction.measurement import (
    deconvolve,
    measure,
    projection_of,
    without_halo,
    without_margin,
)
from dlbi.reconstruction.options import Options
from dlbi.reconstruction.pipeline import reconstruct_given
from dlbi.reconstruction.prior import look
from dlbi.reconstruction.scoping import Given
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

WIDEST_PX = 1.5
RANGES = {"psf_sigma_px": (0.6, WIDEST_PX)}
NO_HALO = Halo()
QUIET = {"seed": 3, "n_workers": 1, "progress": lambda *_: None}


@pytest.fixture(scope="module")
def fine_movie():
    """A movie of small pixels: the PSF covers 5 of them."""
    structure = draw("bundles", PixelGrid((288, 304), 10.0), np.random.default_rng(5))
    scene = custom(n_emitters=500, peak_to_noise=3.0, fwhm_nm=400.0, pixel_size_nm=80.0)
    return simulate(structure, scene, n_frames=60, rng=5)


@pytest.fixture(scope="module")
def scene(fine_movie):
    found = measure(fine_movie.stack)
    projection = projection_of(fine_movie.stack, GaussianPSF(400.0), 8)
    return found, deconvolve(found, projection, n_iterations=60), projection


@pytest.mark.parametrize(
    ("sigma_px", "factor"),
    [(0.3, 1), (0.99 * BEYOND, 1), (1.01 * BEYOND, 2), (1.99 * BEYOND, 2), (2.01 * BEYOND, 3)],
)
def test_the_smallest_blocks_that_bring_the_psf_into_the_range_are_taken(sigma_px, factor):
    psf = SimpleNamespace(sigma_px=lambda _: sigma_px * WIDEST_PX)
    assert binning_for(SimpleNamespace(ranges=RANGES), psf, PixelGrid((100, 80), 50.0)) == factor


def test_a_network_without_a_range_of_psfs_sees_the_pixels_of_the_camera():
    psf, grid = GaussianPSF(5000.0), PixelGrid((100, 80), 50.0)
    assert binning_for(SimpleNamespace(ranges={}), psf, grid) == 1


@pytest.mark.parametrize(("side", "factor"), [(10, 1), (31, 1), (32, 2), (47, 2), (48, 3), (90, 3)])
def test_a_field_that_would_have_too_few_blocks_has_smaller_ones(side, factor):
    psf = SimpleNamespace(sigma_px=lambda _: 2.5 * WIDEST_PX)
    grid = PixelGrid((95, side), 80.0)
    assert binning_for(SimpleNamespace(ranges=RANGES), psf, grid) == factor


def test_a_movie_in_blocks_is_the_sum_of_their_pixels(fine_movie, scene):
    movie = scene[0]
    frames = fine_movie.stack.load()
    coarse = binned(movie, 3, NO_HALO)
    assert coarse.stack.grid == PixelGrid((12, 12), 240.0)  # of 36 × 38 pixels
    expected = np.stack([block_sum(frame[:, :36], 3) for frame in frames])
    np.testing.assert_allclose(coarse.stack.load(), expected, rtol=1e-6)
    np.testing.assert_allclose(coarse.mean, expected.mean(axis=0), rtol=1e-5)
    assert coarse.noise == movie.noise.binned(3)
    part = coarse.stack.data[5:50:7, 2:9:3, 1:11]
    np.testing.assert_allclose(part, expected[5:50:7, 2:9:3, 1:11], rtol=1e-6)


def test_counts_of_a_camera_do_not_overflow_in_blocks(measured):
    frames = np.full((2, 20, 20), 60_000, np.uint16)
    movie = measured(np.full((20, 20), 60_000.0))
    movie = replace(movie, stack=ImageStack(frames, PixelGrid((20, 20), 100.0)))
    assert (binned(movie, 2, NO_HALO).stack.load() == 240_000).all()


def test_the_halo_is_taken_off_the_blocks(fine_movie, scene):
    halo = Halo(0.3, 600.0)
    bare, whole = (binned(scene[0], 2, h) for h in (halo, NO_HALO))
    expected = without_halo(whole, halo)
    np.testing.assert_array_equal(bare.background.haze, expected.background.haze)
    frames = bared(whole.stack, whole.mean, halo).load()
    np.testing.assert_array_equal(bare.stack.load(), frames)
    assert np.abs(frames - whole.stack.load()).max() > 1.0


def test_what_is_said_of_blocks_keeps_its_light_and_its_place():
    image = np.zeros((40, 48), np.float32)
    image[13, 30], image[20, 5] = 100.0, 60.0
    mean = gaussian_filter(image, 2.0)
    std, p_value = 0.2 * mean + 0.01, np.exp(-mean)
    fine = unbinned(Prediction(mean, std, p_value), 2, (80, 96))
    assert fine.mean.sum() == pytest.approx(mean.sum(), rel=1e-3)
    np.testing.assert_allclose(block_sum(fine.std, 2), std, atol=0.06 * std.max())
    assert fine.mean.min() >= 0
    assert fine.p_value.min() >= 0
    assert fine.p_value.max() <= 1
    # The centre of block 13 lies between the fine pixels 26 and 27.
    y, x = np.indices(fine.mean.shape)
    near = np.hypot(y - 26.5, x - 60.5) < 16
    light = fine.mean * near
    assert (light * y).sum() / light.sum() == pytest.approx(26.5, abs=0.02)
    assert (light * x).sum() / light.sum() == pytest.approx(60.5, abs=0.02)
    lit = fine.p_value[26:28, 60:62]
    np.testing.assert_allclose(lit, p_value[13, 30], atol=0.1)


def test_pixels_that_fill_no_block_are_like_those_beside_them():
    mean = np.random.default_rng(2).random((16, 16)).astype(np.float32)
    fine = unbinned(Prediction(mean, mean, None), 2, (40, 35))
    assert fine.mean.shape == fine.std.shape == (40, 35)
    np.testing.assert_array_equal(fine.mean[32:], np.broadcast_to(fine.mean[31], (8, 35)))
    np.testing.assert_array_equal(fine.std[:, 32], fine.std[:, 31])
    assert fine.p_value is None


def test_a_psf_within_the_range_is_seen_as_before(compact, scene):
    network = compact(lambda guide: guide, ranges={"psf_sigma_px": (0.6, 3.0)})
    seen, record = show(network, *scene, whole=scene[0], halo=NO_HALO, **QUIET)
    expected, _ = look(network, *scene, **QUIET)
    np.testing.assert_array_equal(seen.mean, expected.mean)
    assert record["binning"] == 1


def test_a_network_that_copies_its_guide_shows_the_same_light_through_blocks(compact, scene):
    network = compact(lambda guide: guide, ranges=RANGES)
    movie, density, projection = scene
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen, record = show(network, *scene, whole=movie, halo=NO_HALO, **QUIET)
    assert record["binning"] == 2
    assert record["summary"]["psf_sigma_px"] == pytest.approx(projection.psf.sigma_px(160.0))
    own = without_margin(density, projection)
    assert seen.mean.shape == own.shape
    assert seen.mean.sum() == pytest.approx(own.sum(), rel=0.2)
    alike = np.corrcoef(*(gaussian_filter(m, 8.0).ravel() for m in (seen.mean, own)))[0, 1]
    assert alike > 0.95


@pytest.mark.parametrize("method", ["network", "dlbi"])
def test_blocks_are_made_of_the_movie_with_its_halo(compact, fine_movie, monkeypatch, method):
    """What is measured in blocks must not have lost it twice."""
    halo, seen = Halo(0.3, 600.0), []

    def spy(movie, factor, of):
        seen.append((movie, of))
        return binned(movie, factor, of)

    monkeypatch.setattr("dlbi.reconstruction.binning.binned", spy)
    options = Options(method, model=compact(lambda guide: guide, ranges=RANGES), quality="preview")
    given = Given(psf=GaussianPSF(400.0), halo=halo)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        reconstruct_given(fine_movie.stack, given, options, seed=1)
    ((movie, of),) = seen
    assert of == halo
    expected = measure(fine_movie.stack)
    np.testing.assert_array_equal(movie.background.haze, expected.background.haze)
    np.testing.assert_array_equal(movie.stack.load(), fine_movie.stack.load())


def test_a_movie_of_small_pixels_is_reconstructed_on_its_own_fine_grid(compact, fine_movie):
    network = compact(lambda guide: guide, ranges=RANGES)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        found = reconstruct(
            fine_movie.stack, method="network", model=network, psf=GaussianPSF(400.0), rng=1
        )
    assert found.mean.shape == found.std.shape == found.p_value.shape == (288, 304)
    assert found.provenance["network"]["binning"] == 2
    assert found.background.shape == (36, 38)
