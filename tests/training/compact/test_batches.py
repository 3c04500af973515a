"""Batches: pure functions of seed and step, in which everything is cut and turned alike."""

from collections import Counter

import numpy as np
import pytest
import torch

from dlbi.learning.observation import CHANNELS
from dlbi.learning.symmetry import SYMMETRIES
from dlbi.training.compact.batches import Crop, crops_of_step, dropout_masks, read_batch

OPTIONS = {"n_crops": 4, "crop_px": 8, "seed": 3}


def crops(n_steps, n_series=10, field_px=16, **changes):
    options = OPTIONS | changes
    steps = (crops_of_step(n_series, field_px, step=s, **options) for s in range(n_steps))
    return [crop for step in steps for crop in step]


def test_a_step_can_be_drawn_again_without_those_before():
    assert crops_of_step(10, 16, step=7, **OPTIONS) == crops(8)[-4:]
    assert crops(3) != crops(3, seed=4)


def test_every_epoch_sees_every_series_once():
    series = [crop.series for crop in crops(15)]
    epochs = [series[i : i + 10] for i in range(0, 60, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_crops_lie_in_the_field_and_the_border_is_seen():
    drawn = crops(500)
    starts = Counter(start for crop in drawn for start in crop.corner)
    assert set(starts) == set(range(9))
    n = sum(starts.values())
    assert starts[0] / n == pytest.approx(3 / 13, abs=0.03)  # −2, −1 and 0 of −2 … 10
    assert starts[4] / n == pytest.approx(1 / 13, abs=0.02)
    assert Counter(crop.orientation for crop in drawn).keys() == set(SYMMETRIES)


def test_a_crop_as_large_as_the_field_is_the_field():
    assert all(crop.corner == (0, 0) for crop in crops(5, crop_px=16))
    assert Crop(0, (0, 0), 16, 0).counted(16).all()


def test_only_sides_that_cut_do_not_count():
    counted = Crop(0, (0, 3), 6, 0).counted(9)  # cut below, on the left, not on the right
    expected = np.zeros((6, 6))
    expected[:4, 2:] = 1.0
    np.testing.assert_array_equal(counted, expected)


def test_coarse_and_fine_arrays_are_cut_at_the_same_place():
    coarse = np.arange(2 * 3 * 9 * 9, dtype=np.float16).reshape(2, 3, 9, 9)
    fine = np.kron(coarse[:, 0], np.ones((1, 8, 8), np.float16))
    crop = Crop(1, (2, 4), 5, 0)
    part = crop.of(coarse)
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, coarse[1, :, 2:7, 4:9])
    np.testing.assert_array_equal(crop.of(fine)[::8, ::8], part[0])


@pytest.mark.parametrize("k", SYMMETRIES)
def test_everything_is_turned_alike(k):
    rng = np.random.default_rng(k)
    statistics = rng.random((1, len(CHANNELS), 12, 12)).astype(np.float16)
    fine = np.kron(statistics[:, CHANNELS.index("signal")], np.ones((1, 8, 8), np.float16))
    arrays = {"statistics": statistics, "guide": fine, "target": fine, "structure": fine > 0.5}
    batch = read_batch(arrays, [Crop(0, (0, 3), 6, k)])

    signal = batch.statistics[:, CHANNELS.index("signal")]
    for image in (batch.guide, batch.target):
        torch.testing.assert_close(image[:, 0, ::8, ::8], signal)
    torch.testing.assert_close(batch.structure[:, 0, ::8, ::8], (signal > 0.5).float())
    # The two camera pixels where the crop cuts the field do not count, wherever they are turned.
    uncounted = np.ones((6, 6), bool)
    uncounted[:4, 2:4] = False
    region = statistics[0, CHANNELS.index("signal"), :6, 3:9]
    expected = sorted(region[uncounted].astype(np.float32))
    assert sorted(signal[0][batch.counted[0, 0] == 0].tolist()) == pytest.approx(expected)


def test_direction_channels_change_places_when_a_crop_is_turned():
    statistics = np.zeros((1, len(CHANNELS), 4, 4), np.float16)
    statistics[:, CHANNELS.index("along_x")] = 1.0
    arrays = {n: np.zeros((1, 32, 32), np.float16) for n in ("guide", "target", "structure")}
    batch = read_batch(arrays | {"statistics": statistics}, [Crop(0, (0, 0), 4, k) for k in (0, 1)])
    means = batch.statistics.mean(dim=(2, 3))
    for row, name in zip(means, ("along_x", "along_y"), strict=True):
        assert row.nonzero().flatten().tolist() == [CHANNELS.index(name)]


def test_masks_keep_the_mean_and_change_with_step_and_crop():
    shape = (2, 8, 24, 24)
    mask = dropout_masks(shape, keep=0.8, seed=1, step=5)
    assert mask.shape == shape
    assert mask.unique().tolist() == [0.0, 1.25]
    assert mask.mean().item() == pytest.approx(1.0, abs=0.02)
    assert torch.equal(mask, dropout_masks(shape, keep=0.8, seed=1, step=5))
    others = [dropout_masks(shape, keep=0.8, seed=1, step=6)[0], mask[1]]
    others.append(dropout_masks(shape, keep=0.8, seed=2, step=5)[0])
    for other in others:
        assert (other == mask[0]).float().mean().item() == pytest.approx(0.8**2 + 0.2**2, abs=0.03)


def test_nothing_is_dropped_if_all_is_kept():
    assert torch.equal(
        dropout_masks((1, 2, 3, 4), keep=1.0, seed=0, step=0), torch.ones(1, 2, 3, 4)
    )
