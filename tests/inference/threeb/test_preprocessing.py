"""High-passed frames against a convolution written out, their scale, and where spots may lie."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.errors import InputError, ShapeError
from dlbi.inference.threeb.preprocessing import preprocess

FRAMES = np.random.default_rng(1).gamma(2.0, 50.0, (3, 17, 12)).astype(np.float32)


def smoothed(image):
    """Rows and columns convolved with 31 taps of a Gaussian of 5 px, borders continued."""
    taps = np.exp(-0.5 * (np.arange(-15, 16) / 5) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(15, 15) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        image = np.apply_along_axis(np.convolve, axis, padded, taps, mode="valid")
    return image


def test_frames_lose_their_gaussian_mean_and_are_divided_by_one_deviation():
    expected = np.array([f - smoothed(f) for f in FRAMES.astype(float)])
    border = np.ones((17, 12), bool)
    border[1:-1, 1:-1] = False
    expected[:, border] = 0
    field = preprocess(FRAMES)
    assert field.scale == pytest.approx(expected.std())
    np.testing.assert_allclose(
        field.data.transpose(2, 0, 1), expected / expected.std(), rtol=1e-9, atol=1e-9
    )
    assert field.data.std() == pytest.approx(1.0)
    assert field.square == pytest.approx((field.data**2).sum())
    assert field.variance == 1.0


def test_the_mean_stays():
    frames = FRAMES.copy()
    frames[:, 8, 6] += 3000
    assert abs(preprocess(frames).data.mean()) > 0.01


def test_sparse_light_hardly_changes_the_noise_of_the_median():
    rng = np.random.default_rng(2)
    frames = rng.normal(100, 5, (40, 24, 24))
    frames[::4, 11, 12] += 500
    field = preprocess(frames, noise="median")
    # The high-pass takes 1 % of the variance.
    assert np.sqrt(field.variance) * field.scale == pytest.approx(5.0, rel=0.05)
    assert field.scale > 10


def test_spots_may_lie_two_pixels_outside_but_not_in_the_corner():
    field = preprocess(np.random.default_rng(3).normal(0, 1, (2, 30, 30)))
    # Two rows on each side, and in each corner the three pixels nearer than 2.3.
    assert field.allowed_area == 30 * 30 + 4 * 2 * 30 + 4 * 3
    for x, y, allowed in (
        (-2.4, 5, True), (-2.6, 5, False), (31.4, 5, True), (31.6, 5, False), (5, 31.4, True),
        (-2, -1, True), (-2, -2, False), (31, 30, True), (float("nan"), 5, False),
    ):  # fmt: skip
        assert field.is_allowed(x, y) == allowed


def test_what_cannot_be_seen_is_refused():
    with pytest.raises(InputError, match="its frames are even"):
        preprocess(np.full((3, 9, 9), 100.0))
    with pytest.raises(ShapeError, match="at least 8×8 camera pixels, got 9×7"):
        preprocess(np.zeros((3, 7, 9)))
    dot = np.zeros((3, 60, 60))
    dot[:, 3, 3] = 1
    with pytest.raises(InputError, match="noise in most pixels"):
        preprocess(dot, noise="median")
