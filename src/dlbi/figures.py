"""Picture panels for reports: equal scale, scale bars, stated intensity limits.

Drawn on an Agg canvas without pyplot, so nothing global changes and no window opens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from dlbi.core.errors import InputError, OutputError, ShapeError
from dlbi.core.grid import PixelGrid

LIMIT_PERCENTILES = (0.1, 99.8)
"""Percentiles of each picture shown as the darkest and the brightest colour."""

MAP_PERCENTILES = (1.0, 99.0)
"""Percentiles of a map at the ends of its colour bar."""

PAGE_WIDTH_IN = 7.09
"""Two journal columns, 180 mm."""

GAP_IN = 0.06
TITLE_IN = 0.24
CAPTION_IN = 0.18
COLOUR_BAR_IN = 0.6
BAR_MARGIN_IN = 0.08
BAR_THICKNESS_IN = 0.025
FONT_PT = 8.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a panel.

    Parameters
    ----------
    title : str
    image : ndarray, (Y, X) or (Y, X, 3)
        Intensities, or colours in 0 … 1, which are shown as they are.
    grid : PixelGrid
        Sets the physical size: all pictures of a panel share one scale.
    colour_map : str
        A perceptually uniform map of matplotlib.
    limits : tuple of float, optional
        Intensities shown as the darkest and the brightest colour; `intensity_limits` if not given.
    """

    title: str
    image: NDArray[np.floating]
    grid: PixelGrid
    colour_map: str = "inferno"
    limits: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Validate shape and values."""
        if self.image.shape not in (self.grid.shape, (*self.grid.shape, 3)):
            raise ShapeError(
                f"picture '{self.title}' is {self.image.shape} but its grid is {self.grid.shape}"
            )
        if not np.isfinite(self.image).all():
            raise InputError(f"picture '{self.title}' holds NaN or infinite values")


def panel(
    pictures: Sequence[Picture | None],
    path: str | Path,
    *,
    n_columns: int = 4,
    caption: str | None = None,
    dpi: int = 300,
) -> None:
    """Write pictures side by side as a PNG, replacing an older one.

    Parameters
    ----------
    pictures : sequence of Picture or None
        None leaves a place empty at the end of a row.
    path : path
        Complete as soon as it exists.
    n_columns : int
        Most pictures in a row.
    caption : str, optional
        Printed before the intensity limits below the pictures.
    dpi : int
        Pixels per inch at 180 mm page width.

    Raises
    ------
    InputError
        If there is no picture or no column.
    OutputError
        If the file cannot be written.
    """
    save_figure(draw_panel(pictures, n_columns=n_columns, caption=caption), path, dpi=dpi)


def save_figure(figure: Figure, path: str | Path, *, dpi: int = 300) -> None:
    """Write a figure as a PNG, replacing an older one.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        figure.savefig(part, format="png", dpi=dpi)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write the picture {target}: {error.strerror}") from error


def draw_panel(
    pictures: Sequence[Picture | None], *, n_columns: int = 4, caption: str | None = None
) -> Figure:
    """The figure that `panel` writes.

    Raises
    ------
    InputError
        If there is no picture or no column.
    """
    n_pictures = sum(picture is not None for picture in pictures)
    if not n_pictures or n_columns < 1:
        raise InputError(
            f"a panel needs at least one picture and one column, got {n_pictures} pictures "
            f"in {n_columns} columns"
        )
    places = [pictures[i : i + n_columns] for i in range(0, len(pictures), n_columns)]
    kept = ([picture for picture in row if picture is not None] for row in places)
    rows = [row for row in kept if row]
    inch_per_nm = _inch_per_nm(rows)
    heights = [max(p.grid.extent_nm[0] for p in row) * inch_per_nm + TITLE_IN for row in rows]
    page_height = sum(heights) + GAP_IN * len(rows) + CAPTION_IN
    figure = Figure(figsize=(PAGE_WIDTH_IN, page_height), facecolor="white")
    FigureCanvasAgg(figure)
    bar_nm = scale_bar_nm(min(p.grid.extent_nm[1] for row in rows for p in row))
    top = page_height
    for row, height in zip(rows, heights, strict=True):
        _draw_row(figure, row, top - TITLE_IN, inch_per_nm, bar_nm)
        top -= height + GAP_IN
    _draw_caption(figure, caption)
    return figure


def draw_map(
    path: str | Path,
    values: NDArray[np.floating],
    grid: PixelGrid,
    *,
    title: str,
    unit: str,
    dpi: int = 300,
) -> None:
    """Write a map of a quantity with its colour bar as a PNG, replacing an older one.

    Parameters
    ----------
    path : path
        Complete as soon as it exists.
    values : ndarray, (Y, X)
        NaN, where the quantity is not known, is grey.
    grid : PixelGrid
    title, unit : str
        Of the quantity.
    dpi : int

    Raises
    ------
    ShapeError
        If the values do not fit the grid.
    OutputError
        If the file cannot be written.
    """
    if values.shape != grid.shape:
        raise ShapeError(f"the map is {values.shape} but its grid is {grid.shape}")
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, MAP_PERCENTILES) if known.size else (0.0, 1.0)
    height_nm, width_nm = grid.extent_nm
    width_in = 0.5 * PAGE_WIDTH_IN
    figure = Figure(
        figsize=(width_in + COLOUR_BAR_IN, width_in * height_nm / width_nm + 2 * TITLE_IN),
        facecolor="white",
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor="0.8")
    picture = axes.imshow(
        np.ma.masked_invalid(values),
        cmap="viridis_r",
        vmin=low,
        vmax=high,
        extent=(0.0, width_nm, height_nm, 0.0),
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=FONT_PT, loc="left", pad=3.0)
    _draw_scale_bar(axes, grid, scale_bar_nm(width_nm), nm_per_inch=width_nm / width_in)
    bar = figure.colorbar(picture, ax=axes)
    bar.set_label(unit, fontsize=FONT_PT)
    bar.ax.tick_params(labelsize=FONT_PT - 1.0)
    save_figure(figure, path, dpi=dpi)


def overlay(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """Two images of one shape (Y, X) in magenta and green, colours in 0 … 1, (Y, X, 3).

    Each is scaled to its `intensity_limits`. White is where both are bright; readers who cannot
    tell red from green see the two apart.

    Raises
    ------
    ShapeError
        If the images differ in shape.
    """
    if first.shape != second.shape:
        raise ShapeError(f"images of {first.shape} and {second.shape} cannot be overlaid")
    levels = []
    for image in (first, second):
        low, high = intensity_limits(image)
        levels.append(np.clip((image - low) / max(high - low, 1e-30), 0.0, 1.0))
    magenta, green = levels
    return np.stack([magenta, green, magenta], axis=-1)


def intensity_limits(image: NDArray[np.floating]) -> tuple[float, float]:
    """Intensities shown as the darkest and the brightest colour.

    The `LIMIT_PERCENTILES` of the image; its extremes where those coincide, as in a picture of
    a few points.
    """
    low, high = np.percentile(image, LIMIT_PERCENTILES)
    if high <= low:
        low, high = image.min(), image.max()
    return float(low), float(high)


def scale_bar_nm(width_nm: float) -> float:
    """Length of the scale bar: the largest 1, 2 or 5 × 10ⁿ nm within a quarter of the width."""
    longest = width_nm / 4.0
    decade = 10.0 ** math.floor(math.log10(longest))
    return max(m * decade for m in (1.0, 2.0, 5.0) if m * decade <= longest)


def _inch_per_nm(rows: Sequence[Sequence[Picture]]) -> float:
    return min(
        (PAGE_WIDTH_IN - GAP_IN * (len(row) + 1)) / sum(p.grid.extent_nm[1] for p in row)
        for row in rows
    )


def _draw_row(
    figure: Figure, row: Sequence[Picture], top_in: float, inch_per_nm: float, bar_nm: float
) -> None:
    page = np.tile(figure.get_size_inches(), 2)
    left = GAP_IN
    for picture in row:
        height, width = (side * inch_per_nm for side in picture.grid.extent_nm)
        left_bottom_width_height = np.array((left, top_in - height, width, height)) / page
        axes = figure.add_axes(tuple(left_bottom_width_height))
        _draw_picture(axes, picture)
        _draw_scale_bar(axes, picture.grid, bar_nm, nm_per_inch=1.0 / inch_per_nm)
        left += width + GAP_IN


def _draw_caption(figure: Figure, caption: str | None) -> None:
    low, high = LIMIT_PERCENTILES
    limits = f"Intensity limits: percentiles {low:g} and {high:g} of each picture."
    page_width, page_height = figure.get_size_inches()
    figure.text(
        GAP_IN / page_width,
        0.3 * CAPTION_IN / page_height,
        f"{caption} {limits}" if caption else limits,
        fontsize=FONT_PT - 1.0,
        color="0.35",
    )


def _draw_picture(axes: Axes, picture: Picture) -> None:
    height, width = picture.grid.extent_nm
    low, high = picture.limits or intensity_limits(picture.image)
    axes.imshow(
        picture.image,
        cmap=picture.colour_map,
        vmin=low,
        vmax=high,
        extent=(0.0, width, height, 0.0),
        interpolation="antialiased",
    )
    axes.set_axis_off()
    axes.set_title(picture.title, fontsize=FONT_PT, loc="left", pad=3.0)


def _draw_scale_bar(axes: Axes, grid: PixelGrid, bar_nm: float, *, nm_per_inch: float) -> None:
    height, width = grid.extent_nm
    margin, thickness = BAR_MARGIN_IN * nm_per_inch, BAR_THICKNESS_IN * nm_per_inch
    outline = [withStroke(linewidth=1.2, foreground="black")]
    left, top = width - margin - bar_nm, height - margin - thickness
    axes.add_patch(
        Rectangle((left, top), bar_nm, thickness, color="white", lw=0, path_effects=outline)
    )
    axes.text(
        left + bar_nm / 2.0,
        top - 0.4 * margin,
        f"{bar_nm / 1000.0:g} µm",
        color="white",
        fontsize=FONT_PT - 1.0,
        ha="center",
        va="bottom",
        path_effects=outline,
    )
