"""Plans that cut a field into tiles with a halo; pure geometry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
    """Tiles of nearly equal size whose outer regions hold at most about `max_px` pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the field.
    max_px : int
        Pixels of an outer region; exceeded only where a tile would be narrower than its halo.
    halo_px : int
        Pixels around a core that are computed but not kept.
    """
    if shape[0] * shape[1] <= max_px:
        whole = (slice(0, shape[0]), slice(0, shape[1]))
        return [Tile((0, 0), whole, whole)]
    side = max(int(np.sqrt(max_px)) - 2 * halo_px, 2 * halo_px, 1)
    rows, columns = (_cuts(n, side) for n in shape)
    return [
        Tile((i, j), (y, x), (_widen(y, halo_px, shape[0]), _widen(x, halo_px, shape[1])))
        for i, y in enumerate(rows)
        for j, x in enumerate(columns)
    ]


def scale(region: Region, factor: int) -> Region:
    """The same region on a grid refined by `factor`."""
    y, x = region
    return slice(y.start * factor, y.stop * factor), slice(x.start * factor, x.stop * factor)


def _cuts(n: int, side: int) -> list[slice]:
    edges = np.linspace(0, n, -(-n // side) + 1).round().astype(int)
    return [slice(int(a), int(b)) for a, b in pairwise(edges)]


def _widen(part: slice, halo: int, n: int) -> slice:
    return slice(max(0, part.start - halo), min(n, part.stop + halo))
