"""Batches are functions of seed and step; true images are block means."""

import numpy as np
import pytest
import torch

from dlbi.training.paper.batches import dropout_masks, read_batch, series_of_step, truth

CPU = torch.device("cpu")


def test_an_epoch_sees_every_series_once():
    seen = [series_of_step(12, 4, seed=5, step=step) for step in range(6)]
    assert sorted(np.concatenate(seen[:3])) == sorted(np.concatenate(seen[3:])) == list(range(12))
    assert not np.array_equal(np.concatenate(seen[:3]), np.concatenate(seen[3:]))


def test_batches_are_whole():
    assert all(len(series_of_step(11, 4, seed=0, step=step)) == 4 for step in range(5))


def test_a_batch_depends_on_seed_and_step_alone():
    assert np.array_equal(series_of_step(50, 4, 1, 7), series_of_step(50, 4, 1, 7))
    assert not np.array_equal(series_of_step(50, 4, 1, 7), series_of_step(50, 4, 2, 7))


@pytest.mark.parametrize(("scale", "block"), [(2, 4), (4, 2), (8, 1)])
def test_true_images_are_block_means_between_minus_one_and_one(scale, block):
    density = np.random.default_rng(0).random((2, 16, 24)).astype(np.float16)
    found = truth(density, scale)
    means = density.astype(float).reshape(2, 16 // block, block, 24 // block, block).mean((2, 4))
    np.testing.assert_allclose(found[:, 0].numpy(), 2 * means - 1, atol=1e-6)
    assert truth(np.zeros((1, 8, 8), np.float16), scale).max() == -1
    assert truth(np.ones((1, 8, 8), np.float16), scale).min() == 1


def test_a_batch_holds_the_series_it_was_asked_for():
    rng = np.random.default_rng(1)
    arrays = {
        "frames": rng.normal(size=(5, 3, 2, 2)).astype(np.float16),
        "density": rng.random((5, 16, 16)).astype(np.float16),
    }
    batch = read_batch(arrays, np.array([4, 1]), CPU)
    np.testing.assert_array_equal(batch.frames.numpy(), arrays["frames"][[4, 1]])
    assert [tuple(t.shape) for t in batch.truths] == [(2, 1, 4, 4), (2, 1, 8, 8), (2, 1, 16, 16)]
    np.testing.assert_allclose(batch.truths[2][0, 0], 2 * arrays["density"][4].astype(float) - 1)


def test_masks_keep_their_share_and_the_mean():
    masks = dropout_masks((4, 16, 20, 25), 0.8, seed=3, step=0, device=CPU)
    assert set(masks.unique().tolist()) == {0.0, 1.25}
    n = masks.numel()
    assert abs((masks > 0).float().mean() - 0.8) < 5 * (0.8 * 0.2 / n) ** 0.5


def test_masks_differ_between_movies_features_and_steps():
    masks = dropout_masks((2, 3, 8, 8), 0.8, seed=3, step=0, device=CPU)
    later = dropout_masks((2, 3, 8, 8), 0.8, seed=3, step=1, device=CPU)
    every = [*masks.flatten(0, 1), *later.flatten(0, 1)]
    assert len({tuple(m.flatten().tolist()) for m in every}) == 12
    assert torch.equal(masks, dropout_masks((2, 3, 8, 8), 0.8, seed=3, step=0, device=CPU))
