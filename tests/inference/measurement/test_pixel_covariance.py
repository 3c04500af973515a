import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.inference.measurement import pixel_covariance
from dlbi.inference.measurement.pixel_covariance import (
    BlinkingCovariance,
    blinking_covariance,
    signal_weight,
)


def movie(frames):
    return ImageStack(frames, PixelGrid(frames.shape[1:], 160.0))


def direct_covariance(frames, dy, dx):
    """Mean over all pairs of the covariance of (y, x) and (y + dy, x + dx), block by block."""
    _, height, width = frames.shape
    change = frames - frames.mean(axis=0)
    products = [
        change[:, y, x] @ change[:, y + dy, x + dx]
        for y in range(height - dy)
        for x in range(max(0, -dx), width - max(0, dx))
    ]
    return np.mean(products) / (len(frames) - 1)


def test_covariance_equals_direct_sums():
    """Only two opposite quarters of the field fluctuate, so nothing counts as flicker."""
    rng = np.random.default_rng(1)
    frames = np.broadcast_to(rng.random((14, 15)) * 100, (32, 14, 15)).astype(np.float32)
    frames = frames.copy()
    frames[:, :7, 7:] += rng.normal(0, 5, (32, 7, 8)).astype(np.float32)
    frames[:, 7:, :7] += gaussian_filter(rng.normal(0, 9, (32, 7, 7)), (0, 1, 1))
    covariance = blinking_covariance(movie(frames))
    assert covariance.blocks.shape == (8, 5, 9)
    for dy, dx in [(0, 0), (0, 1), (1, 0), (1, -1), (2, 3), (4, -4), (3, 0)]:
        expected = [
            direct_covariance(frames[4 * b : 4 * b + 4].astype(float), dy, dx) for b in range(8)
        ]
        np.testing.assert_allclose(covariance.blocks[:, dy, 4 + dx], expected, rtol=1e-4, atol=1e-4)
        assert covariance.n_pairs[dy, 4 + dx] == (14 - dy) * (15 - abs(dx))


def test_weighted_covariance_equals_direct_sums():
    rng = np.random.default_rng(1)
    frames = np.broadcast_to(rng.random((13, 14)) * 100, (32, 13, 14)).astype(np.float32).copy()
    frames[:, :6, 7:] += rng.normal(0, 5, (32, 6, 7)).astype(np.float32)
    weight = rng.random((13, 14))
    found = blinking_covariance(movie(frames), weight)
    change = frames[:4].astype(float) - frames[:4].mean(axis=0, dtype=float)
    for dy, dx in [(0, 2), (1, -1), (3, 2)]:
        first = np.s_[: 13 - dy, max(0, -dx) : 14 - max(0, dx)]
        second = np.s_[dy:, max(0, dx) : 14 + min(0, dx)]
        pairs = weight[first] * weight[second]
        products = (change[:, *first] * change[:, *second]).sum(axis=0) / 3
        expected = (pairs * products).sum() / pairs.sum()
        assert found.n_pairs[dy, found.reach + dx] == pytest.approx(pairs.sum())
        assert found.blocks[0, dy, found.reach + dx] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_weight_of_signal_is_the_root_of_light_above_the_darkest_part():
    still = np.full((16, 24, 24), 100.0, np.float32)
    still[:, :, 8:16], still[:, :, 16:] = 200.0, 500.0
    weight = signal_weight(movie(still))
    np.testing.assert_allclose(weight[12, [1, 12, 22]], np.sqrt([0.02, 0.25, 1.0]), rtol=0.02)


def test_flicker_of_illumination_and_background_is_no_covariance():
    rng = np.random.default_rng(2)
    still = 200 + 100 * gaussian_filter(rng.random((30, 30)), 2)
    light, offset = rng.normal(0, [[0.05], [8.0]], (2, 64))
    frames = still * (1 + light[:, None, None]) + offset[:, None, None]
    plain = np.var(frames, axis=0).mean()
    blocks = blinking_covariance(movie(frames.astype(np.float32))).blocks
    assert np.abs(blocks).max() < 1e-4 * plain


def test_covariance_of_noise_is_its_variance_at_distance_zero_only():
    """Means over 12 blocks against their own scatter; |z| < 4.5, mean square near 1."""
    noise = np.random.default_rng(3).normal(50, 4, (200, 40, 40)).astype(np.float32)
    blocks = blinking_covariance(movie(noise)).blocks
    mean, error = blocks.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(len(blocks))
    reach = mean.shape[0] - 1
    assert mean[0, reach] == pytest.approx(16.0, abs=4.5 * error[0, reach])
    once = np.ones(mean.shape, bool)
    once[0, : reach + 1] = False
    z = mean[once] / error[once]
    assert np.abs(z).max() < 6.0  # Student with 11 degrees of freedom, about 300 values
    assert 0.8 < np.mean(z**2) < 1.8


class Recorder:
    """A lazy movie of noise that remembers what was read."""

    def __init__(self, shape):
        self.shape = shape
        self.read = []

    def __getitem__(self, key):
        start, stop, _ = key.indices(self.shape[0])
        self.read.append((start, stop))
        return np.random.default_rng(start).random((stop - start, *self.shape[1:]), np.float32)


def test_long_movies_are_sampled_by_short_blocks_over_the_whole_run(monkeypatch):
    monkeypatch.setattr(pixel_covariance, "MAX_PIXELS", 2**21)
    source = Recorder((10_000_000, 60, 60))
    covariance = blinking_covariance(ImageStack(source, PixelGrid((60, 60), 160.0)))
    assert isinstance(covariance, BlinkingCovariance)
    assert all(stop - start == 16 for start, stop in source.read)
    assert sum(stop - start for start, stop in source.read) * 3600 <= 2**21
    assert source.read[0][0] == 0
    assert source.read[-1][1] == 10_000_000
