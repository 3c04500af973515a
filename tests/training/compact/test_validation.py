"""Scores on held-out fields: exact where they can be worked out."""

import math

import numpy as np
import pytest
import torch

from dlbi.training.compact.network import CompactNetwork, initialise
from dlbi.training.compact.validation import (
    FieldScores,
    predicted,
    psnr_db,
    score_guide,
    score_network,
)


@pytest.fixture
def untrained():
    network = CompactNetwork(20, 4, 1, (3, 2, 2))
    initialise(network, torch.Generator().manual_seed(0))
    return network


def test_psnr_of_a_known_error():
    target = np.array([[0.0, 4.0]], np.float32)
    assert psnr_db(target + 0.4, target) == pytest.approx(20.0)
    assert psnr_db(target, target) == math.inf


def test_the_guide_is_scored_by_how_well_it_shows_the_truth(make_fake_pool):
    pool = make_fake_pool()
    scores = score_guide(pool.arrays)
    # The truth is the guide ÷ 2, so densities are proportional; the last field should be empty.
    assert scores.corr_2px == pytest.approx(1.0, abs=1e-3)
    target = pool.arrays["target"][:-1].astype(np.float64)
    by_hand = [10 * math.log10(t.max() ** 2 / (t**2).mean()) for t in target]
    assert scores.psnr_db == pytest.approx(np.mean(by_hand), abs=0.01)
    light = (pool.arrays["guide"][-1].astype(np.float64) ** 2).mean()
    assert scores.false_light == pytest.approx(light, rel=1e-4)


def test_what_shows_nothing_is_like_nothing(make_fake_pool, untrained):
    pool = make_fake_pool()
    target = pool.arrays["target"][:-1].astype(np.float64)
    by_hand = [10 * math.log10(t.max() ** 2 / (t**2).mean()) for t in target]
    scores = score_network(untrained, pool.arrays)
    assert scores == FieldScores(pytest.approx(np.mean(by_hand)), 0.0, 0.0)


def test_scores_without_a_field_are_undefined(make_fake_pool):
    pool = make_fake_pool(empty=False)
    assert math.isnan(score_guide(pool.arrays).false_light)


def test_predictions_are_amplitudes_without_dropout(make_fake_pool, untrained):
    with torch.no_grad():
        for parameter in untrained.parameters():
            parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(1))
    arrays = make_fake_pool(n=3).arrays
    image = predicted(untrained, arrays, slice(1, 3))
    fine = untrained(
        torch.from_numpy(arrays["statistics"][1:3].astype(np.float32)),
        torch.from_numpy(arrays["guide"][1:3].astype(np.float32))[:, None],
        torch.ones(2, 4, 16, 16),
    )[-1]
    assert image.shape == (2, 128, 128)
    assert (fine[:, 0] < 0).any()
    np.testing.assert_array_equal(image, fine[:, 0].clamp(min=0.0).detach().numpy())
