from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.inference.fusion import (
    BANDWIDTH_PER_SPACING,
    MAX_BANDWIDTH_PX,
    density_bandwidth,
    product_of_experts,
)


def test_product_is_the_geometric_mean_with_the_light_of_the_first():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 20, 30)).astype(np.float32)
    image = product_of_experts(a, 7 * b)
    root = np.sqrt(a * b)
    np.testing.assert_allclose(image, root * a.sum() / root.sum(), rtol=1e-5)


def test_product_is_empty_where_either_expert_sees_nothing():
    a = np.array([[1.0, 0.0], [2.0, 3.0]], np.float32)
    b = np.array([[0.0, 1.0], [2.0, 3.0]], np.float32)
    np.testing.assert_array_equal(product_of_experts(a, b) > 0, [[False, False], [True, True]])
    assert not product_of_experts(a, np.zeros_like(a)).any()


def test_weights_are_powers():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 20, 30)).astype(np.float32)
    image = product_of_experts(a, b, weight=0.8)
    expected = a**0.8 * b**0.2
    np.testing.assert_allclose(image, expected * a.sum() / expected.sum(), rtol=1e-4)
    np.testing.assert_allclose(product_of_experts(a, b, weight=1.0), a, rtol=1e-5)
    only_guide = product_of_experts(a, b, weight=0.0)
    np.testing.assert_allclose(only_guide, b * a.sum() / b.sum(), rtol=1e-4)


def test_a_bandwidth_corrects_light_without_adding_grain():
    rng = np.random.default_rng(2)
    guide = np.ones((80, 80), np.float32)
    truth = guide.copy()
    truth[:, 40:] = 3.0
    sampled = rng.poisson(4 * truth).astype(np.float32)
    rough = product_of_experts(sampled, guide)
    smooth = product_of_experts(sampled, guide, bandwidth_px=2.0)
    left, right = (slice(None), slice(0, 30)), (slice(None), slice(50, 80))
    # G keeps 1 / (4π 2²) of the variance of white grain, but for the root taken of both.
    assert smooth[left].std() / smooth[left].mean() < 0.3 * rough[left].std() / rough[left].mean()
    ratio = smooth[right].mean() / smooth[left].mean()
    assert ratio == pytest.approx(np.sqrt(3.0), rel=0.02)


def grid_of_emitters(spacing_nm: float, sd_nm: float) -> Emitters:
    y, x = (a.ravel() * spacing_nm for a in np.mgrid[:10, :10].astype(float))
    sd = np.full(y.size, sd_nm)
    return Emitters(x, y, sd_x_nm=sd, sd_y_nm=sd)


@pytest.mark.parametrize(("spacing", "sd"), [(60.0, 0.0), (100.0, 80.0), (65.0, 25.0)])
def test_bandwidth_follows_the_spacing_beyond_the_position_error(spacing, sd):
    expected = BANDWIDTH_PER_SPACING * np.sqrt(spacing**2 - sd**2) / 20.0
    assert density_bandwidth(grid_of_emitters(spacing, sd), 20.0) == pytest.approx(expected)


def test_no_bandwidth_where_sampling_spreads_enough():
    assert density_bandwidth(grid_of_emitters(30.0, 31.0), 20.0) == 0.0
    assert density_bandwidth(Emitters(np.zeros(1), np.zeros(1)), 20.0) == 0.0


def test_bandwidth_is_limited():
    assert density_bandwidth(grid_of_emitters(1000.0, 5.0), 20.0) == MAX_BANDWIDTH_PX
