from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.squirrel import temporal_variance
from dlbi.learning.observation import signal_level
from dlbi.learning.passes import COMPACT_PASSES, PAPER_PASSES
from dlbi.learning.prediction import predict_frames
from dlbi.reconstruction.measurement import (
    MARGIN_PX,
    deconvolve,
    measure,
    projection_of,
    with_margin,
)
from dlbi.reconstruction.prior import (
    AROUND_SIGMA_PX,
    BESIDE_SIGMA_PX,
    DARK_SHARE,
    DISAGREEMENT,
    LARGE_SHARE,
    LEADING_STEPS,
    MISSED,
    MODEL_ERROR,
    disagreement,
    led_back,
    look,
    report_disagreement,
    with_background_beside,
)

PSF = GaussianPSF(422.0)
SIDE = 24


@pytest.fixture(scope="module")
def scene(movie):
    """Measured movie, its deconvolution and projection."""
    found = measure(movie.stack)
    projection = projection_of(movie.stack, movie.scene.microscope.psf, 8)
    return found, deconvolve(found, projection), projection


def see(network, scene, **options):
    settings = {"seed": 3, "n_workers": 1, "progress": lambda *_: None}
    return look(network, *scene, **settings | options)


def inside(density):
    m = 8 * MARGIN_PX
    return density[m:-m, m:-m]


# What the network sees and says.


def test_a_network_that_copies_its_guide_gives_the_deconvolution_in_counts(compact, scene):
    steps = []
    found, record = see(compact(lambda g: g), scene, progress=lambda *s: steps.append(s))
    np.testing.assert_allclose(found.mean, inside(scene[1]), rtol=1e-3, atol=1e-5)
    assert found.std.shape == found.p_value.shape == (256, 256)
    assert record["name"] == "stub"
    assert record["sha256"] == "0" * 64
    assert record["summary"]["n_frames"] == 120
    assert record["out_of_range"] == []
    assert steps == [(n + 1, COMPACT_PASSES) for n in range(COMPACT_PASSES)]


def test_a_movie_unlike_those_of_the_training_is_told(compact, scene):
    with pytest.warns(
        DlbiWarning, match=r"n_frames 120 \(trained on 150 to 400\).*bayes"
    ) as caught:
        _, record = see(
            compact(lambda g: g, ranges={"n_frames": (150, 400), "psf_sigma_px": (0.5, 2.0)}), scene
        )
    assert len(caught) == 1
    assert record["out_of_range"] == ["n_frames 120 (trained on 150 to 400)"]


def test_a_movie_like_those_of_the_training_is_not_mentioned(compact, scene):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        see(compact(lambda g: g, ranges={"n_frames": (20, 400)}), scene)


def test_a_network_of_the_papers_kind_gets_the_light_of_the_movie(paper, scene):
    movie, steps = scene[0], []
    found, record = see(paper(120), scene, progress=lambda *s: steps.append(s))
    assert found.mean.sum() == pytest.approx(np.maximum(movie.signal, 0).sum(), rel=1e-4)
    # The stub draws the normalised mean frame: an affine map of it, the same in every pass.
    drawn = found.mean[::8, ::8].ravel()
    assert np.corrcoef(drawn, movie.mean.ravel())[0, 1] > 0.9999
    assert found.p_value is None
    assert record == {"name": "stub", "sha256": "0" * 64}
    assert len(steps) == 2 * PAPER_PASSES


def test_the_spread_of_a_network_of_the_papers_kind_is_scaled_as_its_image(paper, scene):
    network = paper(120, contrast=0.3)
    raw = predict_frames(network, scene[0].stack, seed=3)
    found, _ = see(network, scene)
    factor = found.mean.sum() / raw.mean.sum()
    assert raw.std.max() > 0
    np.testing.assert_allclose(found.std, factor * raw.std, rtol=1e-4, atol=1e-6)


def test_a_network_of_the_papers_kind_reads_its_number_of_frames_only(paper, scene):
    with pytest.raises(InputError, match="exactly 7 frames"):
        see(paper(7), scene)


# Whether its image explains the movie.


@pytest.fixture
def drawn(measured):
    """Two lines, the projection, and a measured movie of a picture with white noise."""
    picture = np.zeros((8 * SIDE, 8 * SIDE), np.float32)
    picture[:, 60] = picture[130, :] = 1.0

    def make(picture, *, noise: float, seed: int = 0):
        movie = measured(np.zeros((SIDE, SIDE)), variance=max(2 * noise**2, 1e-12))
        projection = projection_of(movie.stack, PSF, 8)
        mean = projection.forward(with_margin(picture, projection))
        mean += noise * np.random.default_rng(seed).standard_normal(mean.shape).astype(np.float32)
        return measured(mean + 7.0, haze=7.0, variance=max(2 * noise**2, 1e-12)), projection

    return picture, make


def test_the_truth_disagrees_as_noise_does(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.05)
    z = disagreement(movie, picture, projection)
    assert z.shape == (SIDE, SIDE)
    lit = projection.forward(with_margin(picture, projection)) > 0.01
    assert 100 < lit.sum() < SIDE * SIDE - 100
    # Unit variance in the dark, below it where the model error is allowed for.
    n = (~lit).sum()
    assert abs(z[~lit].std() - 1) < 4 / np.sqrt(2 * n)
    assert z[lit].std() < 1
    assert abs(z[~lit].mean()) < 4 / np.sqrt(n)
    assert np.abs(z).max() < DISAGREEMENT
    assert report_disagreement(z)["share_in_disagreement"] == 0


def test_only_the_shape_of_the_image_counts(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.05)
    one, seven = (disagreement(movie, f * picture, projection) for f in (np.float32(1), 7))
    np.testing.assert_allclose(one, seven, atol=1e-3)


def test_standard_errors_of_a_pixel(measured):
    # A flat image predicts the same everywhere; by least squares that is the mean signal, 10.
    movie = measured(np.full((SIDE, SIDE), 10.0), variance=8.0, n_frames=2)
    movie.mean[12, 12] += 5.0
    movie.mean[3, 3] -= 5.0
    z = disagreement(
        movie, np.ones((8 * SIDE, 8 * SIDE), np.float32), projection_of(movie.stack, PSF, 8)
    )
    assert z[12, 12] == pytest.approx(5 / np.sqrt(4 + (MODEL_ERROR * 15) ** 2), rel=0.01)
    assert z[3, 3] == pytest.approx(-5 / np.sqrt(4 + (MODEL_ERROR * 10) ** 2), rel=0.01)
    # Not the rim, where the PSF reaches beyond the margin.
    assert np.abs(z[8:16, 5:11]).max() < 0.05


def test_structure_that_the_image_lacks_shows_more_light_than_expected(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    erased = picture.copy()
    erased[:, 60] = 0.0
    z = disagreement(movie, erased, projection)
    assert z[2:13, 7].min() > DISAGREEMENT
    assert np.abs(z[:10, 14:]).max() < DISAGREEMENT
    with pytest.warns(DlbiWarning, match=r"disagree in \d+% of the field.*bayes"):
        share = report_disagreement(z)["share_in_disagreement"]
    assert share > LARGE_SHARE


def test_structure_that_the_image_invents_shows_less_light_than_expected(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    invented = picture.copy()
    invented[:, 150] = 1.0
    z = disagreement(movie, invented, projection)
    assert z[2:13, 18].max() < -DISAGREEMENT
    with pytest.warns(DlbiWarning, match=r"disagree in \d+% of the field"):
        report_disagreement(z)


def test_an_image_of_nothing_leaves_the_light_unexplained(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    z = disagreement(movie, np.zeros_like(picture), projection)
    assert np.isfinite(z).all()
    assert z.max() > DISAGREEMENT


def test_the_emitted_light_of_a_simulation_agrees_with_its_movie(movie, scene):
    measured, _, projection = scene
    emitters = movie.emitters
    y, x = movie.stack.grid.refine(8).to_px(emitters.y_nm, emitters.x_nm)
    light = np.zeros((256, 256), np.float32)
    index = tuple(np.floor([y + 0.5, x + 0.5]).astype(int))
    np.add.at(light, index, emitters.photons * emitters.frames_on / movie.n_frames)
    z = disagreement(measured, light, projection)
    # Light from beyond the border is not known; the rest is explained.
    assert np.abs(z[3:-3, 3:-3]).max() < DISAGREEMENT
    wrong = disagreement(measured, np.ascontiguousarray(light[::-1]), projection)
    assert (np.abs(wrong) > DISAGREEMENT).mean() > LARGE_SHARE


def test_a_share_just_above_the_limit_is_told_and_below_is_not():
    z = np.zeros((10, 10), np.float32)
    z.flat[:10] = [DISAGREEMENT + 1, -DISAGREEMENT - 1] * 5
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        report = report_disagreement(z)
    assert report["share_in_disagreement"] == pytest.approx(0.1)
    assert report["rms_z"] == pytest.approx(np.sqrt(0.1) * (DISAGREEMENT + 1))
    z.flat[10] = -DISAGREEMENT - 1
    with pytest.warns(DlbiWarning, match="11%"):
        report_disagreement(z)


def test_the_image_continues_into_the_margin(measured):
    projection = projection_of(measured(np.zeros((16, 20))).stack, PSF, 8)
    image = np.arange(128 * 160, dtype=np.float32).reshape(128, 160)
    padded = with_margin(image, projection)
    assert padded.shape == projection.fine.shape
    np.testing.assert_array_equal(inside(padded), image)
    assert (padded[:33, :33] == image[0, 0]).all()
    assert (padded[-33:, -33:] == image[-1, -1]).all()


def test_an_image_that_lacks_structure_is_led_back_to_the_mean(drawn):
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    erased = picture.copy()
    erased[:, 60] *= 0.2
    found = led_back(erased, movie, projection, progress=lambda *_: None)
    before, after = (
        np.sqrt(np.mean(disagreement(movie, x, projection) ** 2)) for x in (erased, found)
    )
    assert before > 2.0 * after
    assert found[:, 60].mean() > 1.5 * erased[:, 60].mean()
    # Structure that was right keeps its place and its sharpness.
    assert found.shape == picture.shape
    right = np.s_[:, 110:]
    assert np.corrcoef(found[right].ravel(), erased[right].ravel())[0, 1] > 0.95


def test_nothing_is_led_back_where_the_image_is_dark(drawn):
    """Light beyond the image's own is background; at 3 % of the signal level half counts."""
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    erased = picture.copy()
    erased[:, 60] *= 1e-4
    found = led_back(erased, movie, projection, progress=lambda *_: None)
    far = np.s_[:90, 60]
    np.testing.assert_allclose(found[far], erased[far], rtol=0.05)
    assert inside(fully_led_back(erased, movie, projection))[far].mean() > 10 * erased[far].mean()


@pytest.mark.parametrize(("dimmed", "noise"), [(1e-4, 0.02), (0.2, 0.02), (0.5, 0.25), (0.2, 0.6)])
def test_the_correction_counts_where_the_image_is_lit_and_wrong(drawn, dimmed, noise):
    picture, make = drawn
    movie, projection = make(picture, noise=noise)
    wrong = picture.copy()
    wrong[:, 60] *= dimmed
    found = led_back(wrong, movie, projection, progress=lambda *_: None)
    whole = inside(fully_led_back(wrong, movie, projection))
    expected = projection.forward(with_margin(wrong, projection))
    e = expected / signal_level(movie.signal)
    z = (movie.signal - expected) / noise
    z2 = gaussian_filter(z**2, AROUND_SIGMA_PX, mode="nearest")
    weight = e**2 / (e**2 + DARK_SHARE**2) * z2**2 / (z2**2 + MISSED**4)
    # Along the wrong line, half a fine pixel, 1/16 camera pixel, from the middles of camera pixels.
    line = np.s_[11::8, 60]
    between = (15 * weight[:, 7] + weight[:, 8]) / 16
    between = (15 * between[1:] + between[:-1]) / 16
    used = np.log(found[line] / wrong[line]) / np.log(whole[line] / wrong[line])
    np.testing.assert_allclose(used, between, rtol=0.01, atol=1e-5)


def test_an_image_that_explains_the_movie_keeps_its_structure(drawn):
    """The camera's noise alone hardly moves it."""
    picture, make = drawn
    movie, projection = make(picture, noise=0.02, seed=4)
    found = led_back(picture, movie, projection, progress=lambda *_: None)
    moved, wholly = (
        np.sqrt(np.mean((x[picture > 0] / picture[picture > 0] - 1.0) ** 2))
        for x in (found, inside(fully_led_back(picture, movie, projection)))
    )
    assert moved < 0.4 * wholly


def test_blinking_of_frames_that_count_less_leads_as_that_of_more_frames(drawn):
    """Fading of 2 and 0, worth twice the frames, halves the variance of the mean."""
    picture, make = drawn
    movie, projection = make(picture, noise=0.02)
    wrong = picture.copy()
    wrong[:, 60] *= 0.5

    def led(amplitude, fading):
        swing = amplitude * (-1.0) ** np.arange(40, dtype=np.float32)[:, None, None]
        stack = replace(movie.stack, data=(movie.mean + swing).astype(np.float32))
        blinking = replace(movie, stack=stack, fading=np.repeat(fading, 20).astype(np.float32))
        return led_back(wrong, blinking, projection, progress=lambda *_: None)

    found = led(1.0, [2.0, 0.0])
    np.testing.assert_allclose(found, led(np.sqrt(0.5), [1.0, 1.0]), rtol=1e-3)
    assert not np.allclose(found, led(1.0, [1.0, 1.0]), rtol=0.02)


def fully_led_back(image, movie, projection):
    """The correction that counts where an image is lit and wrong, with its margin."""
    blinking = temporal_variance(movie.stack) / np.float32(movie.frames_worth)
    variance = np.maximum(blinking, movie.variance_of_mean)
    start = with_margin(image, projection)
    return deconvolve(movie, projection, start=start, n_iterations=LEADING_STEPS, variance=variance)


# What the image leaves over.


@pytest.fixture
def hazy(measured):
    """Two lines under a broad bump that the first background misses, and how to see them."""
    picture = np.zeros((8 * SIDE, 8 * SIDE), np.float32)
    picture[:, 60] = picture[130, :] = 1.0
    y, x = np.mgrid[:SIDE, :SIDE]
    bump = np.exp(-((y - 8.0) ** 2 + (x - 16.0) ** 2) / (2 * 6.0**2)).astype(np.float32)
    projection = projection_of(measured(np.zeros((SIDE, SIDE))).stack, PSF, 8)
    lines = projection.forward(with_margin(picture, projection))

    def make(haze):
        return measured(lines + haze, haze=7.0, variance=1e-3), projection

    return picture, bump, make


def test_what_the_image_leaves_over_joins_the_background(hazy):
    picture, bump, make = hazy
    movie, projection = make(7.0 + 0.5 * bump)
    beside = with_background_beside(movie, picture, projection)
    middle = np.s_[4:-4, 4:-4]
    blurred = gaussian_filter(7.0 + 0.5 * bump, BESIDE_SIGMA_PX, mode="nearest")
    np.testing.assert_allclose(beside.background.haze[middle], blurred[middle], atol=0.08)
    before, after = (
        (np.abs(disagreement(m, picture, projection)) > DISAGREEMENT).mean()
        for m in (movie, beside)
    )
    assert after < 0.2 * before
    np.testing.assert_array_equal(beside.background.trend, movie.background.trend)


def test_an_image_that_explains_the_movie_leaves_the_background_alone(hazy):
    picture, _, make = hazy
    movie, projection = make(7.0)
    beside = with_background_beside(movie, picture, projection)
    np.testing.assert_allclose(beside.background.haze, 7.0, atol=1e-4)


def test_the_background_does_not_fall_below_its_darkest_level(hazy):
    """Light that is invented finds no room in a background that is dark already."""
    picture, _, make = hazy
    movie, projection = make(7.0)
    invented = picture + np.float32(0.02)
    beside = with_background_beside(movie, invented, projection)
    assert beside.background.haze.min() == pytest.approx(7.0)


def test_the_background_may_fall_where_it_is_not_darkest(measured):
    picture = np.full((8 * SIDE, 8 * SIDE), 0.02, np.float32)
    movie = measured(np.full((SIDE, SIDE), 9.0), haze=7.0, variance=1e-3)
    haze = movie.background.haze.copy()
    haze += 2.0
    haze[:2] = 5.0
    movie = replace(movie, background=replace(movie.background, haze=haze))
    projection = projection_of(movie.stack, PSF, 8)
    beside = with_background_beside(movie, picture, projection)
    light = projection.forward(with_margin(picture, projection))[18, 12]
    assert beside.background.haze[18, 12] == pytest.approx(9.0 - light, rel=0.01)
