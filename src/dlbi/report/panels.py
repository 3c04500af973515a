"""Pictures of the page: images inside the text, with what is needed to draw scale and colours."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from dlbi.core.grid import PixelGrid
from dlbi.figures import intensity_limits, scale_bar_nm
from dlbi.report.numbers import number

MAX_PX = 640
"""Longest side of a picture of the whole field; larger ones are averaged in blocks."""

N_STOPS = 9

P_FLOOR = 0.01
"""The p-value of the brightest colour; the scale is logarithmic."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in percent of a picture."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Parameters
    ----------
    title, caption, alt : str
    source : str
        PNG as a data URI.
    width_px, height_px : int
        Of the PNG.
    low, high : str
        Labels of the ends of the colour scale, with the unit.
    gradient : str
        The colour scale as a CSS gradient.
    bar_percent, bar_label : float, str
        Scale bar, relative to the width.
    pixels : bool
        Whether its pixels are to be seen as squares.
    box : Box or None
        A region to be marked.
    """

    title: str
    caption: str
    alt: str
    source: str
    width_px: int
    height_px: int
    low: str
    high: str
    gradient: str
    bar_percent: float
    bar_label: str
    pixels: bool
    box: Box | None = None


def panel(
    title: str,
    image: NDArray[np.floating],
    grid: PixelGrid,
    *,
    caption: str = "",
    unit: str = "counts",
    colour_map: str = "inferno",
    limits: tuple[float, float] | None = None,
    labels: tuple[str, str] | None = None,
    pixels: bool = False,
    box: Box | None = None,
    max_px: int = MAX_PX,
) -> Panel:
    """A picture of an image.

    Parameters
    ----------
    title : str
    image : ndarray, (Y, X)
    grid : PixelGrid
    caption, unit : str
    colour_map : str
        A perceptually uniform map of matplotlib.
    limits : tuple of float, optional
        Values of the darkest and the brightest colour; `intensity_limits` of the image by default.
    labels : tuple of str, optional
        What stands at the ends of the colour scale in place of the limits.
    pixels : bool
        Whether its pixels are to be seen as squares.
    box : Box, optional
        A region to be marked.
    max_px : int
    """
    low, high = intensity_limits(image) if limits is None else limits
    shown = shrink(image, max_px)
    height_um, width_um = (side / 1000 for side in grid.extent_nm)
    low_label, high_label = labels or (number(low, high), f"{number(high)} {unit}".rstrip())
    bar_nm = scale_bar_nm(grid.extent_nm[1])
    return Panel(
        title=title,
        caption=caption,
        alt=f"{title}: {width_um:.3g} by {height_um:.3g} µm, dark is {low_label}, bright is "
        f"{high_label}",
        source=_data_uri(shown, low, high, colour_map),
        width_px=shown.shape[1],
        height_px=shown.shape[0],
        low=low_label,
        high=high_label,
        gradient=_gradient(colour_map),
        bar_percent=100.0 * bar_nm / grid.extent_nm[1],
        bar_label=_length(bar_nm),
        pixels=pixels,
        box=box,
    )


def p_value_panel(p_value: NDArray[np.floating], grid: PixelGrid, *, caption: str) -> Panel:
    """A picture of a p-value, bright where it is small."""
    evidence = -np.log10(np.clip(p_value, P_FLOOR, 1.0))
    return panel(
        "p-value",
        evidence,
        grid,
        caption=caption,
        colour_map="viridis",
        limits=(0.0, -math.log10(P_FLOOR)),
        labels=("1", f"≤ {P_FLOOR:g}"),
    )


def shrink(image: NDArray[np.floating], max_px: int) -> NDArray[np.floating]:
    """Averages of square blocks, so that no side is longer than `max_px`.

    Incomplete blocks at the far edges are filled with the border pixels.
    """
    factor = -(-max(image.shape) // max_px)
    if factor == 1:
        return image
    rest = [(0, -side % factor) for side in image.shape]
    padded = np.pad(image, rest, mode="edge")
    height, width = (side // factor for side in padded.shape)
    blocks: NDArray[np.floating] = padded.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return blocks


def _data_uri(image: NDArray[np.floating], low: float, high: float, colour_map: str) -> str:
    share = (image - low) / (high - low) if high > low else np.zeros_like(image)
    index = np.rint(np.clip(share, 0.0, 1.0) * 255.0).astype(np.uint8)
    picture = Image.fromarray(index).convert("P")
    picture.putpalette(_colours(colour_map, 256).tobytes())
    png = io.BytesIO()
    picture.save(png, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def _colours(colour_map: str, n: int) -> NDArray[np.uint8]:
    """Colours of a map, (n, 3)."""
    rgba = colormaps[colour_map](np.linspace(0.0, 1.0, n), bytes=True)
    return np.ascontiguousarray(np.asarray(rgba, np.uint8)[:, :3])


def _gradient(colour_map: str) -> str:
    stops = ", ".join(
        "#" + bytes(colour).hex() for colour in _colours(colour_map, N_STOPS).tolist()
    )
    return f"linear-gradient(to right, {stops})"


def _length(nm: float) -> str:
    return f"{nm / 1000:g} µm" if nm >= 1000 else f"{nm:g} nm"
