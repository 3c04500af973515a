"""Tiles, blocks of frames and the jackknife over them."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.inference.measurement.units import (
    Tiles,
    block_plan,
    detrended,
    jackknife_covariance,
    trend_residual,
)


@pytest.mark.parametrize(
    ("n_frames", "starts", "length"),
    [
        (200, [0, 25, 50, 75, 100, 125, 150, 175], 25),
        (24, [0, 12], 12),
        (60, [0, 30], 30),
        (23, [0], 23),
        (2, [0], 2),
    ],
)
def test_blocks_of_frames(n_frames, starts, length):
    assert block_plan(n_frames) == (starts, length)


def test_long_movies_are_sampled_by_forty_blocks():
    starts, length = block_plan(10_000)
    assert len(starts) == 40
    assert length == 50
    assert starts[-1] + length <= 10_000


def test_tiles_cover_the_field_once():
    image = np.arange(37 * 20, dtype=np.float64).reshape(37, 20)
    tiles = Tiles.of((37, 20))
    sums = tiles.sum(image)
    assert sums.size == 4 * 2
    assert sums[0] == image[:9, :10].sum()
    assert sums.sum() == image.sum()


def test_jackknife_of_a_mean_is_its_squared_standard_error():
    values = np.random.default_rng(2).normal(size=(12, 2))
    left_out = (values.sum(axis=0) - values) / 11
    expected = np.cov(values.T) / 12
    np.testing.assert_allclose(jackknife_covariance(left_out), expected)


@pytest.mark.parametrize("n", [5, 12, 40])
def test_third_cumulant_is_unbiased_after_detrending(n):
    """Skewed independent noise in 60 000 pixels: |z| of the mean third moment ≤ 4.5."""
    noise = np.random.default_rng(n).exponential(size=(n, 250, 240)).astype(np.float32)
    noise += np.linspace(0, 5, n, dtype=np.float32)[:, None, None]
    third = (detrended(noise).astype(np.float64) ** 3).sum(axis=0) / (trend_residual(n) ** 3).sum()
    assert abs(third.mean() - 2.0) < 4.5 * third.std() / np.sqrt(third.size)
