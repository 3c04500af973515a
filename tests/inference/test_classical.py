import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.forward import expected_image
from dlbi.inference.classical import PAIRS, mean_image, second_cumulant, sofi2

PIXEL_NM = 160.0
PSF = GaussianPSF(2.64 * PIXEL_NM)
GRID = PixelGrid((24, 28), PIXEL_NM)


def spot(y_px, x_px, photons=1000.0, grid=GRID):
    """Image of one emitter at camera coordinates (integers are pixel centres)."""
    y_nm, x_nm = grid.to_nm(np.array([y_px]), np.array([x_px]))
    one = Emitters(x_nm=x_nm, y_nm=y_nm, photons=np.array([photons]))
    return expected_image(one, np.array([photons]), grid, PSF)


def movie(frames):
    return ImageStack(frames, PixelGrid(frames.shape[1:], PIXEL_NM))


def blinking(*emitters, n_frames=100, offset=100.0, seed=0):
    """Noise-free movie of emitters (y_px, x_px, photons), each on in a random half of frames."""
    on = np.random.default_rng(seed).random((len(emitters), n_frames)) < 0.5
    images = np.stack([spot(*emitter) for emitter in emitters])
    return movie((offset + np.einsum("et,eyx->tyx", on, images)).astype(np.float32))


def centroid_px(fine, factor):
    """Centre of mass in camera coordinates."""
    y, x = np.indices(fine.shape)
    return [((a * fine).sum() / fine.sum() + 0.5) / factor - 0.5 for a in (y, x)]


# The mean image


@pytest.mark.parametrize("factor", [1, 2, 3, 8])
def test_mean_image_keeps_the_light_and_the_place(factor):
    mean = 7.0 + spot(11.3, 14.8)
    fine = mean_image(mean, np.full_like(mean, 7.0), factor)
    assert fine.shape == (24 * factor, 28 * factor)
    assert fine.dtype == np.float32
    assert fine.sum() == pytest.approx((mean - 7.0).sum(), rel=1e-5)
    np.testing.assert_allclose(centroid_px(fine, factor), (11.3, 14.8), atol=0.01)


def test_mean_image_of_factor_one_is_the_signal():
    mean = spot(8.2, 9.9)
    np.testing.assert_allclose(mean_image(mean, np.zeros_like(mean), 1), mean, atol=1e-3)


def test_mean_image_passes_through_the_pixel_centres():
    mean = spot(11.3, 14.8)
    middles = mean_image(mean, np.zeros_like(mean), 3)[1::3, 1::3]
    bright = mean > 0.05 * mean.max()
    np.testing.assert_allclose(9 * middles[bright], mean[bright], rtol=1e-3)


def test_mean_image_is_nowhere_negative():
    mean = np.zeros((12, 12), np.float32)
    mean[5, 6] = 100.0
    fine = mean_image(mean, np.full_like(mean, 3.0), 4)
    assert fine.min() == 0.0
    assert fine.sum() == pytest.approx(97.0, rel=1e-5)


def test_mean_image_of_flat_light_is_flat():
    fine = mean_image(np.full((9, 7), 32.0, np.float32), np.zeros((9, 7), np.float32), 8)
    np.testing.assert_allclose(fine, 0.5, rtol=1e-5)


def test_mean_image_without_signal_is_zero():
    dark = np.ones((6, 6), np.float32)
    assert not mean_image(dark, 2 * dark, 4).any()


def test_bad_arguments():
    image = np.ones((6, 6), np.float32)
    with pytest.raises(InputError, match="at least 1, got 0"):
        mean_image(image, image, 0)
    with pytest.raises(ShapeError, match=r"\(5, 6\)"):
        mean_image(image, image[:5], 2)
    with pytest.raises(InputError, match="at least 1, got 0"):
        sofi2(blinking((11, 14, 1e3)), 0)


# SOFI


def reference_cumulant(frames):
    """`second_cumulant` of one block of frames, point by point."""
    change = frames - frames.mean(axis=0)
    change -= np.median(change, axis=(1, 2), keepdims=True)
    _, height, width = frames.shape
    found = {}
    for y, x in np.ndindex(height, width):
        for dy, dx in PAIRS:
            if y + dy < height and 0 <= x + dx < width:
                covariance = change[:, y, x] @ change[:, y + dy, x + dx] / (len(frames) - 1)
                found.setdefault((dy, dx), {})[2 * y + dy, 2 * x + dx] = covariance
    factors = {pair: max(np.mean(list(points.values())), 0) for pair, points in found.items()}
    factors = {pair: f / max(factors.values()) for pair, f in factors.items()}
    out = np.full((2 * height - 1, 2 * width - 1), np.nan)
    for at in np.ndindex(out.shape):
        around = [(factors[p], points[at]) for p, points in found.items() if at in points]
        weight = sum(f * f for f, _ in around)
        if weight > 0:
            out[at] = sum(f * c for f, c in around) / weight
    return out


def test_cumulant_equals_the_sum_over_all_pairs():
    rng = np.random.default_rng(5)
    frames = gaussian_filter(rng.normal(0, 10, (20, 7, 8)), (0, 1, 1)) + rng.normal(
        0, 1, (20, 7, 8)
    )
    expected = reference_cumulant(frames)
    covered = np.isfinite(expected)
    cumulant = second_cumulant(movie(frames))
    assert covered.mean() > 0.8
    np.testing.assert_allclose(cumulant[covered], expected[covered], rtol=1e-4, atol=1e-3)
    assert np.isfinite(cumulant).all()


def test_no_pair_carries_noise():
    """Neither a pixel with itself nor with its neighbour in the row; no pair twice."""
    assert not {(0, 0), (0, 1), (0, -1)} & set(PAIRS)
    assert not {(-dy, -dx) for dy, dx in PAIRS} & set(PAIRS)


@pytest.mark.parametrize("place", [(11.0, 14.0), (11.5, 14.5), (10.8, 13.3), (12.27, 14.61)])
def test_sofi_peaks_at_the_emitter(place):
    """Within one fine pixel of 1/8 camera pixel."""
    image = sofi2(blinking((*place, 1000.0)), 8)
    assert image.shape == (24 * 8, 28 * 8)
    peak = (np.array(np.unravel_index(image.argmax(), image.shape)) + 0.5) / 8 - 0.5
    np.testing.assert_allclose(peak, place, atol=1 / 8)
    np.testing.assert_allclose(centroid_px(image, 8), place, atol=0.05)


def test_cumulant_is_narrower_by_root_two():
    """Second moments around the emitter: σ²/2 of the PSF² against σ² of the PSF; 4 %."""
    place = (11.2, 14.1)
    cumulant = np.maximum(second_cumulant(blinking((*place, 1000.0))).astype(float), 0.0)
    image = spot(*place).astype(float)

    def variance_px(picture, spacing):
        x = np.arange(picture.shape[1]) * spacing - place[1]
        return (picture.sum(axis=0) * x**2).sum() / picture.sum()

    assert variance_px(cumulant, 0.5) == pytest.approx(variance_px(image, 1.0) / 2, rel=0.04)


def test_sofi_is_linear_in_brightness():
    image = sofi2(blinking((11, 6, 500.0), (11, 21, 1500.0), n_frames=2000), 4)
    ratio = image[:, 56:].max() / image[:, :56].max()
    assert ratio == pytest.approx(3.0, rel=0.05)


def test_noise_adds_nothing_to_the_cumulant():
    """White noise of variance 25, away from the emitter: mean 0 within 4.5 standard errors."""
    rng = np.random.default_rng(8)
    light = blinking((11, 21, 1000.0), n_frames=50)
    dark = []
    for _ in range(40):
        noise = rng.normal(0, 5, light.data.shape)
        cumulant = second_cumulant(movie((light.data + noise).astype(np.float32)))
        dark.append(cumulant[4:-4, 4:24].mean())
    error = np.std(dark, ddof=1) / np.sqrt(len(dark))
    assert error < 0.2
    assert abs(np.mean(dark)) < 4.5 * error


def test_bleaching_and_flicker_are_no_blinking():
    """A still structure that fades by half, lit unevenly, against one faint blinking emitter."""
    still = spot(6, 7, 4000.0) + spot(17, 20, 4000.0)
    fading = np.linspace(1, 0.5, 400)[:, None, None] * still
    background = np.random.default_rng(4).normal(0, 20, (400, 1, 1))
    light = blinking((11, 14, 400.0), n_frames=400)
    frames = (light.data + fading + background).astype(np.float32)
    image = sofi2(movie(frames), 4)
    peak = (np.array(np.unravel_index(image.argmax(), image.shape)) + 0.5) / 4 - 0.5
    np.testing.assert_allclose(peak, (11, 14), atol=0.25)


def test_still_movie_gives_zeros_and_a_warning():
    frames = np.full((30, 12, 12), 5.0, np.float32)
    with pytest.warns(DlbiWarning, match="do not blink"):
        image = sofi2(movie(frames), 2)
    assert image.shape == (24, 24)
    assert not image.any()


@pytest.mark.parametrize("shape", [(2, 3, 3), (5, 1, 4), (60, 2, 2), (9, 1, 1)])
def test_tiny_movies(shape):
    frames = np.random.default_rng(0).random(shape).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        image = sofi2(movie(frames), 3)
    assert image.shape == (3 * shape[1], 3 * shape[2])
    assert np.isfinite(image).all()
    assert image.min() >= 0


class Recorder:
    """A lazy view of frames that remembers what was read."""

    def __init__(self, frames):
        self.frames = frames
        self.shape = frames.shape
        self.read = []

    def __getitem__(self, key):
        self.read.append(len(range(*key.indices(len(self.frames)))))
        return self.frames[key]


def test_frames_are_read_by_blocks_and_left_as_they_are():
    frames = blinking((11, 14, 1000.0), n_frames=230).data
    before = frames.copy()
    source = Recorder(frames)
    image = sofi2(ImageStack(source, GRID), 2)
    assert max(source.read) < 50
    assert sum(source.read) == 230
    np.testing.assert_array_equal(frames, before)
    np.testing.assert_array_equal(image, sofi2(movie(frames), 2))
