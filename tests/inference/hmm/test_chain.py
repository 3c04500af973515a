"""Evidence and paths of one fluorophore against the enumeration of all its paths."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from dlbi.core.photophysics import BLEACHED, EMITTING, BlinkingChain
from dlbi.inference.hmm.chain import (
    MAX_LOG_RATIO,
    backward,
    exponentials,
    filter_reference,
    forward,
    sample_reference,
)

probabilities = st.floats(0.0, 1.0)
chains = st.builds(
    lambda off, leave, share: BlinkingChain(off, leave * (1.0 - share), leave * share),
    probabilities,
    st.floats(0.0, 0.999),
    st.just(0.0) | probabilities,
)
ratios = st.floats(-1.5 * MAX_LOG_RATIO, 1.5 * MAX_LOG_RATIO, width=32)
PAPER = BlinkingChain(0.79, 0.305, 0.02)
CHAINS = [PAPER, BlinkingChain(0.3, 0.1), BlinkingChain(0.6, 0.2, 0.3), BlinkingChain(1.0, 1.0)]


def enumerate_paths(log_ratio, chain):
    """All 3^T paths and the weight prior · Π exp ℓ_t of each."""
    paths = np.array(list(product(range(3), repeat=len(log_ratio))))
    weight = chain.start[paths[:, 0]] * np.prod(chain.matrix[paths[:, :-1], paths[:, 1:]], axis=1)
    clipped = np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO).astype(np.float64)
    return paths, weight * np.exp((paths == EMITTING) @ clipped)


def exponentials_of(log_ratio):
    out, bits = np.empty(len(log_ratio), np.float32), np.empty(len(log_ratio), np.int32)
    exponentials(np.asarray(log_ratio, np.float32), bits, bits.view(np.float32), out)
    return out


def filtered(log_ratio, chain):
    """Weights (3, T) and log evidence of the compiled filter."""
    weights = np.empty((3, len(log_ratio)))
    return weights, forward(exponentials_of(log_ratio), chain.matrix, chain.start, weights)


class Drawer:
    """Paths of the compiled backward sampler as states, one per call."""

    def __init__(self, weights, chain):
        n = weights.shape[1]
        self.weights, self.matrix = weights, chain.matrix
        self.scratch = np.empty(n, np.uint8), np.empty(n, np.uint8)
        self.on = np.empty(n, np.float32)

    def __call__(self, u):
        bleach_frame = backward(self.weights, self.matrix, u, *self.scratch, self.on)
        path = np.where(self.on == 1.0, 0, 1)
        assert set(np.unique(self.on)) <= {0.0, 1.0}
        assert not self.on[bleach_frame:].any()
        path[bleach_frame:] = BLEACHED
        return path


def draw_many(weights, chain, n_draws, seed):
    draw, rng = Drawer(weights, chain), np.random.default_rng(seed)
    return np.array([draw(rng.random(weights.shape[1])) for _ in range(n_draws)])


def random_ratios(n, seed):
    return np.random.default_rng(seed).normal(0.3, 2.5, n).astype(np.float32)


@settings(deadline=None, max_examples=150)
@given(chains, st.lists(ratios, min_size=1, max_size=7))
def test_evidence_is_the_sum_over_all_paths(chain, log_ratio):
    _, weight = enumerate_paths(np.array(log_ratio), chain)
    expected = np.log(weight.sum())
    reference = filter_reference(np.array(log_ratio), chain.matrix, chain.start).log_evidence
    assert reference == pytest.approx(expected, abs=1e-9)
    _, compiled = filtered(log_ratio, chain)
    # float32 exponentials: 3e-7 a frame.
    assert compiled == pytest.approx(expected, abs=1e-5)


def test_evidence_of_uninformative_frames_is_one():
    for n in (1, 8, 300):
        _, log_evidence = filtered(np.zeros(n), PAPER)
        assert log_evidence == pytest.approx(0.0, abs=1e-10)


def test_filtered_weights_are_the_law_of_the_state_given_the_frames_so_far():
    log_ratio = random_ratios(6, seed=4)
    weights, _ = filtered(log_ratio, PAPER)
    for t in range(6):
        paths, weight = enumerate_paths(log_ratio[: t + 1], PAPER)
        expected = np.bincount(paths[:, t], weight, 3) / weight.sum()
        np.testing.assert_allclose(weights[:, t] / weights[:, t].sum(), expected, rtol=1e-5)


@pytest.mark.parametrize("chain", CHAINS)
def test_path_frequencies_are_the_posterior(chain):
    """χ² over the 3⁴ paths (rare ones together), p > 1e-4."""
    log_ratio = np.array([0.8, -1.5, 2.0, -0.3], np.float32)
    paths, weight = enumerate_paths(log_ratio, chain)
    weights, _ = filtered(log_ratio, chain)
    n_draws = 10_000
    drawn = draw_many(weights, chain, n_draws, seed=2)
    code = 3 ** np.arange(4)[::-1]
    observed = np.bincount(drawn @ code, minlength=81)[paths @ code]
    expected = n_draws * weight / weight.sum()
    assert not observed[expected == 0].any()
    common = expected >= 5
    o = np.append(observed[common], observed[~common].sum())
    e = np.append(expected[common], expected[~common].sum())
    o, e = o[e > 0], e[e > 0]
    assert chi2.sf(((o - e) ** 2 / e).sum(), max(len(e) - 1, 1)) > 1e-4


def test_marginals_of_drawn_paths_are_those_of_forward_backward():
    """|z| ≤ 4.5 in every frame and state."""
    n, n_draws = 40, 6000
    log_ratio = random_ratios(n, seed=8)
    alpha = filter_reference(log_ratio, PAPER.matrix, PAPER.start).weights
    emission = np.ones((3, n))
    emission[EMITTING] = np.exp(log_ratio.astype(float))
    later = np.ones((3, n))
    for t in range(n - 2, -1, -1):
        later[:, t] = PAPER.matrix @ (emission[:, t + 1] * later[:, t + 1])
        later[:, t] /= later[:, t].sum()
    gamma = alpha * later / (alpha * later).sum(axis=0)
    drawn = draw_many(filtered(log_ratio, PAPER)[0], PAPER, n_draws, seed=3)
    share = np.array([(drawn == state).mean(axis=0) for state in range(3)])
    error = np.sqrt(np.maximum(gamma * (1 - gamma), 1 / n_draws) / n_draws)
    assert np.abs((share - gamma) / error).max() < 4.5


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 64, 500])
@pytest.mark.parametrize("chain", CHAINS)
def test_kernels_equal_the_reference(chain, n):
    """Same evidence and filtered laws, and the same path from the same uniform numbers."""
    log_ratio = random_ratios(n, seed=n)
    log_ratio[n // 2] = 3 * MAX_LOG_RATIO
    log_ratio[n // 3] = -3 * MAX_LOG_RATIO
    weights, log_evidence = filtered(log_ratio, chain)
    exact = np.log(exponentials_of(log_ratio).astype(np.float64))
    reference = filter_reference(exact, chain.matrix, chain.start)
    assert log_evidence == pytest.approx(reference.log_evidence, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(weights / weights.sum(axis=0), reference.weights, rtol=1e-5)
    draw, rng = Drawer(weights, chain), np.random.default_rng(n)
    for _ in range(30):
        u = rng.random(n)
        expected = sample_reference(reference.weights, chain.matrix, u)
        np.testing.assert_array_equal(draw(u), expected)


@pytest.mark.parametrize("n", [8, 16, 200])
def test_clipped_frames_overflow_nowhere(n):
    for log_ratio in (np.full(n, 1e3), np.full(n, -1e3)):
        weights, log_evidence = filtered(log_ratio, PAPER)
        assert np.isfinite(weights).all()
        expected = filter_reference(log_ratio, PAPER.matrix, PAPER.start).log_evidence
        assert log_evidence == pytest.approx(expected, rel=1e-6)


def test_bleach_frame_follows_the_chain_where_the_movie_says_nothing():
    """P(first bleached frame = k) from powers of the matrix; χ² p > 1e-4."""
    n, n_draws, chain = 12, 8000, BlinkingChain(0.5, 0.3, 0.2)
    weights, _ = filtered(np.zeros(n), chain)
    first = (draw_many(weights, chain, n_draws, seed=5) != BLEACHED).sum(axis=1)
    state, bleached = chain.start, []
    for _ in range(n):
        bleached.append(state[BLEACHED])
        state = state @ chain.matrix
    law = np.append(np.diff(bleached, prepend=0.0), 1.0 - bleached[-1])
    expected = n_draws * law
    observed = np.bincount(first, minlength=n + 1)
    assert chi2.sf(((observed - expected) ** 2 / expected).sum(), n) > 1e-4


def test_paths_end_bleached_only_if_the_chain_can_bleach():
    log_ratio = np.full(50, -5.0)
    chain = BlinkingChain(0.5, 0.3)
    assert (draw_many(filtered(log_ratio, chain)[0], chain, 50, seed=1) != BLEACHED).all()
    mortal = BlinkingChain(0.5, 0.3, 0.2)
    drawn = draw_many(filtered(log_ratio, mortal)[0], mortal, 50, seed=1)
    assert (drawn[:, -1] == BLEACHED).mean() > 0.9


def test_exponentials_are_exact_to_3e_7_and_clipped():
    log_ratio = np.linspace(-60.0, 60.0, 200_001, dtype=np.float32)
    expected = np.exp(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO).astype(np.float64))
    np.testing.assert_allclose(exponentials_of(log_ratio), expected, rtol=3e-7)
