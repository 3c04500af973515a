"""The spot, its derivatives and priors against finite differences and the written formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import lognorm

from dlbi.inference.threeb.spots import (
    LogNormal,
    derivatives,
    priors_of,
    profiles_of,
    project,
    project_reference,
    spot_image,
)

SPOT = np.array([3.7, 0.9, 5.3, 4.6])
ROWS, COLUMNS = np.arange(10.0), np.arange(12.0)


def steps():
    return 1e-5 * np.eye(4)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_spot_is_a_gaussian_normalised_in_so_many_dimensions(dimensions):
    image = spot_image(SPOT, np.arange(-20.0, 30), np.arange(-20.0, 30), dimensions)
    norm = 0.9 * np.sqrt(2 * np.pi)
    assert image.sum() == pytest.approx(3.7 * norm ** (2 - dimensions), rel=1e-6)
    at = spot_image(np.array([3.7, 0.9, 2.0, 1.0]), ROWS, COLUMNS, dimensions)
    assert at[1, 2] == pytest.approx(3.7 / norm**dimensions)
    assert at[1, 4] / at[1, 2] == pytest.approx(np.exp(-4 / (2 * 0.81)))


@pytest.mark.parametrize("dimensions", [1, 2])
def test_derivatives_of_a_spot(dimensions):
    image, first, second = derivatives(SPOT, ROWS, COLUMNS, dimensions)
    np.testing.assert_array_equal(image, spot_image(SPOT, ROWS, COLUMNS, dimensions))
    for i, h in enumerate(steps()):
        up, down = (derivatives(SPOT + sign * h, ROWS, COLUMNS, dimensions) for sign in (1, -1))
        np.testing.assert_allclose(first[i], (up[0] - down[0]) / 2e-5, atol=1e-8)
        np.testing.assert_allclose(second[i], (up[1] - down[1]) / 2e-5, atol=1e-8)


def test_log_normal_is_that_of_scipy():
    law, v = LogNormal(0.7, 0.4), 1.9
    same = lognorm(0.4, scale=np.exp(0.7))
    assert law.log_density(v) == pytest.approx(same.logpdf(v))
    assert law.deviation == pytest.approx(same.std())
    h = 1e-4
    assert law.slope(v) == pytest.approx(
        (same.logpdf(v + h) - same.logpdf(v - h)) / (2 * h), rel=1e-6
    )
    bend = (same.logpdf(v + h) - 2 * same.logpdf(v) + same.logpdf(v - h)) / h**2
    assert law.curvature(v) == pytest.approx(bend, rel=1e-4)
    assert law.slope(law.mode) == pytest.approx(0.0, abs=1e-12)


def test_priors_of_the_program():
    priors = priors_of(300 / 160 / 2.3548)
    assert priors.brightness.mode == pytest.approx(2.718, abs=1e-3)
    assert priors.brightness.deviation == pytest.approx(15.97, abs=5e-3)
    assert priors.radius.mu == pytest.approx(-0.21786, abs=2e-5)
    assert priors.radius.mode == pytest.approx(0.796, abs=1e-3)
    spots = np.array([[2.0, 0.8, 0, 0], [5.0, 0.9, 1, 1]])
    expected = priors.brightness.log_density(spots[:, 0]) + priors.radius.log_density(spots[:, 1])
    assert priors.log_density(spots) == pytest.approx(expected.sum())
    np.testing.assert_allclose(priors.at(3, 4), [np.e, priors.radius.mode, 3, 4])


def test_two_dimensions_keep_the_peak_of_the_prior():
    one, two = (priors_of(1.1, dimensions=n) for n in (1, 2))
    peaks = [
        spot_image(p.at(2.0, 2.0), ROWS, COLUMNS, p.dimensions)[2, 2]
        * p.radius.mode**p.dimensions
        / 1.1**p.dimensions
        for p in (one, two)
    ]
    assert peaks[0] == pytest.approx(peaks[1])


def test_projections_on_windows_are_those_on_the_whole_field():
    rng = np.random.default_rng(4)
    spots = np.array([SPOT, [2.0, 0.7, 0.2, 27.0], [1.0, 1.3, 29.0, 31.5], [4.0, 0.8, 15, -40.0]])
    profiles, data = profiles_of(spots, (32, 30)), rng.normal(0, 1, (32, 30, 5))
    out = np.full((4, 5), np.nan)
    project(profiles, data, out)
    np.testing.assert_allclose(out, project_reference(profiles, data), atol=2e-7)
    images = np.array([spot_image(s, np.arange(32.0), np.arange(30.0)) for s in spots])
    np.testing.assert_allclose(
        profiles.overlaps(), np.einsum("jyx,kyx->jk", images, images), atol=1e-12
    )
    np.testing.assert_allclose(
        project_reference(profiles, data), np.einsum("kyx,yxt->kt", images, data), atol=1e-12
    )
    np.testing.assert_allclose(profiles.overlaps_of(1), profiles.overlaps()[1], rtol=1e-12)
    moved = profiles_of(spots, (32, 30))
    moved.replace(2, profiles_of(spots[:1], (32, 30)))
    for a, b in zip(moved, profiles_of(spots[[0, 1, 0, 3]], (32, 30)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert profiles.without(1).spots[:, 0].tolist() == [3.7, 1.0, 4.0]
