"""Conjugate gradients that see a function through its gradient only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq

from dlbi.core.kernels import F64

Gradient = Callable[[F64], F64]

TOLERANCE = 1.5e-8
"""Relative error of a step length, and the gradient at which the search ends."""

MAX_HALVINGS = 100


def minimise(
    gradient: Gradient,
    start: F64,
    limit: F64,
    *,
    max_searches: int,
    first_gradient: F64 | None = None,
) -> F64:
    """Go downhill by Polak–Ribière conjugate gradients without restarts.

    Parameters
    ----------
    gradient : callable
        ∇F at a point (P,); NaN outside of its domain.
    start : ndarray, (P,)
    limit : ndarray, (P,)
        No line search moves a coordinate by more than this.
    max_searches : int
        The search ends after this number of further line searches beyond the first, as in the
        program.
    first_gradient : ndarray, (P,), optional
        Taken for the gradient at the start, so that the first search goes against it.

    Returns
    -------
    ndarray, (P,)
        Where the search ended: after the last step, or at a gradient below 1.5·10⁻⁸ everywhere.

    Notes
    -----
    d ← −g + d · g·(g − g_old)/(g_old·g_old). Where d points uphill no step is made, and the next
    direction is −g.

    References
    ----------
    Polak and Ribière 1969, doi:10.1051/m2an/196903R100351.
    """
    point = np.array(start, np.float64)
    g = gradient(point) if first_gradient is None else np.array(first_gradient, np.float64)
    known = g if first_gradient is None else None
    direction = -g
    for _ in range(max_searches + 1):
        if not np.isfinite(g).all() or np.abs(g).max() < TOLERANCE:
            break
        if float(direction @ g) < 0:
            point, new = line_search(gradient, point, direction, limit, known)
            known = new
        else:
            new = g
        factor = float(new @ (new - g)) / float(g @ g)
        direction = factor * direction - new
        g = new
    return point


def line_search(
    gradient: Gradient, start: F64, direction: F64, limit: F64, at_start: F64 | None = None
) -> tuple[F64, F64]:
    """The point along a direction where the slope vanishes, and the gradient there.

    Parameters
    ----------
    gradient : callable
    start, direction : ndarray, (P,)
    limit : ndarray, (P,)
        Largest change of each coordinate. If F still falls there, that step is taken; where the
        gradient is not finite, half of it is tried.
    at_start : ndarray, (P,), optional
        The gradient at the start, if known.

    Notes
    -----
    The root of the slope is bracketed by 0 and the largest step and found by Brent's method; the
    program alternates bisection and false position to the same tolerance, which takes more
    evaluations.
    """
    longest = float((limit / np.maximum(np.abs(direction), 1e-300)).min())
    seen: dict[float, F64] = {} if at_start is None else {0.0: at_start}

    def slope(step: float) -> float:
        if step not in seen:
            seen[step] = gradient(start + step * direction)
        return float(seen[step] @ direction)

    at_end = slope(longest)
    for _ in range(MAX_HALVINGS):
        if np.isfinite(at_end):
            break
        longest *= 0.5
        at_end = slope(longest)
    else:
        slope(0.0)
        return start, seen[0.0]
    step = longest
    if at_end > 0:
        if not slope(0.0) < 0:
            # A first direction that was given and does not descend: no root to bracket.
            return start, seen[0.0]
        step = brentq(slope, 0.0, longest, xtol=TOLERANCE * 1e-4 * longest, rtol=TOLERANCE)
        slope(step)
    return start + step * direction, seen[step]
