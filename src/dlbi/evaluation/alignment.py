"""Whether two grids cover one field, and by which factor one is finer."""

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


def _describe(grid: PixelGrid) -> str:
    (h, w), (y, x) = grid.shape, grid.origin_nm
    corner = f" from x={x:g}, y={y:g} nm" if (y, x) != (0.0, 0.0) else ""
    return f"{w}×{h} px of {grid.pixel_size_nm:g} nm{corner}"
