from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.learning.dropout import dropout_mask
from dlbi.learning.observation import CHANNELS
from dlbi.learning.passes import normalised_frames, run_frame_passes, run_passes

FAINT = -30.0
"""A log standard deviation that adds nothing."""


def fine(image: np.ndarray) -> np.ndarray:
    """Each camera pixel of (N, C, Y, X) repeated 8×8 times."""
    return image.repeat(8, axis=-2).repeat(8, axis=-1)


def maps(amplitude, log_sigma=FAINT, logit=0.0) -> np.ndarray:
    """Output of a compact network from amplitudes (N, 1, Y, X)."""
    return np.concatenate(
        [amplitude, np.full_like(amplitude, log_sigma), np.full_like(amplitude, logit)], axis=1
    )


def from_left(image: np.ndarray) -> np.ndarray:
    """Each pixel gets the value of its left neighbour."""
    moved = np.zeros_like(image)
    moved[..., 1:] = image[..., :-1]
    return moved


def movie(frames: np.ndarray) -> ImageStack:
    return ImageStack(frames.astype(np.float32), PixelGrid(frames.shape[1:], 160.0))


def test_equal_passes_give_their_value_and_no_spread_between(compact, observation):
    network = compact(lambda statistics, guide, mask: maps(guide, np.log(0.25), 3.0))
    seen = observation()
    passes = run_passes(network, seen, seed=1)
    np.testing.assert_allclose(passes.amplitude, seen.guide, rtol=1e-6)
    np.testing.assert_allclose(passes.spread, 0.25, rtol=1e-5)
    np.testing.assert_allclose(passes.score, 3.0)


def test_eight_passes_see_the_eight_orientations(compact, observation):
    network = compact(lambda statistics, guide, mask: maps(from_left(guide)))
    seen = observation()
    passes = run_passes(network, seen, seed=1)
    # Left comes from each of the four sides twice.
    padded = np.pad(seen.guide.astype(float), 1)
    sides = np.stack([padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]])
    np.testing.assert_allclose(passes.amplitude, sides.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(passes.spread, sides.std(axis=0), rtol=1e-4)


def test_statistics_keep_their_meaning_in_turned_movies(compact, observation):
    # Half of the orientations exchange the axes, and "along x" has to follow.
    network = compact(lambda statistics, guide, mask: maps(fine(statistics)), channels=("along_x",))
    seen = observation()
    by_name = dict(zip(CHANNELS, seen.statistics, strict=True))
    mean = (by_name["along_x"] + by_name["along_y"]) / 2
    np.testing.assert_allclose(
        run_passes(network, seen, seed=1).amplitude, fine(mean), rtol=1e-5, atol=1e-6
    )
    once = run_passes(network, seen, seed=1, n_passes=1)
    np.testing.assert_array_equal(once.amplitude, fine(by_name["along_x"]))


def test_a_network_gets_the_statistics_it_names_in_its_order(compact, observation):
    network = compact(
        lambda statistics, guide, mask: maps(fine(statistics[:, :1] - 2 * statistics[:, 1:])),
        channels=("haze", "signal"),
    )
    seen = observation()
    by_name = dict(zip(CHANNELS, seen.statistics, strict=True))
    np.testing.assert_allclose(
        run_passes(network, seen, seed=1).amplitude,
        fine(by_name["haze"] - 2 * by_name["signal"]),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("max_tile_px", [10_000, 100])
def test_masks_belong_to_the_field_in_every_orientation_and_tile(compact, observation, max_tile_px):
    network = compact(lambda statistics, guide, mask: maps(fine(mask[:, 1:])), keep=0.6, halo_px=2)
    seen = observation((20, 17))
    field = (slice(0, 20), slice(0, 17))
    masks = np.stack([
        dropout_mask(9, i, keep=0.6, n_channels=2, shape=(20, 17), region=field)[1]
        for i in range(5)
    ]).astype(float)  # fmt: skip
    passes = run_passes(network, seen, seed=9, n_passes=5, max_tile_px=max_tile_px)
    np.testing.assert_allclose(passes.amplitude, fine(masks.mean(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(passes.spread, fine(masks.std(axis=0)), atol=1e-6)


def test_the_spread_is_that_of_the_mixture_of_passes(compact, observation):
    # Amplitude 0 or 1/keep at random, each with a standard deviation of its own.
    network = compact(
        lambda statistics, guide, mask: np.concatenate(
            [fine(mask[:, :1]), np.log(0.1 + fine(mask[:, :1])), fine(mask[:, :1])], axis=1
        ),
        keep=0.5,
    )
    passes = run_passes(network, observation(), seed=2, n_passes=40)
    share = passes.amplitude / 2  # of passes that kept the feature
    within = share * 2.1**2 + (1 - share) * 0.1**2
    between = share * 2**2 - (2 * share) ** 2
    np.testing.assert_allclose(passes.spread, np.sqrt(within + between), rtol=1e-4)
    np.testing.assert_allclose(passes.score, passes.amplitude)


def blurred(statistics, guide, mask):
    """Reaches two camera pixels; zeros beyond the border, as in a convolution."""
    size = (1, 1, 5, 5)
    coarse = uniform_filter(statistics[:, :1] * mask[:, :1], size, mode="constant")
    return maps(fine(coarse) + uniform_filter(guide, (1, 1, 33, 33), mode="constant"))


@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(16, 40), st.integers(16, 40), st.integers(60, 900))
def test_tiles_join_without_seams(compact, observation, h, w, max_tile_px):
    network = compact(blurred, halo_px=2)
    seen = observation((h, w))
    whole = run_passes(network, seen, seed=3, n_passes=3, max_tile_px=h * w)
    tiled = run_passes(network, seen, seed=3, n_passes=3, max_tile_px=max_tile_px)
    for one, other in zip(whole, tiled, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_a_halo_that_is_too_small_would_show(compact, observation):
    seen = observation((30, 30))
    whole, tiled = (
        run_passes(compact(blurred, halo_px=1), seen, seed=3, n_passes=1, max_tile_px=n)
        for n in (900, 200)
    )
    assert np.abs(whole.amplitude - tiled.amplitude).max() > 0.01


def test_any_number_of_workers_gives_the_same_bits(compact, observation):
    def slow_at_random(statistics, guide, mask):
        time.sleep(0.002 * float(mask.mean() < 1.0))
        return blurred(statistics, guide, mask)

    seen = observation((30, 25))
    one, many = (
        run_passes(compact(slow_at_random, halo_px=2), seen, seed=4, n_workers=n, max_tile_px=200)
        for n in (1, 5)
    )
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a, b)


def test_seeds_decide_the_masks(compact, observation):
    network = compact(lambda statistics, guide, mask: maps(fine(mask[:, :1])))
    seen = observation()
    first, again, other = (run_passes(network, seen, seed=s).amplitude for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_progress_counts_passes_over_tiles(compact, observation):
    calls = []
    run_passes(
        compact(blurred, halo_px=2), observation((30, 30)), seed=1, n_passes=3, max_tile_px=400,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    total = calls[0][1]
    assert total % 3 == 0
    assert total > 3
    assert calls == [(done, total) for done in range(1, total + 1)]


def test_an_error_in_a_pass_comes_through(compact, observation):
    def failing(statistics, guide, mask):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        run_passes(compact(failing), observation(), seed=1, n_workers=3)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(compact, observation, value):
    def bad(statistics, guide, mask):
        image = maps(guide)
        image[..., 5, 7] = value
        return image

    with pytest.raises(InputError, match="not finite"):
        run_passes(compact(bad), observation(), seed=1)


def test_fields_networks_and_options_that_do_not_fit_are_refused(compact, paper, observation):
    network = compact(blurred, halo_px=2)
    with pytest.raises(ShapeError, match="at least 16×16 camera pixels, got 15×30"):
        run_passes(network, observation((30, 15)), seed=1)
    with pytest.raises(InputError, match="kind compact is needed, stub is of kind paper"):
        run_passes(paper(lambda frames, mask: frames), observation(), seed=1)
    with pytest.raises(InputError, match="kind paper is needed"):
        run_frame_passes(network, movie(np.random.default_rng(0).random((3, 16, 16))), seed=1)
    with pytest.raises(InputError, match="at least 1, got 0 and 1"):
        run_passes(network, observation(), seed=1, n_passes=0)
    with pytest.raises(InputError, match="at least 1, got 8 and 0"):
        run_passes(network, observation(), seed=1, n_workers=0)
    seen = observation()
    for statistics, guide in (
        (seen.statistics[:-1], seen.guide),
        (seen.statistics, seen.guide[:-8]),
    ):
        other = type(seen)(statistics, guide, seen.scale, {})
        with pytest.raises(ShapeError, match="make it with observe"):
            run_passes(network, other, seed=1)


def test_frames_are_normalised_by_the_range_of_the_first():
    frames = np.array([[[1.0, 3.0]], [[5.0, 2.0]]], np.float32)
    np.testing.assert_allclose(normalised_frames(frames), [[[-1, 1]], [[3, 0]]])
    with pytest.raises(InputError, match=r"first frame is constant \(7\)"):
        normalised_frames(np.full((2, 3, 3), 7, np.float32))


def test_frames_are_seen_as_they_are_and_turned(paper):
    frames = np.random.default_rng(5).uniform(10, 20, (3, 16, 18))
    seen = normalised_frames(frames.astype(np.float32))[1].clip(-1, 1)
    network = paper(lambda frames, mask: from_left(fine(frames[:, 1:2].clip(-1, 1))))
    passes = run_frame_passes(network, movie(frames), seed=1, n_passes=2)
    padded = np.pad(fine(seen), 1)
    left, above = padded[1:-1, :-2], padded[:-2, 1:-1]  # above comes to the left by a turn
    density = ((left + 1) / 2 + (above + 1) / 2) / 2
    np.testing.assert_allclose(passes.amplitude, density, atol=1e-5)
    spread = np.abs(left - above) / 4
    np.testing.assert_allclose(passes.spread, spread, atol=1e-5)
    np.testing.assert_allclose(passes.score, passes.amplitude / (passes.spread + 1e-6), rtol=1e-4)


def test_a_movie_of_other_length_is_refused_with_the_way_out(paper):
    network = paper(lambda frames, mask: fine(frames[:, :1]))
    frames = np.random.default_rng(6).random((5, 16, 16))
    with pytest.raises(InputError, match=r"exactly 3 frames, the movie has 5.*--frames A:B"):
        run_frame_passes(network, movie(frames), seed=1)
    with pytest.raises(ShapeError, match="got 16×12"):
        run_frame_passes(network, movie(frames[:3, :12]), seed=1)
