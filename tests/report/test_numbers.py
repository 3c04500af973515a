"""Numbers are written with three digits, without exponents where that is short."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.report.numbers import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (3410.4, "3410"), (77.44, "77.4"), (1.0, "1.00"), (0.31234, "0.312"),
        (999.9, "1000"), (-12.34, "-12.3"), (1.3e-5, "1.30e-05"), (2.5e9, "2.50e+09"),
        (math.nan, "–"), (math.inf, "–"),
    ],
)  # fmt: skip
def test_examples(value, text):
    assert number(value) == text


def test_what_vanishes_beside_its_scale_is_zero():
    assert number(0.0009, 1.0) == "0"
    assert number(-0.0009, -1.0) == "0"
    assert number(0.0011, 1.0) == "0.00110"


@given(st.floats(1e-300, 1e300) | st.floats(-1e300, -1e-300))
def test_no_value_is_misstated_by_more_than_half_a_digit(value):
    assert float(number(value)) == pytest.approx(value, rel=0.0051)
