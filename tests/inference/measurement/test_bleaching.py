"""The mean of movies that fade, against movies of known light."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.rng import stream
from dlbi.inference.measurement.background import estimate_background
from dlbi.inference.measurement.bleaching import N_BLOCKS, WORTH, frames_worth, time_average
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

SIDE, HAZE, NOISE = 32, 100.0, 3.0
BLUR_PX = 1.12  # σ of the default PSF, 422 nm FWHM, in pixels of 160 nm
STRUCTURE = np.zeros((SIDE, SIDE))
STRUCTURE[8:11, 3:29] = 40.0
STRUCTURE[12:28, 20:22] = 80.0


def stack_of(frames):
    return ImageStack(np.asarray(frames, np.float32), PixelGrid((SIDE, SIDE), 160.0))


def curve(decays, n_frames):
    light = np.exp(-decays * (np.arange(n_frames) + 0.5) / n_frames)
    return light / light.mean()


def movie(light, *, noise=0.0, seed=0, trend=0.0):
    light = np.asarray(light)
    frames = HAZE + light[:, None, None] * STRUCTURE + np.reshape(trend * light, (-1, 1, 1))
    return stack_of(frames + np.random.default_rng(seed).normal(0.0, noise, frames.shape))


def averaged(stack, variance=NOISE**2):
    return time_average(stack, lambda mean: np.full_like(mean, variance))


def blinking_movie(family, seed, *, n_frames, **scene):
    truth = draw(family, PixelGrid((256, 256), 20.0), stream(seed, family))
    return simulate(truth, custom(**scene), n_frames=n_frames, rng=seed)


@settings(deadline=None, max_examples=30)
@given(decays=st.floats(0.8, 6.0), stays=st.floats(0.0, 0.5), n_frames=st.integers(N_BLOCKS, 150))
def test_without_noise_curve_and_structure_are_found(decays, stays, n_frames):
    """Within 1 % of the mean light: blocks of one to seven frames stand for their middles."""
    light = np.exp(-decays * (np.arange(n_frames) + 0.5) / n_frames) + stays
    light /= light.mean()
    assume(np.mean(light**2) > 1.03)
    found = averaged(movie(light), variance=0.0)
    np.testing.assert_allclose(found.fading, light, atol=0.01 * light.max())
    np.testing.assert_allclose(found.mean, HAZE + STRUCTURE, atol=0.8)
    assert found.fading.mean() == pytest.approx(1.0, abs=1e-5)


def test_light_is_the_least_squares_one_beside_a_background_that_fades_too():
    """Against `numpy.linalg.lstsq` on the frames without the trend and level that were found."""
    stack = movie(curve(2.5, 120), noise=NOISE, trend=6.0)
    found = averaged(stack)
    first = estimate_background(stack, stack.mean(), np.full((SIDE, SIDE), NOISE**2 / 120))
    frames = stack.load() - first.trend[:, None, None] - first.haze.min()
    fit = np.linalg.lstsq(found.fading[:, None], frames.reshape(120, -1), rcond=None)[0]
    np.testing.assert_allclose(
        found.mean - first.haze.min(), fit.reshape(SIDE, SIDE), rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(found.background.trend, first.trend)


def test_structure_that_is_taken_for_haze_fades_with_the_rest():
    """A field without dark pixels: the mean is its structure up to what is the same everywhere."""
    dense = 50.0 + gaussian_filter(np.random.default_rng(3).normal(0.0, 150.0, (SIDE, SIDE)), 3.0)
    frames = HAZE + curve(3.0, 100)[:, None, None] * dense
    found = averaged(stack_of(frames), variance=0.0).mean - HAZE - dense
    assert dense.std() > 10.0
    assert found.std() < 0.05


def test_noise_of_the_mean_is_that_of_a_frame_by_the_frames_worth():
    """Variance over 1024 pixels × 20 movies within 4.5 standard errors, √(2 ÷ 20480) = 1 %.

    Movie by movie about its own mean: the level is one number for all pixels.
    """
    light = curve(4.0, 60)
    clean = averaged(movie(light), variance=0.0).mean
    found = [averaged(movie(light, noise=NOISE, seed=seed)) for seed in range(20)]
    errors = [one.mean - clean for one in found]
    dark = [one.background.haze[:, 29:] - one.mean[:, 29:].mean() for one in found]
    assert np.mean(dark) == pytest.approx(0.0, abs=0.1)
    expected = NOISE**2 / np.sum(light**2)
    assert expected < 0.6 * NOISE**2 / 60
    assert np.mean(np.var(errors, axis=(1, 2))) == pytest.approx(
        expected, rel=4.5 * np.sqrt(2.0 / 20480)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", ["filaments", "rings"])
def test_what_does_not_fade_keeps_its_plain_mean(family, seed):
    """Few, slowly blinking emitters, whose light wanders: bit for bit."""
    steady = blinking_movie(
        family, 41 + seed, n_frames=200, n_emitters=150, peak_to_noise=4.0,
        emitting_to_dark=0.2, dark_to_emitting=0.02,
    )  # fmt: skip
    found = averaged(steady.stack)
    np.testing.assert_array_equal(found.mean, steady.stack.mean())
    np.testing.assert_array_equal(found.fading, np.ones(200, np.float32))
    assert frames_worth(found.fading) == 200.0


@pytest.mark.parametrize("seed", [302, 305])
def test_ten_emitters_that_happen_to_go_dark_are_no_fading(seed):
    """Their light falls from the first frames to the last, but jumps about the curve on its way."""
    few = blinking_movie(
        "rings", seed, n_frames=200, n_emitters=10, peak_to_noise=4.0,
        emitting_to_dark=0.05, dark_to_emitting=0.01,
    )  # fmt: skip
    np.testing.assert_array_equal(averaged(few.stack).fading, np.ones(200))


@pytest.mark.parametrize(
    ("light", "why"),
    [
        (curve(0.4, 100), "it falls by a third only"),
        (curve(-3.0, 100), "it grows"),
        (curve(3.0, N_BLOCKS - 1), "too few frames to tell"),
    ],
)
def test_other_courses_count_all_frames_alike(light, why):
    fading = averaged(movie(light, noise=NOISE)).fading
    assert np.array_equal(fading, np.ones(len(light))), why


def test_fading_counts_from_a_fall_by_two_fifths_on():
    """Σ fading² ÷ T of an exponential is x/2 · coth(x/2), here 1.02 at 0.49 decays."""
    below, above = (averaged(movie(curve(x, 200))).fading for x in (0.47, 0.52))
    assert frames_worth(below) == 200.0
    assert frames_worth(above) > WORTH * 200.0
    assert above[-1] / above[0] == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("seed", [71, 72, 73])
def test_late_survivors_no_longer_outshine_the_rest(seed):
    """The image of light that bleaches is nearer to the true fluorophores than the plain mean."""
    scene = blinking_movie(
        "filaments", seed, n_frames=400, n_emitters=600, peak_to_noise=2.0, bleaching=0.01
    )
    weighted, plain = averaged(scene.stack).mean, scene.stack.mean()
    true = gaussian_filter(scene.truth(1).density, BLUR_PX).ravel()
    near, far = (np.corrcoef(true, m.ravel())[0, 1] for m in (weighted, plain))
    assert near > far + 0.002


def test_a_flash_at_the_start_leaves_the_rest_its_share():
    """Ten times the light, gone after ten frames: what stays counts as it shines."""
    light = 1.0 + 9.0 * np.exp(-np.arange(200) / 10.0)
    fading = averaged(movie(light, noise=NOISE)).fading
    assert fading[0] == pytest.approx(light[0] / light.mean(), rel=0.1)
    np.testing.assert_allclose(fading[100:], 1.0 / light.mean(), rtol=0.1)


def test_frames_that_are_not_finite_pass_through_as_they_are():
    broken = movie(curve(2.0, 60), noise=NOISE).load().copy()
    broken[5, 4, 4] = np.nan
    assert np.isnan(averaged(stack_of(broken)).mean[4, 4])
