"""Thermodynamic integration against the sum over all joint states."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp

from dlbi.core.rng import stream_key
from dlbi.inference.threeb.evidence import growth_weights, log_evidence
from dlbi.inference.threeb.options import CHAIN, START
from dlbi.inference.threeb.sampling import system_of
from dlbi.inference.threeb.spots import profiles_of, spot_image

SHAPE, N_FRAMES = (8, 8), 3
SPOTS = np.array([[4.0, 0.8, 3.2, 4.0], [6.0, 0.9, 4.6, 4.3]])


def movie(seed=0):
    rng = np.random.default_rng(seed)
    on = np.array([[1, 0, 1], [0, 0, 1]])
    return np.einsum("nyx,nt->yxt", images(), on) + rng.normal(0, 1, (*SHAPE, N_FRAMES))


def images():
    return np.array([spot_image(s, np.arange(8.0), np.arange(8.0)) for s in SPOTS])


def estimate(data, n_steps, key, spots=SPOTS, variance=1.0, burn_in=0):
    return log_evidence(
        stream_key(1, key), system_of(profiles_of(spots, SHAPE), data),
        square=float((data**2).sum()), variance=variance, n_pixels=64, n_steps=n_steps,
        burn_in=burn_in,
    )  # fmt: skip


def log_normal_density(errors, variance):
    return -0.5 * errors / variance - 0.5 * 64 * N_FRAMES * np.log(2 * np.pi * variance)


def exact(data, variance):
    paths = np.array(list(product(range(3), repeat=N_FRAMES)))
    with np.errstate(divide="ignore"):
        prior = np.log(START)[paths[:, 0]] + np.log(CHAIN.matrix)[paths[:, :-1], paths[:, 1:]].sum(
            axis=1
        )
    light = np.einsum("kyx,pt->kpyxt", images(), paths == 0)
    logs = [
        prior[a] + prior
        + log_normal_density(((data - light[0, a] - light[1]) ** 2).sum(axis=(1, 2, 3)), variance)
        for a in range(len(paths))
    ]  # fmt: skip
    return logsumexp(logs)


@pytest.mark.parametrize("variance", [1.0, 2.5])
def test_slow_growth_finds_the_sum_over_all_joint_states(variance):
    """Four slow runs: within 5 standard errors and 0.05 nats; a lost prior would cost 2 nats."""
    data = movie()
    runs = [estimate(data, 40_000, n, variance=variance) for n in range(4)]
    error = np.std(runs, ddof=1) / 2
    assert error < 0.3
    assert np.mean(runs) == pytest.approx(exact(data, variance), abs=5 * error + 0.05)


def test_without_spots_it_is_the_density_of_noise_at_half_a_step_before_the_start():
    data = movie()
    for n_steps in (800, 2000):
        found = estimate(data, n_steps, 0, spots=np.zeros((0, 4)))
        # ln N at variance 1, with the squared error at 1.25^(−100/n): the stencil's midpoint rule.
        square = (data**2).sum() * 1.25 ** (100 / n_steps)
        assert found == pytest.approx(log_normal_density(square, 1.0), abs=0.05)


def test_weights_are_the_five_point_derivative():
    variances, weights = growth_weights(500)
    assert variances[1] == 1.0
    assert variances[2] / variances[1] == pytest.approx(1.25 ** (200 / 500))
    # d/di of −1/(2σ²) at σ = 1 is ln(1.25) · 100/n.
    assert -weights[0] == pytest.approx(np.log(1.25) * 100 / 500, rel=1e-5)
    # Step 0 samples at σ_{−1}, the last at σ_{n−2}.
    assert variances[0] == pytest.approx(1.25 ** (-200 / 500))
    assert len(variances) == len(weights) == 500


def test_true_spots_have_more_evidence_than_none_and_than_moved_ones():
    data = movie()
    moved = SPOTS + np.array([0, 0, 1.5, -1.5])
    true, none, wrong = (estimate(data, 2000, 0, spots=s) for s in (SPOTS, np.zeros((0, 4)), moved))
    assert true > none + 5
    assert true > wrong + 5


def test_the_key_decides():
    data = movie()
    assert estimate(data, 300, 1) == estimate(data, 300, 1)
    assert estimate(data, 300, 1) != estimate(data, 300, 2)
    assert estimate(data, 300, 1) != estimate(data, 300, 1, burn_in=5)
