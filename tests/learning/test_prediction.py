from __future__ import annotations

import warnings

import numpy as np
import pytest

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.learning.confidence import Confidence
from dlbi.learning.network import ModelMetadata
from dlbi.learning.prediction import out_of_range, predict, predict_frames

MEASURED = Confidence(2.0, (-1.0, 1.0), (np.log(4.0), -np.log(4.0)))
"""Spreads doubled; P(empty) is 0.8 at a score of −1 and 0.2 at 1."""


def constant(amplitude: float, spread: float, logit: float = 0.0):
    """A network whose maps are constant."""

    def run(statistics, guide, mask):
        values = np.array([amplitude, np.log(spread), logit], np.float32)
        return np.broadcast_to(values[:, None, None], (1, 3, *guide.shape[-2:]))

    return run


def test_density_is_the_square_of_the_amplitude_in_counts(compact, observation):
    network = compact(constant(3.0, 0.5), confidence=MEASURED)
    found = predict(network, observation(scale=128.0), seed=1)
    # Amplitude 3 ± 1 after the correction; a count is 128/64 of a square amplitude.
    np.testing.assert_allclose(found.mean, 2 * 9, rtol=1e-5)
    np.testing.assert_allclose(found.std, 2 * np.sqrt(2 + 4 * 9), rtol=1e-5)
    assert found.mean.dtype == found.std.dtype == found.p_value.dtype == np.float32
    assert found.mean.shape == found.std.shape == found.p_value.shape == (128, 144)


def test_negative_amplitudes_are_no_light_but_stay_uncertain(compact, observation):
    found = predict(compact(constant(-0.7, 0.5), confidence=MEASURED), observation(), seed=1)
    assert (found.mean == 0).all()
    np.testing.assert_allclose(found.std, np.sqrt(2), rtol=1e-5)


@pytest.mark.parametrize("amplitude", [0.0, 0.4, 3.0])
def test_std_is_that_of_a_squared_normal_variable(compact, observation, amplitude):
    found = predict(compact(constant(amplitude, 0.35), confidence=MEASURED), observation(), seed=1)
    n = 400_000
    drawn = (amplitude + 0.7 * np.random.default_rng(3).standard_normal(n)) ** 2
    # Standard error of a standard deviation from the fourth moment.
    error = np.sqrt(((drawn - drawn.mean()) ** 2).var() / n) / (2 * drawn.std())
    assert abs(found.std.mean() - drawn.std()) < 4 * error


def test_p_value_is_the_share_of_empty_pixels_among_the_clearest(compact, observation):
    def half(statistics, guide, mask):
        # Clear where a statistic that no orientation changes is positive.
        clear = statistics[:, :1].repeat(8, axis=-2).repeat(8, axis=-1) > 0
        logit = np.where(clear, 1.0, -1.0).astype(np.float32)
        return np.concatenate([guide, np.zeros_like(guide), logit], axis=1)

    seen = observation((20, 20))
    found = predict(compact(half, confidence=MEASURED), seen, seed=1)
    clear = seen.statistics[0].repeat(8, axis=0).repeat(8, axis=1) > 0
    np.testing.assert_allclose(found.p_value[clear], 0.2, rtol=1e-5)
    share = clear.mean()
    np.testing.assert_allclose(found.p_value[~clear], 0.2 * share + 0.8 * (1 - share), rtol=1e-5)


def test_passes_are_averaged_before_the_square(compact, observation):
    # Amplitude 0 or 1/keep = 2 with equal odds: the mean is 1 after many passes, its square too.
    def dropped(statistics, guide, mask):
        amplitude = mask[:, :1].repeat(8, axis=-2).repeat(8, axis=-1)
        return np.concatenate(
            [amplitude, np.full_like(amplitude, -30.0), np.zeros_like(amplitude)], axis=1
        )

    network = compact(dropped, keep=0.5, confidence=MEASURED)
    found = predict(network, observation(), seed=1, n_passes=400)
    n = 400 * 16 * 18
    assert abs(np.sqrt(found.mean).mean() - 1) < 4 / np.sqrt(n)
    # Spread 1 between the passes, doubled by the correction: √(2·2⁴ + 4·2²).
    assert found.std.mean() == pytest.approx(np.sqrt(48), rel=0.01)


def test_a_network_without_measured_confidence_is_used_with_a_warning(compact, observation):
    with pytest.warns(DlbiWarning, match="never compared with known truth"):
        found = predict(compact(constant(1.0, 0.5, 2.0)), observation(), seed=1)
    np.testing.assert_allclose(found.std, np.sqrt(2 / 16 + 1), rtol=1e-5)
    np.testing.assert_allclose(found.p_value, 1 / (1 + np.exp(2)), rtol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict(compact(constant(1.0, 0.5), confidence=MEASURED), observation(), seed=1)


def test_frames_give_a_density_between_0_and_1(paper):
    frames = np.random.default_rng(1).random((3, 16, 16)).astype(np.float32)
    stack = ImageStack(frames, PixelGrid((16, 16), 160.0))

    def run(frames, mask):
        return mask[:, :1].repeat(8, axis=-2).repeat(8, axis=-1) - 1.0

    found = predict_frames(paper(run, keep=0.5), stack, seed=1, n_passes=200)
    # −1 or 1 with equal odds, which is no structure or the densest.
    assert abs(found.mean.mean() - 0.5) < 4 * 0.5 / np.sqrt(400 * 256)
    assert found.std.mean() == pytest.approx(0.5, rel=0.01)
    assert found.p_value is None
    doubled = predict_frames(paper(run, keep=0.5, confidence=MEASURED), stack, seed=1, n_passes=200)
    np.testing.assert_allclose(doubled.std, 2 * found.std, rtol=1e-6)
    np.testing.assert_allclose(doubled.mean, found.mean)
    # Amplitude ÷ spread is about 1, where this curve says 0.2.
    assert 0.15 < doubled.p_value.min() <= doubled.p_value.max() < 0.3


def test_figures_outside_the_training_are_named():
    metadata = ModelMetadata(
        "tiny", "paper", mask_channels=1, keep=1.0, halo_px=0, n_frames=2,
        ranges={"haze": (0.1, 2.5), "n_frames": (20, 400), "psf_sigma_px": (0.7, 1.4)},
    )  # fmt: skip
    inside = {"haze": 0.0, "n_frames": 400, "psf_sigma_px": 1.0, "unknown": 7.0}
    assert out_of_range(metadata, inside) == []
    assert out_of_range(metadata, inside | {"psf_sigma_px": 2.314, "haze": 2.6}) == [
        "haze 2.6 (trained on 0.1 to 2.5)",
        "psf_sigma_px 2.31 (trained on 0.7 to 1.4)",
    ]
    assert out_of_range(metadata, inside | {"n_frames": 19}) == [
        "n_frames 19 (trained on 20 to 400)"
    ]
    del inside["haze"]
    (line,) = out_of_range(metadata, inside | {"n_frames": 400})
    assert line == "haze nan (trained on 0.1 to 2.5)"


def test_more_frames_than_in_the_training_are_not_outside():
    metadata = ModelMetadata(
        "tiny", "paper", mask_channels=1, keep=1.0, halo_px=0, n_frames=2,
        ranges={"n_frames": (20, 400), "haze": (0.1, 2.5)},
    )  # fmt: skip
    for n_frames in (400, 401, 5000):
        assert out_of_range(metadata, {"haze": 1.0, "n_frames": n_frames}) == []
    assert len(out_of_range(metadata, {"haze": 1.0, "n_frames": 19})) == 1
    assert len(out_of_range(metadata, {"haze": 1.0, "n_frames": np.nan})) == 1


def test_less_haze_than_in_the_training_is_not_outside():
    metadata = ModelMetadata(
        "tiny", "paper", mask_channels=1, keep=1.0, halo_px=0, n_frames=2,
        ranges={"haze": (0.1, 2.5)},
    )  # fmt: skip
    for haze in (-0.05, 0.0, 0.09, 0.1):
        assert out_of_range(metadata, {"haze": haze}) == []
