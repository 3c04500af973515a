"""The Gibbs sampler against a plain one and against the enumeration of all joint states."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dlbi.core.kernels import mix
from dlbi.core.rng import stream_key
from dlbi.inference.threeb.options import CHAIN, START
from dlbi.inference.threeb.sampling import (
    new_scratch,
    sampled_states,
    sweep,
    sweep_reference,
    system_of,
)
from dlbi.inference.threeb.spots import profiles_of, spot_image

MATRIX = CHAIN.matrix
SHAPE = (9, 9)


def pair(n_frames, seed=0):
    """Two overlapping spots, one far away, and frames that they do not quite explain."""
    spots = np.array([[2.5, 0.8, 3.2, 4.0], [3.0, 0.9, 4.4, 4.3], [2.0, 0.8, 30.0, 4.0]])
    images = np.array([spot_image(s, np.arange(9.0), np.arange(9.0)) for s in spots])
    rng = np.random.default_rng(seed)
    on = rng.random((3, n_frames)) < 0.4
    data = np.einsum("nyx,nt->yxt", images, on) + rng.normal(0, 1, (*SHAPE, n_frames))
    return spots, images, data


def test_sweeps_are_those_of_a_plain_sampler():
    spots, images, data = pair(40)
    system = system_of(profiles_of(spots, SHAPE), data)
    on, plain = np.zeros((3, 40), np.float32), np.zeros((3, 40))
    field = system.drive.copy()
    for n in range(4):
        key = stream_key(3, n)
        sweep(key, system, 0.8, MATRIX, START, on, field, new_scratch(40))
        sweep_reference(key, images, data, 0.8, MATRIX, START, plain)
        np.testing.assert_array_equal(on, plain)
        residual = data - np.einsum("nyx,nt->yxt", images, on)
        np.testing.assert_allclose(field, np.einsum("nyx,yxt->nt", images, residual), atol=1e-6)
    assert on[:2].any(axis=1).all()


def test_only_spots_that_see_each_other_are_neighbours():
    system = system_of(profiles_of(pair(2)[0], SHAPE), pair(2)[2])
    assert system.ends.tolist() == [0, 2, 4, 5]
    assert system.neighbour.tolist() == [0, 1, 0, 1, 2]


def joint_marginals(spots, data, variance):
    """P(spot k emits in frame t | movie) of two spots by all joint paths, and ln Z over N(0, v)."""
    images = np.array([spot_image(s, np.arange(9.0), np.arange(9.0)) for s in spots])
    n_frames = data.shape[2]
    paths = np.array(list(product(range(3), repeat=n_frames)))
    prior = START[paths[:, 0]] * np.prod(MATRIX[paths[:, :-1], paths[:, 1:]], axis=1)
    lit = (paths == 0).astype(float)
    light = np.einsum("kyx,kpt->kpyxt", images, np.stack([lit] * 2))
    weight = np.empty((len(paths), len(paths)))
    for a in range(len(paths)):
        error = ((data - light[0, a] - light[1]) ** 2).sum(axis=(1, 2, 3))
        weight[a] = prior[a] * prior * np.exp(-0.5 * (error - (data**2).sum()) / variance)
    weight /= weight.sum()
    return np.array([weight.sum(axis=1) @ lit, weight.sum(axis=0) @ lit])


def test_states_have_the_frequencies_of_the_joint_posterior():
    spots, _, data = pair(3, seed=5)
    expected = joint_marginals(spots[:2], data, 1.5)
    assert ((expected > 0.03) & (expected < 0.97)).any()
    system = system_of(profiles_of(spots[:2], SHAPE), data)
    n = 20_000
    states = sampled_states(stream_key(7, "states"), system, 1.5, n, burn_in=20)
    assert states.shape == (2, 3, n)
    # Five deviations of a mean whose samples count a quarter, since they follow each other.
    bound = 5 * np.sqrt(4 * expected * (1 - expected) / n) + 1e-3
    np.testing.assert_array_less(np.abs(states.mean(axis=2) - expected), bound)


def test_samplers_start_bleached_and_use_their_first_sweep():
    spots, _, data = pair(20)
    system = system_of(profiles_of(spots, SHAPE), data)
    key = stream_key(1, "states")
    states = sampled_states(key, system, 1.0, 5)
    np.testing.assert_array_equal(states[:, :, 2:], sampled_states(key, system, 1.0, 3, burn_in=2))
    on, field = np.zeros((3, 20), np.float32), system.drive.copy()
    sweep(np.uint64(mix(key, np.uint64(0))), system, 1.0, MATRIX, START, on, field, new_scratch(20))
    np.testing.assert_array_equal(states[:, :, 0], on)


def test_no_spots_have_no_states():
    system = system_of(profiles_of(np.zeros((0, 4)), SHAPE), pair(4)[2])
    assert sampled_states(stream_key(1), system, 1.0, 2).shape == (0, 4, 2)


@pytest.mark.parametrize("seed", [0, 1])
def test_other_seeds_draw_other_states(seed):
    spots, _, data = pair(40)
    system = system_of(profiles_of(spots, SHAPE), data)
    one = sampled_states(stream_key(seed), system, 1.0, 2)
    np.testing.assert_array_equal(one, sampled_states(stream_key(seed), system, 1.0, 2))
    assert not np.array_equal(one, sampled_states(stream_key(seed + 1), system, 1.0, 2))
