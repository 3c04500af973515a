"""Saturation of the camera: values pile up at the largest one instead of thinning out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlbi.core.images import ImageStack

MIN_VALUES, MIN_PIXELS = 10, 3
TAIL_SHARE = 0.02
"""Values within this share of the range below the largest should be more than those at it."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """The largest value of a movie.

    Parameters
    ----------
    top : float
        That value, counts.
    n_values, n_pixels : int
        How often it occurs, and in how many pixels.
    share : float
        Share of all values.
    clipped : bool
        Whether it looks like the end of the camera's range.
    """

    top: float
    n_values: int
    n_pixels: int
    share: float
    clipped: bool


def find_saturation(stack: ImageStack) -> Saturation:
    """Look for a pile of equal largest values.

    Notes
    -----
    A law of counts thins out towards its end, so the values just below the largest (2 % of the
    range, at least one whole count) outnumber those that equal it, unless the range ends there.
    """
    bottom, top, whole = np.inf, -np.inf, True
    for _, frames in stack.chunks():
        bottom, top = min(bottom, float(frames.min())), max(top, float(frames.max()))
        whole = whole and bool((frames == np.rint(frames)).all())
    tail = max(TAIL_SHARE * (top - bottom), 1.0 if whole else 0.0)
    n_top = n_tail = 0
    touched = np.zeros(stack.grid.shape, bool)
    for _, frames in stack.chunks():
        at_top = frames == top
        touched |= at_top.any(axis=0)
        n_top += int(at_top.sum())
        n_tail += int((frames >= top - tail).sum())
    n_tail -= n_top
    n_pixels = int(touched.sum())
    clipped = top > bottom and n_top >= MIN_VALUES and n_pixels >= MIN_PIXELS and n_top > n_tail
    n_all = stack.n_frames * touched.size
    return Saturation(top, n_top, n_pixels, n_top / n_all, clipped)
