"""Drift taken off: frames move as they should, noise stays as it was, the record repeats it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FRAMES_AT_ONCE, ImageStack
from dlbi.evaluation.drift import DriftPath, movement_nm
from dlbi.reconstruction.drift import correct_drift, held_in_place, steadied_as
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

PIXEL_NM = 100.0
BENT = DriftPath(((140.0, -60.0), (30.0, 50.0)))


def stack_of(frames):
    frames = np.asarray(frames, np.float32)
    return ImageStack(frames, PixelGrid(frames.shape[1:], PIXEL_NM))


def test_waves_that_fit_the_mirrored_field_are_moved_exactly():
    n_frames, height, width = 7, 12, 18
    y, x = np.arange(height) + 0.5, np.arange(width) + 0.5

    def wave(dy, dx):
        rows = np.cos(3 * np.pi / height * (y - dy))
        return np.outer(rows, np.cos(5 * np.pi / width * (x - dx)))

    still = wave(0.0, 0.0)
    moved = held_in_place(stack_of([still] * n_frames), BENT).load()
    for frame, (dy, dx) in zip(moved, -BENT.positions_nm(n_frames) / PIXEL_NM, strict=True):
        np.testing.assert_allclose(frame, wave(dy, dx), atol=2e-6)


def test_sides_of_any_length_are_moved_alike():
    """337 is prime; away from its edges it is moved as 338 pixels are."""
    picture = gaussian_filter(np.random.default_rng(6).random((3, 20, 338)), (0, 1, 1))
    long, prime = (held_in_place(stack_of(p), BENT).load() for p in (picture, picture[:, :, :337]))
    np.testing.assert_allclose(prime[:, :, 40:-40], long[:, :, 40:-41], atol=1e-3)


def test_a_whole_pixel_is_a_step_to_the_next_one():
    frames = np.random.default_rng(1).random((3, 14, 15))
    moved = held_in_place(stack_of(frames), DriftPath(((100.0, -200.0),))).load()
    np.testing.assert_allclose(moved[0, 1:, :-2], frames[0, :-1, 2:], atol=1e-6)
    np.testing.assert_allclose(moved[1], frames[1], atol=1e-6)
    np.testing.assert_allclose(moved[2, :-1, 2:], frames[2, 1:, :-2], atol=1e-6)


def test_noise_stays_independent_from_pixel_to_pixel():
    """Over 3·10⁵ numbers correlations scatter by .002; the finest of 64 waves along each axis
    cannot be moved by half a pixel and are lost."""
    noise = np.random.default_rng(2).normal(size=(100, 64, 64))
    half = DriftPath(((0.0, 0.0), (50.0, 50.0)))  # ± half a pixel for most of the time
    moved = held_in_place(stack_of(noise), half).load()[:, 4:-4, 4:-4].astype(np.float64)
    assert moved.var() == pytest.approx(1.0, abs=2 / 64)
    for there, next_one in (
        (moved[:, 1:], moved[:, :-1]),
        (moved[:, :, 1:], moved[:, :, :-1]),
        (moved[:, 2:], moved[:, :-2]),
    ):
        assert abs((there * next_one).mean()) < 0.01


def test_parts_are_those_of_the_whole():
    stack = stack_of(np.random.default_rng(3).random((2 * FRAMES_AT_ONCE + 5, 18, 21)))
    moved = held_in_place(stack, BENT)
    whole = moved.load()
    np.testing.assert_array_equal(moved.select(roi=(4, 3, 9, 8)).load(), whole[:, 3:11, 4:13])
    np.testing.assert_array_equal(moved.select(slice(1, 60, 7)).load(), whole[1:60:7])
    np.testing.assert_array_equal(moved.load(slice(40, 42)), whole[40:42])
    assert moved.data[2:4, 5:6].shape == (2, 1, 21)


def drifting(drift_nm, seed=0, n_frames=100):
    structure = draw("mesh", PixelGrid((256, 256), 20.0), np.random.default_rng(2))
    scene = replace(custom(n_emitters=800, peak_to_noise=2.0), drift_nm=drift_nm)
    return simulate(structure, scene, n_frames=n_frames, rng=seed)


def rms_nm(positions):
    return np.sqrt((positions**2).sum(axis=1).mean())


@pytest.mark.parametrize("drift_nm", [(40.0, -30.0), (240.0, -180.0), (-480.0, 360.0)])
def test_drift_of_a_blinking_movie_is_taken_off(drift_nm):
    """A movement of 50 nm that was left would be an error of 14.6 nm."""
    steady = correct_drift(drifting(drift_nm).stack)
    expected = np.outer(np.linspace(-0.5, 0.5, 100), drift_nm)
    assert rms_nm(steady.path.positions_nm(100) - expected) < 10.0
    assert steady.residual_nm == movement_nm(steady.stack)
    assert steady.residual_nm < 15.0


def test_a_mean_that_is_blurred_by_the_movement_is_measured_again():
    """After a single pass the error is 17 to 41 nm in such movies."""
    way = DriftPath(((480.0, 360.0), (-240.0, 180.0)))
    there = DriftPath(tuple((-y, -x) for y, x in way.terms_nm))
    steady = correct_drift(held_in_place(drifting((0.0, 0.0)).stack, there))
    assert rms_nm(steady.path.positions_nm(100) - way.positions_nm(100)) < 10.0


def test_a_movie_at_rest_stays_as_it_is():
    """Blinking moves blocks of frames, too; of ten movies few are moved, and not far."""
    moved = 0
    for seed in range(10):
        stack = drifting((0.0, 0.0), seed).stack
        steady = correct_drift(stack)
        if steady.path.terms_nm:
            moved += 1
            assert np.abs(steady.path.positions_nm(100)).max() < 12.0
        else:
            assert str(steady) == (
                "drift: none stands out of what blinking does to the mean of some frames "
                f"({movement_nm(stack):.0f} nm); the frames stay as they are"
            )
            np.testing.assert_array_equal(steady.stack.load(), stack.load())
    assert moved <= 3


def test_it_is_told_in_one_line():
    steady = correct_drift(drifting((240.0, -180.0)).stack)
    y, x = steady.path.shift_nm
    assert str(steady) == (
        f"drift: {np.hypot(y, x):.0f} nm from the first to the last frame (x {x:+.0f}, "
        f"y {y:+.0f} nm), taken off; what is left scatters by {steady.residual_nm:.0f} nm"
    )


def test_its_record_repeats_it_with_the_defects_mended_before():
    frames = drifting((160.0, 90.0), n_frames=40).stack.load()
    frames[:, 9, 20] = 40 * frames.max()
    with pytest.warns(DlbiWarning, match=r"1 camera pixel stands alone.*\(20, 9\)"):
        steady = correct_drift(ImageStack(frames, PixelGrid((32, 32), 160.0)))
    assert steady.defects == ((20, 9),)
    assert steady.stack.load().max() < 3 * np.delete(frames.reshape(40, -1), 9 * 32 + 20, 1).max()
    with pytest.warns(DlbiWarning, match=r"1 camera pixel stands alone.*\(20, 9\)"):
        again = steadied_as(ImageStack(frames, PixelGrid((32, 32), 160.0)), steady.record())
    np.testing.assert_array_equal(again.load(), steady.stack.load())


@pytest.mark.parametrize(
    "damage",
    [
        {"terms_nm": None},
        {"terms_nm": [[1.0]]},
        {"terms_nm": [["x", 1.0]]},
        {"terms_nm": [[1.0, 2.0], [float("nan"), 1.0]]},
        {"defective_pixels": 3},
    ],
)
def test_damaged_records_are_refused(damage):
    record = {"terms_nm": [[1.0, 2.0]], "defective_pixels": []} | damage
    with pytest.raises(InputError, match="drift that the image records cannot be read"):
        steadied_as(stack_of(np.zeros((30, 16, 16))), record)


@pytest.mark.parametrize(
    "stack",
    [
        stack_of(np.random.default_rng(5).random((19, 16, 16))),
        stack_of(np.random.default_rng(5).random((30, 11, 16))),
        stack_of(np.full((30, 16, 16), 7.0)),
    ],
    ids=["short", "small", "dark"],
)
def test_movies_that_show_no_drift_are_refused(stack):
    with pytest.raises(ShapeError, match=r"do not show drift; 20 frames of 12×12 px with light"):
        correct_drift(stack)
