"""Calibrated spread, occupancy and P(real) against the models that their formulas come from."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.inference.uncertainty import (
    DISAGREEMENT_SHARE,
    OCCUPANCY_SHARE,
    REACH_PX,
    SAMPLED_SHARE,
    TOLD_OCCUPANCY_SHARE,
    image_std,
    occupancy,
    p_empty,
    structure_scale,
    with_p_real,
)

SHAPE = (24, 31)


def random_images(n, seed=0):
    return np.random.default_rng(seed).gamma(2.0, 1.5, (n, *SHAPE)).astype(np.float32)


def test_the_scale_is_the_brightness_of_what_is_lit():
    image = np.zeros(SHAPE, np.float32)
    image[3:7, 5:25] = 6.0
    assert structure_scale(image) == pytest.approx(6.0)
    image[12:14] = 0.6  # a tenth as bright: counts by its light
    light = np.array([4 * 20 * 6.0, 2 * SHAPE[1] * 0.6])
    assert structure_scale(image) == pytest.approx(light @ [6.0, 0.6] / light.sum())
    assert structure_scale(np.zeros(SHAPE, np.float32)) == 0.0


def test_pixels_that_are_empty_or_full_have_the_spread_of_the_last_term():
    """Truth is S with probability e/S: mean e, variance S e (1 − e/S), here all of it stated."""
    rng = np.random.default_rng(1)
    scale, probability = 5.0, 0.04
    truth = scale * (rng.random((400, 400)) < probability)
    shown = np.full(truth.shape, truth.mean(), np.float32)
    error = np.sqrt(np.mean((truth - shown) ** 2))
    nothing = np.zeros_like(shown)
    # The scale of a flat image is its level, so the image given has the scale of the truth.
    stated = image_std(np.float32(truth), nothing, expected=shown) / np.sqrt(TOLD_OCCUPANCY_SHARE)
    assert stated.mean() == pytest.approx(error / np.sqrt(1 - probability), rel=0.02)


def test_variances_of_all_origins_add():
    image, sampled_std, expected, difference = random_images(4)
    difference = difference - 3.0
    scale = structure_scale(image)
    sampled = SAMPLED_SHARE * sampled_std**2
    np.testing.assert_allclose(
        image_std(image, sampled_std) ** 2,
        sampled + OCCUPANCY_SHARE * scale * gaussian_filter(image, REACH_PX, mode="nearest"),
        rtol=1e-4,
    )
    np.testing.assert_allclose(
        image_std(image, sampled_std, expected=expected, disagreement=difference) ** 2,
        sampled + TOLD_OCCUPANCY_SHARE * scale * expected + DISAGREEMENT_SHARE * difference**2,
        rtol=1e-4,
    )


def test_std_has_the_unit_of_the_image_and_nothing_is_certain_beside_structure():
    image, sampled_std = random_images(2)
    image[:, :12] = 0.0
    std = image_std(image, np.zeros_like(sampled_std))
    assert std.dtype == np.float32
    assert std[:, 9].min() > 0.1 * structure_scale(image)
    np.testing.assert_allclose(
        image_std(7 * image, 7 * sampled_std), 7 * image_std(image, sampled_std), rtol=1e-5
    )


def test_occupancy_is_less_certain_than_the_share_of_sweeps():
    p_empty = np.array([0.01, 0.2, 0.5, 0.8, 0.99], np.float32)
    found = occupancy(p_empty)
    assert found[2] == pytest.approx(0.5)
    np.testing.assert_allclose(found + found[::-1], 1.0, atol=1e-6)
    assert (np.diff(found) < 0).all()
    np.testing.assert_allclose(logit(found.astype(float)), -0.8 * logit(p_empty), rtol=1e-4)
    # Emitters that stand for several say nothing else, parts of one fluorophore are too many.
    np.testing.assert_array_equal(occupancy(p_empty, per_fluorophore=0.2), found)
    split = logit(occupancy(p_empty, per_fluorophore=4.0).astype(float))
    np.testing.assert_allclose(split, -0.8 * logit(p_empty) - 0.5 * np.log(4.0), rtol=1e-4)


def test_p_real_is_read_where_the_emitter_is():
    grid = PixelGrid(SHAPE, 20.0, (160.0, 320.0))
    p_occupied = np.full(SHAPE, 0.1, np.float32)
    p_occupied[4, 9] = 0.9
    p_occupied[23, 30] = 0.6
    y, x = grid.to_nm(np.array([4.3, 4.8, 23.49]), np.array([8.6, 9.0, 30.49]))
    emitters = Emitters(x, y, p_real=np.ones(3))
    alone = with_p_real(emitters, p_occupied, grid, per_fluorophore=1.0)
    occupied = logit(np.array([0.9, 0.1, 0.6]))
    np.testing.assert_allclose(alone.p_real, expit(0.38 * occupied - 0.30), rtol=1e-5)
    np.testing.assert_array_equal(alone.x_nm, emitters.x_nm)


def test_emitters_that_stand_for_several_pair_more_often():
    grid = PixelGrid(SHAPE, 20.0)
    emitter = Emitters(np.array([90.0]), np.array([90.0]), p_real=np.ones(1))
    half = np.full(SHAPE, 0.5, np.float32)

    def log_odds(per_fluorophore):
        found = with_p_real(emitter, half, grid, per_fluorophore=per_fluorophore)
        return float(logit(found.p_real.astype(float))[0])

    assert log_odds(0.25) - log_odds(1.0) == pytest.approx(0.55 * np.log(4.0), rel=1e-5)
    # Of several emitters that are one fluorophore, one can be paired.
    assert log_odds(1.0) - log_odds(4.0) == pytest.approx(0.55 * np.log(4.0), rel=1e-5)
    # Where nothing blinks, no number is believed.
    assert log_odds(0.0) == log_odds(0.03)


def test_no_emitters_are_no_problem():
    grid = PixelGrid(SHAPE, 20.0)
    none = Emitters(np.zeros(0), np.zeros(0), p_real=np.zeros(0))
    half = np.full(SHAPE, 0.5, np.float32)
    assert len(with_p_real(none, half, grid, per_fluorophore=1.0)) == 0


def test_what_is_as_bright_as_the_typical_place_is_hardly_empty():
    """Log odds −1.80 at brightness 1, and those of λ = ln 0.01 in the dark."""
    image = np.zeros((200, 200), np.float32)
    image[60:140, 60:140] = 3.0
    found = p_empty(image)
    assert found[100, 100] == pytest.approx(expit(-1.80 - 1.61 * np.log(1.01)), rel=1e-3)
    dark = np.log(0.01)
    assert found[5, 5] == pytest.approx(expit(-1.80 - 1.61 * dark - 0.09 * dark**2), rel=1e-5)
    np.testing.assert_allclose(p_empty(7 * image), found, rtol=1e-5)


def test_darker_is_emptier():
    ramp = np.tile(np.linspace(0.0, 2.0, 300, dtype=np.float32), (40, 1))
    assert (np.diff(p_empty(ramp)[20]) < 0).all()


def test_without_blur_each_pixel_is_judged_by_its_own_brightness():
    image = np.random.default_rng(3).gamma(0.5, 4.0, SHAPE).astype(np.float32)
    image *= image.sum() / (image**2).sum()
    level = np.log(image + 0.01)
    expected = expit(-1.80 - 1.61 * level - 0.09 * level**2)
    np.testing.assert_allclose(p_empty(image, blur_px=0.0), expected, rtol=1e-4)


def test_an_empty_image_is_surely_empty():
    assert (p_empty(np.zeros(SHAPE, np.float32)) == 1).all()
