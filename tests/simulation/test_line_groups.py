from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.lines import LineGroup
from dlbi.simulation.line_groups import JITTER_NM, draw_groups, place_groups

FIELD = PixelGrid((256, 256), 40.0)
PATCH = PixelGrid((128, 128), 20.0)
CENTRE = (1280.0, 1280.0)


def test_sixteen_groups_of_three_kinds_lie_apart_at_all_angles():
    groups = place_groups(FIELD, 120.0, 1)
    assert Counter(g.kind for g in groups) == {"pair": 8, "ladder": 4, "band": 4}
    assert {g.spacing_nm for g in groups} == {120.0}
    angles = np.sort([g.angle % np.pi for g in groups])
    np.testing.assert_allclose(np.diff(angles), np.pi / 16)
    for a, b in combinations(groups, 2):
        assert np.hypot(*np.subtract(a.centre_nm, b.centre_nm)) >= 2560.0 - 4 * JITTER_NM
    assert len({g.centre_nm[0] % 20.0 for g in groups}) == 16


def test_groups_repeat_with_their_seed_and_move_with_the_field():
    assert place_groups(FIELD, 120.0, 5) == place_groups(FIELD, 120.0, 5)
    assert place_groups(FIELD, 120.0, 5) != place_groups(FIELD, 120.0, 6)
    moved = PixelGrid(FIELD.shape, 40.0, (1000.0, -500.0))
    for here, there in zip(
        place_groups(FIELD, 120.0, 5), place_groups(moved, 120.0, 5), strict=True
    ):
        np.testing.assert_allclose(np.subtract(there.centre_nm, here.centre_nm), (1000.0, -500.0))


def test_lines_are_where_the_group_says():
    group = LineGroup("ladder", CENTRE, 0.6, 300.0, length_nm=1200.0)
    picture = draw_groups([group], PATCH)
    assert picture.density.max() == 1.0
    y, x = np.nonzero(picture.density > 0.5)
    (y_nm, x_nm), offsets = PATCH.to_nm(y, x), group.offsets_nm
    across = (y_nm - CENTRE[0]) * np.cos(0.6) - (x_nm - CENTRE[1]) * np.sin(0.6)
    along = (y_nm - CENTRE[0]) * np.sin(0.6) + (x_nm - CENTRE[1]) * np.cos(0.6)
    nearest = np.abs(across[:, None] - offsets).argmin(axis=1)
    assert set(nearest) == {0, 1, 2, 3}
    assert np.abs(across - offsets[nearest]).max() < 30.0
    assert 580.0 < np.abs(along).max() < 630.0


def test_a_band_fills_a_pair_with_the_same_light():
    """Both in one picture, so that both are scaled alike."""
    pair = LineGroup("pair", (2600.0, 2600.0), 1.1, 200.0)
    band = LineGroup("band", (2600.0, 7700.0), 1.1, 200.0)
    grid = FIELD.refine(2)
    density = draw_groups([pair, band], grid).density.astype(np.float64)
    halves = density[:, :256], density[:, 256:]
    assert halves[1].sum() == pytest.approx(halves[0].sum(), rel=0.02)
    assert density[130, 130] < 1e-3
    # Two lines of σ 14 nm spread over 200 nm, in units of the peak of a line.
    assert density[130, 385] == pytest.approx(2 * 14.0 * np.sqrt(2 * np.pi) / 200.0, rel=0.1)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: place_groups(PixelGrid((100, 600), 20.0), 100.0), "10.24 µm along each side"),
        (lambda: place_groups(FIELD, 0.0), "must be positive"),
        (lambda: draw_groups([], PATCH), "no line"),
        (lambda: draw_groups([LineGroup("pair", (9e4, 9e4), 0.0, 90.0)], PATCH), "no line"),
    ],
)
def test_impossible_fields_are_refused(call, says):
    with pytest.raises(InputError, match=says):
        call()
