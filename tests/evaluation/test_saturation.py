"""Saturation: a pile at the largest value is found, a law that thins out is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.evaluation.saturation import find_saturation


def stack(frames):
    return ImageStack(frames, PixelGrid(frames.shape[1:], 100.0))


@pytest.fixture(params=["poisson", "gaussian", "uint8"])
def frames(request):
    rng = np.random.default_rng(1)
    if request.param == "poisson":
        return rng.poisson(300.0, (100, 12, 12)).astype(np.uint16)
    if request.param == "gaussian":
        return rng.normal(100.0, 8.0, (100, 12, 12)).astype(np.float32)
    return np.rint(rng.normal(40.0, 4.0, (100, 12, 12))).astype(np.uint8)


def test_counts_that_thin_out_are_no_saturation(frames):
    assert not find_saturation(stack(frames)).clipped


def test_a_clipped_tail_is_counted(frames):
    top = np.quantile(frames, 0.99, method="lower")
    found = find_saturation(stack(np.minimum(frames, top)))
    at_top = frames >= top
    assert found.clipped
    assert found.top == top
    assert found.n_values == at_top.sum()
    assert found.share == pytest.approx(at_top.mean())
    assert found.n_pixels == at_top.any(axis=0).sum()


def test_one_hot_pixel_is_no_saturation(frames):
    frames[:, 3, 4] = frames.max() + 50
    found = find_saturation(stack(frames))
    assert found.n_pixels == 1
    assert not found.clipped


def test_a_constant_movie_is_not_called_saturated():
    assert not find_saturation(stack(np.full((30, 8, 8), 255, np.uint8))).clipped
