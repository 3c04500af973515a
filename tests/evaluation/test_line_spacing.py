"""Lines of known profile: valley and peaks by formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.lines import LineGroup
from dlbi.evaluation.line_spacing import (
    line_profile,
    resolved_spacing,
    share_resolved,
    valley_ratio,
)

GRID = PixelGrid((120, 130), 20.0, (300.0, -200.0))
CENTRE = (1500.0, 1100.0)


def image_of(group, sigma_nm, *, weights=None):
    """Endless Gaussian lines by formula."""
    y, x = GRID.centres_nm()
    dy, dx = y[:, None] - group.centre_nm[0], x - group.centre_nm[1]
    across = dy * math.cos(group.angle) - dx * math.sin(group.angle)
    weights = np.ones(group.n_lines) if weights is None else weights
    return sum(
        w * np.exp(-0.5 * ((across - offset) / sigma_nm) ** 2)
        for w, offset in zip(weights, group.offsets_nm, strict=True)
    )


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(0.0, math.pi), ratio=st.floats(2.6, 5.0))
def test_two_lines_have_the_valley_of_two_gaussians(angle, ratio):
    sigma = 60.0
    group = LineGroup("pair", CENTRE, angle, ratio * sigma, length_nm=1000.0)
    found = valley_ratio(image_of(group, sigma), GRID, group)
    fine = np.linspace(-1.0, 1.0, 4001) * group.spacing_nm
    profile = sum(np.exp(-0.5 * ((fine - o) / sigma) ** 2) for o in group.offsets_nm)
    expected = profile[2000] / profile.max()
    assert found == pytest.approx(expected, abs=0.03)


def test_lines_that_merge_are_not_resolved_at_all():
    """Below two standard deviations the sum of two Gaussians has one peak (Sparrow)."""
    group = LineGroup("pair", CENTRE, 0.7, 100.0, length_nm=1000.0)
    assert valley_ratio(image_of(group, 55.0), GRID, group) == 1.0


def test_a_ladder_is_as_good_as_its_worst_neighbours():
    group = LineGroup("ladder", CENTRE, 0.4, 240.0, length_nm=1000.0)
    good = valley_ratio(image_of(group, 50.0), GRID, group)
    missing = valley_ratio(image_of(group, 50.0, weights=[1.0, 1.0, 0.0, 1.0]), GRID, group)
    assert good < 0.3
    assert missing == 1.0


@pytest.mark.parametrize("image", [np.zeros(GRID.shape), np.ones(GRID.shape)])
def test_an_image_without_lines_resolves_none(image):
    group = LineGroup("pair", CENTRE, 0.4, 200.0, length_nm=1000.0)
    assert valley_ratio(image, GRID, group) == 1.0


def test_the_profile_is_averaged_along_the_lines():
    group = LineGroup("pair", CENTRE, 0.0, 200.0, length_nm=1000.0)
    y, x = GRID.centres_nm()
    image = y[:, None] + 7.0 * (x - CENTRE[1])
    across, profile = line_profile(image, GRID, group)
    # Along the lines x runs evenly around the centre but for one step of the sampling.
    np.testing.assert_allclose(profile - profile[0], across - across[0], atol=1e-3)
    assert profile[0] - (CENTRE[0] + across[0]) == pytest.approx(-7.0 * 10.0, abs=1e-3)


def test_shares_and_the_smallest_spacing():
    assert share_resolved([0.2, 0.79, 0.8, 1.0]) == 0.5
    assert math.isnan(share_resolved([]))
    assert resolved_spacing({60: 0.9, 100: 0.4, 140: 0.6, 200: 1.0}) == 140
    assert resolved_spacing({100: 1.0, 200: 0.5}) is None
    assert resolved_spacing({100: math.nan}) is None
    assert resolved_spacing({}) is None


def test_an_image_of_another_grid_is_refused():
    with pytest.raises(ShapeError, match="does not fit grid"):
        valley_ratio(np.zeros((3, 3)), GRID, LineGroup("pair", CENTRE, 0.0, 200.0))
