import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from dlbi.core.errors import InputError, OutputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.figures import (
    LIMIT_PERCENTILES,
    PAGE_WIDTH_IN,
    Picture,
    draw_map,
    draw_panel,
    intensity_limits,
    overlay,
    panel,
    scale_bar_nm,
)

CAMERA = PixelGrid((12, 16), 160.0)


def picture(title="Mean", grid=CAMERA, seed=0):
    return Picture(title, np.random.default_rng(seed).random(grid.shape), grid)


def test_a_panel_is_a_png_of_two_journal_columns(tmp_path):
    path = tmp_path / "panel.png"
    panel([picture(), picture("Truth", CAMERA.refine(8))], path, dpi=100)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert imread(path).shape[1] == round(PAGE_WIDTH_IN * 100)
    assert [p.name for p in tmp_path.iterdir()] == ["panel.png"]


def test_an_older_panel_is_replaced_by_the_same_bytes_for_the_same_pictures(tmp_path):
    path = tmp_path / "panel.png"
    panel([picture()], path, dpi=50)
    first = path.read_bytes()
    panel([picture(seed=1)], path, dpi=50)
    assert path.read_bytes() != first
    panel([picture()], path, dpi=50)
    assert path.read_bytes() == first


def test_every_picture_has_the_same_scale():
    grids = [CAMERA, CAMERA.refine(8), PixelGrid((30, 10), 100.0), PixelGrid((5, 5), 500.0)]
    figure = draw_panel([picture(grid=g) for g in grids], n_columns=3)
    page_in = figure.get_size_inches()
    scales = []
    for axes, grid in zip(figure.axes, grids, strict=True):
        width_in, height_in = axes.get_position().size * page_in
        scales += [width_in / grid.extent_nm[1], height_in / grid.extent_nm[0]]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-9)


def test_pictures_neither_overlap_nor_leave_the_page():
    figure = draw_panel([picture(grid=PixelGrid((n, 20), 100.0)) for n in (10, 30, 20, 25, 5)])
    boxes = [axes.get_position() for axes in figure.axes]
    for i, a in enumerate(boxes):
        assert 0.0 < a.x0 < a.x1 < 1.0
        assert 0.0 < a.y0 < a.y1 < 1.0
        assert not any(a.overlaps(b) for b in boxes[:i])


def test_the_first_row_is_at_the_top_and_the_first_column_at_the_left(tmp_path):
    image = np.zeros((8, 8))
    image[0, 7] = 1.0
    panel([Picture("", image, PixelGrid((8, 8), 100.0), "gray")], tmp_path / "a.png", dpi=100)
    box = draw_panel([picture(grid=PixelGrid((8, 8), 100.0))]).axes[0].get_position()
    pixels = imread(tmp_path / "a.png")[:, :, 0]
    h, w = pixels.shape
    side = (box.x1 - box.x0) * w / 8

    def brightness(row, column):
        y, x = (1 - box.y1) * h + (row + 0.5) * side, box.x0 * w + (column + 0.5) * side
        return pixels[int(y), int(x)]

    assert brightness(0, 7) == 1.0
    assert brightness(0, 0) == brightness(6, 0) == brightness(4, 4) == 0.0


def test_one_scale_bar_length_is_drawn_and_named_in_every_picture():
    figure = draw_panel([picture(), picture(grid=PixelGrid((50, 50), 160.0))])
    for axes in figure.axes:
        (bar,) = (p for p in axes.patches if isinstance(p, Rectangle))
        assert bar.get_width() == 500.0
        assert [t.get_text() for t in axes.texts] == ["0.5 µm"]
        right, bottom = bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height()
        assert 0.0 < bar.get_x() < right < axes.get_xlim()[1]
        assert 0.0 < bar.get_y() < bottom < axes.get_ylim()[0]


@given(st.floats(1.0, 1e7))
def test_scale_bars_are_round_and_a_tenth_to_a_quarter_of_the_width(width_nm):
    bar_nm = scale_bar_nm(width_nm)
    digit = float(f"{bar_nm:.6e}".split("e", maxsplit=1)[0])
    assert digit in (1.0, 2.0, 5.0)
    assert width_nm / 10.0 * (1 - 1e-9) <= bar_nm <= width_nm / 4.0


def test_intensity_limits_are_the_percentiles_the_caption_names():
    image = np.random.default_rng(2).gamma(0.3, size=(40, 40))
    figure = draw_panel([Picture("SR", image, PixelGrid((40, 40), 20.0))], caption="Actin.")
    (drawn,) = figure.axes[0].images
    assert drawn.get_clim() == tuple(np.percentile(image, LIMIT_PERCENTILES))
    (caption,) = figure.texts
    assert caption.get_text().startswith("Actin. Intensity limits: percentiles 0.1 and 99.8")


def test_an_empty_place_ends_a_row():
    figure = draw_panel([picture("a"), None, picture("b"), picture("c")], n_columns=2)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    corners = np.array([(axes.get_position().x0, axes.get_position().y0) for axes in figure.axes])
    assert titles == ["a", "b", "c"]
    assert corners[0, 0] == corners[1, 0]
    assert corners[0, 1] > corners[1, 1] == corners[2, 1]
    with pytest.raises(InputError, match="at least one picture"):
        draw_panel([None])


def test_an_overlay_is_magenta_where_the_first_and_green_where_the_second_is_bright():
    first, second = np.zeros((2, 2)), np.zeros((2, 2))
    first[0] = 7.0
    second[:, 0] = 0.1
    colours = overlay(first, second)
    assert colours[0, 1].tolist() == pytest.approx([1, 0, 1])
    assert colours[1, 0].tolist() == pytest.approx([0, 1, 0])
    assert colours[0, 0].tolist() == pytest.approx([1, 1, 1])
    assert colours[1, 1].tolist() == pytest.approx([0, 0, 0])
    with pytest.raises(ShapeError, match="cannot be overlaid"):
        overlay(first, np.zeros((3, 2)))


def test_colours_are_shown_as_they_are():
    colours = np.random.default_rng(3).random((*CAMERA.shape, 3))
    figure = draw_panel([Picture("two channels", colours, CAMERA)])
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), colours)


def test_pictures_may_share_their_limits():
    shared = Picture("error", np.arange(192.0).reshape(CAMERA.shape), CAMERA, limits=(0.0, 500.0))
    (drawn,) = draw_panel([shared]).axes[0].images
    assert drawn.get_clim() == (0.0, 500.0)


def test_a_few_points_are_shown_up_to_their_maximum():
    image = np.zeros((100, 100))
    image[5, 5] = 4.0
    assert intensity_limits(image) == (0.0, 4.0)
    assert intensity_limits(np.full((9, 9), 3.0)) == (3.0, 3.0)


def test_a_panel_that_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="at least one picture"):
        draw_panel([])
    with pytest.raises(InputError, match="0 columns"):
        draw_panel([picture()], n_columns=0)
    with pytest.raises(ShapeError, match="'Mean' is"):
        Picture("Mean", np.zeros((4, 4)), CAMERA)
    with pytest.raises(InputError, match="'Mean' holds NaN"):
        Picture("Mean", np.full(CAMERA.shape, np.nan), CAMERA)


def test_an_unwritable_target_is_one_clear_error_and_leaves_no_file(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write the picture .*No such file"):
        panel([picture()], tmp_path / "absent" / "panel.png", dpi=50)
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(OutputError, match="cannot write the picture"):
        panel([picture()], tmp_path / "taken.png", dpi=50)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.png"]


def test_figures_need_no_pyplot():
    code = "import sys, dlbi.figures; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_map_is_a_png_with_a_colour_for_what_is_not_known(tmp_path):
    """Left half 50, right half 150 nm, a hole in the middle: three colours, the hole in grey."""
    values = np.where(np.arange(60) < 30, 50.0, 150.0) * np.ones((60, 1))
    values[20:40, 20:40] = np.nan
    path = tmp_path / "map.png"
    grid = PixelGrid((60, 60), 20.0)
    draw_map(path, values, grid, title="Resolution", unit="nm", dpi=100)
    drawn = imread(path)[..., :3]
    colours, counts = np.unique(drawn.reshape(-1, 3), axis=0, return_counts=True)
    common = colours[np.argsort(counts)[::-1][:4]]
    assert any(np.allclose(c, 0.8, atol=0.01) for c in common)
    shares = sorted(counts / counts.sum())[::-1][:4]
    assert shares[1] == pytest.approx(shares[2], rel=0.1)
    first = path.read_bytes()
    draw_map(path, values, grid, title="Resolution", unit="nm", dpi=100)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["map.png"]


def test_a_map_without_any_value_is_drawn(tmp_path):
    draw_map(tmp_path / "map.png", np.full((12, 16), np.nan), CAMERA, title="Map", unit="nm")
    assert (tmp_path / "map.png").stat().st_size > 0


def test_a_map_of_another_grid_is_refused(tmp_path):
    with pytest.raises(ShapeError, match="its grid is"):
        draw_map(tmp_path / "map.png", np.ones((3, 3)), CAMERA, title="Map", unit="nm")
    assert not any(tmp_path.iterdir())
