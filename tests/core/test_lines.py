import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import InputError
from dlbi.core.lines import LineGroup


def test_lines_lie_one_spacing_apart_around_the_centre():
    np.testing.assert_allclose(LineGroup("pair", (0, 0), 0.0, 80.0).offsets_nm, [-40, 40])
    np.testing.assert_allclose(LineGroup("band", (0, 0), 0.0, 80.0).offsets_nm, [-40, 40])
    ladder = LineGroup("ladder", (0, 0), 0.0, 80.0).offsets_nm
    np.testing.assert_allclose(ladder, [-120, -40, 40, 120])


@given(angle=st.floats(-7, 7), across=st.floats(-500, 500), along=st.floats(-500, 500))
def test_across_and_along_are_a_rotation_around_the_centre(angle, across, along):
    group = LineGroup("pair", (700.0, 300.0), angle, 80.0)
    y, x = group.at(np.array(across), np.array(along))
    assert np.hypot(y - 700.0, x - 300.0) == pytest.approx(math.hypot(across, along))
    direction = np.array([math.sin(angle), math.cos(angle)])
    assert np.dot([y - 700.0, x - 300.0], direction) == pytest.approx(along, abs=1e-9)


@pytest.mark.parametrize(
    ("kind", "spacing", "length"),
    [("triple", 80.0, 100.0), ("pair", 0.0, 100.0), ("pair", math.nan, 100.0), ("pair", 80.0, -1)],
)
def test_impossible_lines_are_refused(kind, spacing, length):
    with pytest.raises(InputError, match="lines"):
        LineGroup(kind, (0.0, 0.0), 0.0, spacing, length)
