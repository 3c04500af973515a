"""How two grids lie: whether they cover one field, by which factor one is finer, and where."""

from __future__ import annotations

import numpy as np

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid


def upscaling_factor(fine: PixelGrid, coarse: PixelGrid) -> int:
    """Number of fine pixels along the edge of a coarse pixel of the same field.

    Origins and extents may differ by half a fine pixel, which absorbs rounded metadata.

    Raises
    ------
    ShapeError
        If the grids do not cover the same field by a whole factor.
    """
    factor = fine.shape[0] // coarse.shape[0]
    slips_nm = np.subtract(
        (*fine.origin_nm, *fine.extent_nm), (*coarse.origin_nm, *coarse.extent_nm)
    )
    whole = factor >= 1 and coarse.refine(factor).shape == fine.shape
    if not whole or np.abs(slips_nm).max() > fine.pixel_size_nm / 2:
        raise ShapeError(
            f"{_describe(fine)} and {_describe(coarse)} cannot be compared: they must cover the "
            "same field, one a whole number of times finer; cut both to the same region and "
            "check both pixel sizes"
        )
    return factor


def window_of(field: PixelGrid, grid: PixelGrid) -> tuple[int, int, int, int]:
    """Pixels of a grid that cover a field inside it.

    Borders may differ by less than half a pixel of the finer grid, which absorbs rounded metadata.

    Returns
    -------
    tuple of int
        (x, y, width, height) in pixels of `grid`, as `ImageStack.select` takes them.

    Raises
    ------
    ShapeError
        If the field reaches outside the grid or does not begin and end at pixel borders.
    """
    first = np.subtract(field.origin_nm, grid.origin_nm) / grid.pixel_size_nm
    size = np.array(field.extent_nm) / grid.pixel_size_nm
    borders = np.stack([first, first + size])
    whole = np.rint(borders)
    slack = min(field.pixel_size_nm / grid.pixel_size_nm, 1.0) / 2
    outside = whole[0].min() < 0 or (whole[1] > grid.shape).any()
    if outside or np.abs(borders - whole).max() >= slack or (whole[1] == whole[0]).any():
        raise ShapeError(
            f"{_describe(field)} is not a part of {_describe(grid)} that begins and ends at its "
            "pixel borders; check both pixel sizes"
        )
    (y0, x0), (height, width) = whole[0].astype(int), (whole[1] - whole[0]).astype(int)
    return int(x0), int(y0), int(width), int(height)


def _describe(grid: PixelGrid) -> str:
    (h, w), (y, x) = grid.shape, grid.origin_nm
    corner = f" from x={x:g}, y={y:g} nm" if (y, x) != (0.0, 0.0) else ""
    return f"{w}×{h} px of {grid.pixel_size_nm:g} nm{corner}"
