"""Estimates and scopes hold possible figures only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.scope import UNITS, Estimate


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ((2.0, 3.0, 4.0), "must lie in its interval"),
        ((5.0, 3.0, 4.0), "must lie in its interval"),
        ((np.nan, 0.0, 1.0), "must be finite"),
        ((0.0, 0.0, np.inf), "must be finite"),
        ((0.5, 0.0, 1.0, "guess"), "must be one of movie, bounds, prior"),
    ],
)
def test_estimates_that_cannot_be(figures, says):
    with pytest.raises(InputError, match=says):
        Estimate(*figures)


def test_only_the_movie_identifies():
    assert Estimate(1.0, 0.0, 2.0).identified
    assert not Estimate(1.0, 0.0, 2.0, "bounds").identified
    assert not Estimate(1.0, 0.0, 2.0, "prior").identified


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"emitting_to_dark": Estimate(0.7, 0.6, 0.8)}, "from emitting must sum to 1, got 0.9"),
        ({"dark_to_bleached": Estimate(0.1, 0.0, 0.2)}, "from dark must sum to 1, got 1.09"),
        ({"bleached_share": Estimate(0.5, 0.1, 1.2)}, "bleached_share: 1.2 is impossible"),
        ({"gain": Estimate(0.0, -1.0, 2.0)}, "gain: -1 is impossible; it must be at least 0"),
        ({"memory": Estimate(0.0, -1.5, 0.5)}, "memory: -1.5 is impossible; it must be -1 … 1"),
        ({"psf_fwhm_nm": Estimate(0.0, 0.0, 9.0)}, "psf_fwhm_nm: the value must be positive"),
        ({"pixel_size_nm": 0.0}, "pixel_size_nm must be positive"),
        ({"level": np.nan}, "level must be finite"),
        ({"n_frames": 1}, "n_frames must be at least 2"),
    ],
)
def test_scopes_that_cannot_be(scope, change, says):
    with pytest.raises(InputError, match=says):
        replace(scope, **change)


def test_the_noise_model_passes_through_the_noise_at_the_level(scope):
    # 90 counts² at 150 counts, 2 counts² per count.
    assert scope.read_variance == 90.0 - 2.0 * 150.0
    assert "noise variance = -210 + 2 · counts" in str(scope)


def test_the_table_lists_every_figure_and_tells_what_is_not_known(scope):
    lines = str(scope).splitlines()
    assert [name for name, _ in scope.estimates()] == list(UNITS)
    assert [line.split()[0] for line in lines[1:-1]] == list(UNITS)
    told = {line.split()[0]: line for line in lines[1:-1]}
    assert "not identified, prior" in told["n_emitters"]
    assert "not identified, bounds" in told["flux"]
    assert "not identified" not in told["gain"]


def test_the_chain_is_the_table(scope):
    assert scope.chain.table == pytest.approx((0.2, 0.8, 0.3, 0.69, 0.01))
