import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.learning.observation import CHANNELS, Observation
from dlbi.learning.symmetry import SYMMETRIES, apply, apply_image, undo_image
from dlbi.reconstruction.measurement import deconvolve, measure, observed, projection_of


def look(frames: np.ndarray) -> Observation:
    stack = ImageStack(frames, PixelGrid(frames.shape[1:], 160.0))
    movie = measure(stack)
    projection = projection_of(stack, GaussianPSF(400.0), 8)
    return observed(movie, deconvolve(movie, projection), projection)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(7)
    blobs = np.zeros((30, 20, 16), np.float32)
    for _ in range(300):
        t, y, x = rng.integers(0, 30), rng.integers(2, 18), rng.integers(2, 14)
        blobs[t, y - 2 : y + 3, x - 1 : x + 2] += rng.exponential()
    return (100 + 50 * blobs + rng.normal(size=blobs.shape)).astype(np.float32)


@pytest.mark.parametrize("k", SYMMETRIES)
def test_turned_statistics_are_the_statistics_of_the_turned_movie(
    k: int, frames: np.ndarray
) -> None:
    turned = look(np.ascontiguousarray(apply_image(frames, k)))
    here = look(frames)
    # Sums in another order differ in the last digits, which misfit ÷ noise magnifies.
    np.testing.assert_allclose(apply(here.statistics, k), turned.statistics, rtol=2e-3, atol=3e-3)
    np.testing.assert_allclose(apply_image(here.guide, k), turned.guide, rtol=2e-3, atol=3e-3)
    assert turned.scale == pytest.approx(here.scale, rel=1e-5)


def test_directions_differ_in_this_movie(frames: np.ndarray) -> None:
    # Else the test above could not see a forgotten swap.
    here = dict(zip(CHANNELS, look(frames).statistics, strict=True))
    for one, other in (("along_x", "along_y"), ("across_x", "across_y"), ("falling", "rising")):
        assert np.abs(here[one] - here[other]).max() > 0.05


@pytest.mark.parametrize("k", SYMMETRIES)
def test_undo_takes_back(k: int) -> None:
    image = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(undo_image(apply_image(image, k), k), image)


def test_the_eight_orientations_differ() -> None:
    image = np.arange(9.0).reshape(3, 3)
    assert len({apply_image(image, k).tobytes() for k in SYMMETRIES}) == 8
