"""The eight orientations of a square, acting on images and on direction-aware statistics."""

from __future__ import annotations

import numpy as np

from dlbi.core.images import FloatImage
from dlbi.learning.observation import CHANNELS

SYMMETRIES = range(8)
"""k mod 4 quarter turns, for k ≥ 4 after a mirroring along x."""

_SWAPPED_BY_TURN = {
    "along_x": "along_y",
    "across_x": "across_y",
    "falling": "rising",
}
_SWAPPED_BY_MIRROR = {"falling": "rising"}


def apply_image(image: FloatImage, k: int) -> FloatImage:
    """Orientation k of the last two axes; a view."""
    mirrored = image[..., ::-1] if k >= 4 else image
    turned: FloatImage = np.rot90(mirrored, k % 4, axes=(-2, -1))
    return turned


def undo_image(image: FloatImage, k: int) -> FloatImage:
    """Inverse of `apply_image`; a view."""
    turned: FloatImage = np.rot90(image, -(k % 4), axes=(-2, -1))
    return turned[..., ::-1] if k >= 4 else turned


def apply(statistics: FloatImage, k: int) -> FloatImage:
    """Orientation k of statistics (…, S, Y, X): what would have been seen of a turned movie."""
    turned: FloatImage = apply_image(statistics, k)[..., _order(k), :, :]
    return turned


def _order(k: int) -> list[int]:
    swaps: list[dict[str, str]] = []
    if k >= 4:
        swaps.append(_SWAPPED_BY_MIRROR)
    if k % 2:
        swaps.append(_SWAPPED_BY_TURN)
    names = list(CHANNELS)
    for swap in swaps:
        both = swap | {b: a for a, b in swap.items()}
        names = [both.get(n, n) for n in names]
    return [CHANNELS.index(n) for n in names]
