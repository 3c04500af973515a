"""Evidence, posterior and moments of one spot's states against the sum over all paths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from dlbi.inference.threeb.blinking import (
    log_evidence_reference,
    moments,
    smooth,
    smooth_reference,
)
from dlbi.inference.threeb.options import CHAIN, START

MATRIX = CHAIN.matrix


def paths_and_weights(log_ratio):
    paths = np.array(list(product(range(3), repeat=len(log_ratio))))
    weight = START[paths[:, 0]] * np.prod(MATRIX[paths[:, :-1], paths[:, 1:]], axis=1)
    return paths, weight * np.exp((paths == 0) @ log_ratio)


def ratios(n_frames, n_samples, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (n_frames, n_samples))


def smoothed(log_ratio):
    gamma = np.empty_like(log_ratio)
    smooth(log_ratio, MATRIX, START, np.empty((3, *log_ratio.shape)), gamma)
    return gamma


def test_the_chain_is_the_programs():
    np.testing.assert_allclose(MATRIX, [[0.16, 0.84, 0], [0.495, 0.495, 0.01], [0, 0, 1]])
    np.testing.assert_array_equal(START, [0.5, 0.5, 0])


@pytest.mark.parametrize("n_frames", [1, 2, 6])
def test_evidence_and_posterior_are_sums_over_all_paths(n_frames):
    log_ratio = ratios(n_frames, 3)
    gamma = smoothed(log_ratio)
    for s in range(3):
        paths, weight = paths_and_weights(log_ratio[:, s])
        assert log_evidence_reference(log_ratio[:, s], MATRIX, START) == pytest.approx(
            np.log(weight.sum()), abs=1e-12
        )
        expected = weight @ (paths == 0) / weight.sum()
        np.testing.assert_allclose(gamma[:, s], expected, rtol=1e-12)
        np.testing.assert_allclose(
            smooth_reference(log_ratio[:, s], MATRIX, START), expected, rtol=1e-12
        )


def test_long_and_certain_movies():
    log_ratio = ratios(400, 5, seed=1) * 30
    log_ratio[::7] = 1e4
    log_ratio[3::7] = -1e4
    log_ratio[150:, 0] = -50  # bleached for good after a bright frame
    gamma = smoothed(log_ratio)
    assert np.isfinite(gamma).all()
    for s in range(5):
        np.testing.assert_allclose(
            gamma[:, s], smooth_reference(log_ratio[:, s], MATRIX, START), rtol=1e-9, atol=1e-200
        )


def test_moments_are_means_over_all_paths():
    rng = np.random.default_rng(2)
    n_frames, p = 5, 3
    log_ratio = ratios(n_frames, 2).T.copy()
    slope, bend = rng.normal(0, 1, (2, n_frames, p)), rng.normal(0, 1, (2, n_frames, p, p))
    bend += bend.swapaxes(-1, -2)
    first, second = np.empty((2, p)), np.empty((2, p, p))
    moments(log_ratio, slope, bend, MATRIX, START, first, second)
    for s in range(2):
        paths, weight = paths_and_weights(log_ratio[s])
        weight = weight / weight.sum()
        u = (paths == 0) @ slope[s]
        h = np.einsum("nt,tij->nij", paths == 0, bend[s])
        np.testing.assert_allclose(first[s], weight @ u, rtol=1e-10)
        np.testing.assert_allclose(
            second[s], np.einsum("n,nij->ij", weight, h + u[:, :, None] * u[:, None]), rtol=1e-10
        )


def test_the_mean_of_the_slopes_is_the_slope_weighted_with_the_posterior():
    rng = np.random.default_rng(3)
    log_ratio = ratios(60, 4)
    slope = rng.normal(0, 1, (4, 60, 2))
    first, second = np.empty((4, 2)), np.empty((4, 2, 2))
    moments(log_ratio.T.copy(), slope, np.zeros((4, 60, 2, 2)), MATRIX, START, first, second)
    np.testing.assert_allclose(first, np.einsum("ts,stp->sp", smoothed(log_ratio), slope))
