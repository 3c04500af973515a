"""Pictures: right pixels, colours, scale and sizes."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib import colormaps
from PIL import Image

from dlbi.core.grid import PixelGrid
from dlbi.report.panels import Box, p_value_panel, panel, shrink

GRID = PixelGrid((40, 60), 100.0)


def decoded(picture):
    """RGB pixels of a panel."""
    header, _, data = picture.source.partition(",")
    assert header == "data:image/png;base64"
    return np.array(Image.open(io.BytesIO(base64.b64decode(data, validate=True))).convert("RGB"))


def test_values_become_the_colours_of_the_map():
    image = np.linspace(-1.0, 11.0, 2400).reshape(40, 60)
    shown = panel("P", image, GRID, limits=(0.0, 10.0), colour_map="viridis")
    index = np.rint(np.clip(image / 10.0, 0.0, 1.0) * 255).astype(int)
    colours = (colormaps["viridis"](np.linspace(0, 1, 256), bytes=True))[:, :3]
    np.testing.assert_array_equal(decoded(shown), colours[index])
    assert (shown.width_px, shown.height_px) == (60, 40)
    assert shown.gradient.startswith("linear-gradient(to right, #440154, ")
    assert shown.gradient.endswith(", #fde724)")


def test_labels_state_limits_and_unit():
    shown = panel("Mean", np.ones((40, 60)), GRID, limits=(0.0, 12.34))
    assert (shown.low, shown.high) == ("0", "12.3 counts")
    assert shown.alt == "Mean: 6 by 4 µm, dark is 0, bright is 12.3 counts"
    assert panel("M", np.ones((40, 60)), GRID, limits=(0, 2), unit="").high == "2.00"


def test_the_scale_bar_is_a_share_of_the_width():
    shown = panel("M", np.ones((40, 60)), GRID)
    assert shown.bar_label == "1 µm"
    assert shown.bar_percent == pytest.approx(100 / 6)
    small = panel("M", np.ones((10, 10)), PixelGrid((10, 10), 20.0))
    assert (small.bar_label, small.bar_percent) == ("50 nm", 25.0)


def test_a_constant_picture_is_dark():
    shown = panel("M", np.full((4, 6), 7.0), PixelGrid((4, 6), 1.0))
    assert {tuple(colour) for colour in decoded(shown).reshape(-1, 3).tolist()} == {(0, 0, 3)}
    assert (shown.low, shown.high) == ("7.00", "7.00 counts")


def test_small_p_values_are_bright_on_a_logarithmic_scale():
    p = np.array([[1.0, 0.1, 0.01, 1e-9]])
    shown = p_value_panel(p, PixelGrid((1, 4), 1.0), caption="")
    colours = colormaps["viridis"](np.array([0, 128, 255, 255]), bytes=True)[:, :3]
    np.testing.assert_array_equal(decoded(shown)[0], colours)
    assert (shown.low, shown.high) == ("1", "≤ 0.01")


def test_large_pictures_are_averaged_in_blocks():
    image = np.arange(7 * 10, dtype=float).reshape(7, 10)
    small = shrink(image, 5)
    assert small.shape == (4, 5)
    assert small[1, 2] == image[2:4, 4:6].mean()
    assert small[3, 0] == image[6, :2].mean()
    assert shrink(image, 10) is image
    assert shrink(np.ones((2104, 2696)), 640).shape == (421, 540)


def test_a_box_is_kept():
    box = Box(1.0, 2.0, 3.0, 4.0)
    assert panel("M", np.ones((40, 60)), GRID, box=box).box == box
