"""Plans that cut a field into tiles with a halo; pure geometry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

Region = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class Tile:
    """One part of a field, in pixels.

    Parameters
    ----------
    index : tuple of int
        Row and column of the tile in the plan.
    core : tuple of slice
        Rows and columns this tile is responsible for; the cores of a plan cover the field once.
    outer : tuple of slice
        Core and halo, clipped to the field.
    """

    index: tuple[int, int]
    core: Region
    outer: Region

    @property
    def inner(self) -> Region:
        """The core as seen from the outer region."""
        (cy, cx), (oy, ox) = self.core, self.outer
        return (
            slice(cy.start - oy.start, cy.stop - oy.start),
            slice(cx.start - ox.start, cx.stop - ox.start),
        )


def plan(shape: tuple[int, int], *, max_px: int, halo_px: int) -> list[Tile]:
    """Tiles of nearly equal size within a budget of pixels, with the least work in all.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the field.
    max_px : int
        Pixels of an outer region; exceeded only where a tile would be narrower than its halo.
    halo_px : int
        Pixels around a core that are computed but not kept.
    """
    narrowest = max(2 * halo_px, 1)
    rows_px, columns_px = (
        [_largest_and_total(n, k, halo_px) for k in range(1, max(1, n // narrowest) + 1)]
        for n in shape
    )

    def cost(numbers: tuple[int, int]) -> tuple[bool, int]:
        (height, sum_y), (width, sum_x) = rows_px[numbers[0] - 1], columns_px[numbers[1] - 1]
        too_large = height * width > max_px
        # Where nothing fits, the smallest tiles come closest.
        return too_large, height * width if too_large else sum_y * sum_x

    best = min(product(range(1, len(rows_px) + 1), range(1, len(columns_px) + 1)), key=cost)
    rows, columns = (_cuts(n, k) for n, k in zip(shape, best, strict=True))
    return [
        Tile((i, j), (y, x), (_widen(y, halo_px, shape[0]), _widen(x, halo_px, shape[1])))
        for i, y in enumerate(rows)
        for j, x in enumerate(columns)
    ]


def scale(region: Region, factor: int) -> Region:
    """The same region on a grid refined by `factor`."""
    y, x = region
    return slice(y.start * factor, y.stop * factor), slice(x.start * factor, x.stop * factor)


def _largest_and_total(n: int, n_tiles: int, halo: int) -> tuple[int, int]:
    """Pixels along one axis of the largest of its tiles with its halo, and of all of them."""
    outer = [_widen(part, halo, n) for part in _cuts(n, n_tiles)]
    sizes = [part.stop - part.start for part in outer]
    return max(sizes), sum(sizes)


def _cuts(n: int, n_tiles: int) -> list[slice]:
    edges = np.linspace(0, n, n_tiles + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _widen(part: slice, halo: int, n: int) -> slice:
    return slice(max(0, part.start - halo), min(n, part.stop + halo))
