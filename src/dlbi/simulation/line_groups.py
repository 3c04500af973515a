"""Fields of line groups, on which the smallest resolved spacing is read off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.core.lines import LineGroup, LineKind
from dlbi.core.rng import RngLike, as_generator
from dlbi.simulation.strokes import Canvas

SIGMA_NM = 14.0
"""Standard deviation of the cross-section of a line."""

CELLS = 4
"""Groups along each side of the field."""

CELL_NM = 2560.0
"""Least room for a group, so that two are 1.8 PSF widths apart or more."""

JITTER_NM = 80.0
BAND_STEP_NM = 10.0

_ORDER: tuple[LineKind, ...] = ("pair", "ladder", "pair", "band")


def place_groups(grid: PixelGrid, spacing_nm: float, rng: RngLike = None) -> list[LineGroup]:
    """Sixteen groups of one spacing: 8 pairs, 4 ladders and 4 bands.

    Each has another orientation and another position in the pixel. No row or column of the field
    holds one kind only.

    Parameters
    ----------
    grid : PixelGrid
        At least 10.24 µm along each side.
    spacing_nm : float
    rng : int, Generator or None

    Raises
    ------
    InputError
        If the field is too small or the spacing not positive.
    """
    if min(grid.extent_nm) < CELLS * CELL_NM:
        height, width = grid.extent_nm
        raise InputError(
            f"line groups need a field of {CELLS * CELL_NM / 1000:g} µm along each side, got "
            f"{width / 1000:g}×{height / 1000:g} µm"
        )
    generator = as_generator(rng)
    n = CELLS**2
    angles = np.pi * (generator.permutation(n) + generator.random()) / n
    cells = np.stack(np.divmod(np.arange(n), CELLS), axis=1)
    cell_nm = np.array(grid.extent_nm) / CELLS
    jitter_nm = generator.uniform(-JITTER_NM, JITTER_NM, (n, 2))
    centres = np.array(grid.origin_nm) + cell_nm * (cells + 0.5) + jitter_nm
    return [
        LineGroup(_ORDER[sum(cell) % 4], (float(y), float(x)), float(angle), spacing_nm)
        for cell, (y, x), angle in zip(cells.tolist(), centres, angles, strict=True)
    ]


def draw_groups(groups: Sequence[LineGroup], grid: PixelGrid) -> StructureImage:
    """The groups as a structure, scaled to maximum 1.

    Raises
    ------
    InputError
        If no line lies in the field.
    """
    canvas = Canvas(grid)
    for group in groups:
        _draw(group, canvas)
    peak = float(canvas.image.max())
    if peak <= 0.0:
        raise InputError("no line lies in the field; place the groups inside it")
    return StructureImage(canvas.image / np.float32(peak), grid)


def _draw(group: LineGroup, canvas: Canvas) -> None:
    offsets = group.offsets_nm
    if group.kind == "band":
        low, high = offsets[[0, -1]]
        offsets = np.linspace(low, high, round((high - low) / BAND_STEP_NM) + 1)
    ends = 0.5 * group.length_nm * np.array([-1.0, 1.0])
    for offset in offsets:
        curve = np.stack(group.at(np.full(2, offset), ends), axis=1)
        canvas.line(curve, SIGMA_NM, group.n_lines / offsets.size)
