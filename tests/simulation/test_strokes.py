import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.simulation.strokes import Canvas

GRID = PixelGrid((60, 60), 10.0)


def line(*points_nm):
    return np.array(points_nm, float)


def test_cross_section_is_gaussian():
    canvas = Canvas(GRID)
    canvas.line(line((300, -200), (300, 800)), 30.0, 2.0)
    y, _ = GRID.centres_nm()
    sigma2 = 30.0**2 + (0.4 * 10.0) ** 2
    expected = 2.0 * 30.0 / np.sqrt(sigma2) * np.exp(-0.5 * (y - 300) ** 2 / sigma2)
    expected[np.abs(y - 300) > 3.5 * np.sqrt(sigma2)] = 0
    np.testing.assert_allclose(canvas.image, np.repeat(expected[:, None], 60, 1), atol=1e-6)


def test_points_of_a_curve_do_not_show():
    whole, parts = Canvas(GRID), Canvas(GRID)
    whole.line(line((100, 100), (500, 400)), 20.0)
    parts.line(np.linspace((100, 100), (500, 400), 40), 20.0)
    np.testing.assert_allclose(parts.image, whole.image, atol=1e-6)


def test_strokes_add_up():
    a, b, both = Canvas(GRID), Canvas(GRID), Canvas(GRID)
    first, second = line((0, 300), (600, 300)), line((300, 0), (300, 600))
    a.line(first, 20.0)
    b.line(second, 20.0)
    both.line(first, 20.0)
    both.line(second, 20.0)
    np.testing.assert_allclose(both.image, a.image + b.image, rtol=1e-6)


def test_brightness_runs_along_the_curve():
    canvas = Canvas(GRID)
    canvas.line(line((300, 0), (300, 600)), 20.0, np.array([1.0, 3.0]))
    row = canvas.image[29:31].mean(axis=0)
    np.testing.assert_allclose(
        row / row[0], (1 + 2 * (np.arange(60) + 0.5) / 60) / (1 + 1 / 60), rtol=1e-5
    )


@pytest.mark.parametrize("pixel_nm", [5.0, 20.0, 50.0])
def test_light_of_a_line_does_not_depend_on_the_grid(pixel_nm):
    grid = PixelGrid((int(1000 / pixel_nm),) * 2, pixel_nm)
    canvas = Canvas(grid)
    canvas.line(line((480, -500), (520, 1500)), 20.0)
    light = canvas.image.sum(dtype=float) * pixel_nm**2
    assert light == pytest.approx(1000 * np.hypot(1, 0.02) * 20 * np.sqrt(2 * np.pi), rel=0.01)


def test_spots_are_round_gaussians():
    canvas = Canvas(GRID)
    canvas.spots(np.array([[305.0, 305.0]]), 20.0, 5.0)
    image = np.zeros((60, 60))
    image[30, 30] = 1.0
    shape = gaussian_filter(image, np.hypot(2.0, 0.4), truncate=6)
    np.testing.assert_allclose(canvas.image / canvas.image.max(), shape / shape.max(), atol=0.003)


def test_field_border_only_cuts():
    inner = GRID.crop(20, 10, 25, 30)
    whole, part = Canvas(GRID), Canvas(inner)
    curve = line((100, 50), (450, 420), (200, 590))
    for canvas in (whole, part):
        canvas.line(curve, 25.0)
        canvas.spots(np.array([[210.0, 95.0], [330.0, 250.0]]), 25.0)
    np.testing.assert_allclose(part.image, whole.image[20:45, 10:40], atol=1e-6)
