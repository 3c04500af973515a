"""Numbers as people write them."""

from __future__ import annotations

import math

DIGITS = 3
NEGLIGIBLE = 1e-3
"""What is smaller than this share of its scale is written as zero."""


def number(value: float, scale: float = 0.0) -> str:
    """A value with three digits and without an exponent where that is short; a dash for NaN.

    Parameters
    ----------
    value : float
    scale : float
        A value beside which this one may vanish.
    """
    if not math.isfinite(value):
        return "–"
    if value == 0.0 or abs(value) < NEGLIGIBLE * abs(scale):
        return "0"
    places = DIGITS - 1 - math.floor(math.log10(abs(value)))
    if -6 <= places <= 5:
        return f"{round(value, places):.{max(places, 0)}f}"
    return f"{value:.{DIGITS - 1}e}"
