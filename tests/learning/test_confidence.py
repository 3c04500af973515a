from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logit
from scipy.stats import norm

from dlbi.core.errors import InputError
from dlbi.learning.confidence import (
    MAX_KNOTS,
    Confidence,
    calibration_table,
    discovery_table,
    false_discovery_tail,
    fit_confidence,
)

N = 400_000
SHARE = 0.1
"""Of pixels with structure."""


def pixels(seed: int, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are normal about 2 in structure and −1 elsewhere, and which pixels are empty."""
    rng = np.random.default_rng(seed)
    empty = rng.random(n) >= SHARE
    score = rng.normal(np.where(empty, -1.0, 2.0), 1.0)
    return score.astype(np.float32), empty


def true_log_odds(score: np.ndarray) -> np.ndarray:
    """Bayes' rule: prior odds times the ratio of the two normal densities."""
    return logit(1 - SHARE) + norm.logpdf(score, -1) - norm.logpdf(score, 2)


def fitted(score: np.ndarray, empty: np.ndarray) -> Confidence:
    ones = np.ones(score.size, np.float32)
    return fit_confidence(score, empty, ones, ones)


@pytest.fixture(scope="module")
def confidence() -> Confidence:
    return fitted(*pixels(1))


def test_without_correction_a_score_is_the_logit_of_structure():
    score = np.array([-3.0, 0.0, 1.5])
    np.testing.assert_allclose(Confidence().p_empty(score), 1 - expit(score), rtol=1e-6)


def test_the_fit_recovers_bayes_rule(confidence):
    # Where probabilities are neither rare nor certain, so that counting tells them.
    score = np.linspace(-0.5, 2.5, 40)
    p = expit(true_log_odds(score))
    np.testing.assert_allclose(confidence.p_empty(score), p, atol=0.03)
    table = calibration_table(confidence.p_empty(pixels(2)[0]), pixels(2)[1])
    assert sum(row.n_pixels for row in table) == N
    for row in table:
        sd = np.sqrt(row.observed * (1 - row.observed) / row.n_pixels)
        # Twice, since the fit rests on a sample of the same size; and the bend between knots.
        assert abs(row.stated - row.observed) < 4 * np.sqrt(2) * sd + 0.005


def test_the_curve_is_short_and_never_claims_certainty(confidence):
    assert len(confidence.score) <= MAX_KNOTS
    p = confidence.p_empty(np.array([-1e9, -50, 50, 1e9]))
    assert ((p > 0) & (p < 1)).all()
    assert p[0] == p[1] > 0.999
    assert p[2] == p[3] < 1e-3


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_of_the_pixels_below_a_level_that_share_is_empty(confidence, level):
    score, empty = pixels(3)
    p_value = false_discovery_tail(confidence.p_empty(score))
    found = empty[p_value <= level]
    sd = np.sqrt(level * (1 - level) / found.size)
    # Twice, since the fit rests on a sample of the same size.
    assert abs(found.mean() - level) < 4 * np.sqrt(2) * sd
    # And it finds what the true posterior would find.
    best = np.sort(expit(true_log_odds(score.astype(float))))
    most = np.count_nonzero(np.cumsum(best) / np.arange(1, N + 1) <= level)
    assert found.size == pytest.approx(most, rel=0.03)


def test_a_misleading_score_is_made_honest():
    # The network is 3 times too sure: the curve, not the raw logit, gives the truth.
    score, empty = pixels(4)
    sure = 3.0 * -true_log_odds(score.astype(float))
    raw = false_discovery_tail(Confidence().p_empty(sure))
    true = false_discovery_tail(fitted(sure, empty).p_empty(sure))
    assert discovery_table(raw, empty, [0.01])[0].observed > 0.02
    assert discovery_table(true, empty, [0.01])[0].observed == pytest.approx(0.01, abs=0.002)


def test_counting_by_hand():
    # Scores 0 and 1: of four pixels three are empty, of two none; Jeffreys' ½ is added to each.
    score = np.array([0.0, 1.0, 0.0, 0.0, 1.0, 0.0])
    empty = np.array([True, False, True, False, False, True])
    p = fitted(score, empty).p_empty(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(p[[0, 2]], [3.5 / 5, 0.5 / 3], rtol=1e-6)
    assert p[1] == pytest.approx(expit((logit(3.5 / 5) + logit(0.5 / 3)) / 2), rel=1e-6)


def test_shares_that_rise_with_the_score_are_pooled():
    score = np.repeat([0.0, 1.0, 2.0], 100)
    empty = np.concatenate([np.arange(100) < n for n in (40, 60, 5)])
    p = fitted(score, empty).p_empty(np.array([0.0, 0.5, 2.0]))
    np.testing.assert_allclose(p, [100.5 / 201, 100.5 / 201, 5.5 / 101], rtol=1e-6)


@pytest.mark.parametrize("empty", [True, False])
def test_one_class_alone_gives_a_flat_curve(empty):
    confidence = fitted(np.linspace(-1, 1, 50), np.full(50, empty))
    p = confidence.p_empty(np.array([-5.0, 0.0, 5.0]))
    np.testing.assert_allclose(p, (50.5 if empty else 0.5) / 51, rtol=1e-6)


@given(arrays(np.float32, st.integers(1, 40), elements=st.integers(-3, 3).map(float)), st.data())
def test_any_sample_gives_a_valid_falling_curve(score, data):
    empty = data.draw(arrays(bool, score.shape))
    p = fitted(score, empty).p_empty(np.linspace(-4, 4, 30))
    assert (np.diff(p) <= 0).all()
    assert ((p > 0) & (p < 1)).all()


def test_the_factor_makes_68_percent_of_the_errors_smaller_than_the_spread():
    rng = np.random.default_rng(5)
    spread = rng.uniform(0.1, 2.0, N)
    score, empty = pixels(6)
    residual = 6.0 * spread * rng.standard_normal(N)
    residual[: N // 100] = 1e6  # 1 % outliers hardly matter
    z = norm.ppf(0.5 + 0.5 * 0.6827 / 0.99)
    standard_error = np.sqrt(0.6827 * 0.3173 / N) / (2 * norm.pdf(z))
    scale = fit_confidence(score, empty, spread, residual).std_scale
    assert abs(scale / 6.0 - z) < 4 * standard_error


def test_the_tail_is_the_running_mean_of_what_is_clearer():
    p = np.array([[0.3, 0.1], [0.1, 0.9]])
    np.testing.assert_allclose(false_discovery_tail(p), [[0.5 / 3, 0.1], [0.1, 1.4 / 4]], rtol=1e-6)


@given(
    arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.floats(0, 1, width=32),
    )
)
def test_the_tail_against_its_definition(p):
    expected = np.array([p[p <= value].mean(dtype=float) for value in p.ravel()])
    np.testing.assert_allclose(
        false_discovery_tail(p), expected.reshape(p.shape), rtol=1e-5, atol=1e-12
    )


def test_tables_by_hand():
    p = np.array([0.02, 0.08, 0.55, 1.0])
    empty = np.array([False, True, True, True])
    rows = calibration_table(p, empty)
    np.testing.assert_allclose(rows, [(0.05, 0.5, 2), (0.55, 1.0, 1), (1.0, 1.0, 1)])
    few, none = discovery_table(p, empty, [0.1, 0.01])
    assert few == (0.1, 0.5, 2)
    assert none.n_pixels == 0
    assert np.isnan(none.observed)


@pytest.mark.parametrize(
    "values",
    [
        (0.0, (0.0, 1.0), (1.0, 0.0)),
        (np.nan, (0.0, 1.0), (1.0, 0.0)),
        (1.0, (0.0,), (1.0,)),
        (1.0, (0.0, 1.0), (1.0,)),
        (1.0, (1.0, 0.0), (1.0, 0.0)),
        (1.0, (0.0, 0.0), (1.0, 0.0)),
        (1.0, (0.0, 1.0), (0.0, 1.0)),
        (1.0, (0.0, np.inf), (1.0, 0.0)),
    ],
)
def test_impossible_corrections_are_refused(values):
    with pytest.raises(InputError):
        Confidence(*values)


def test_fits_to_nothing_or_to_broken_numbers_are_refused():
    one, no = np.ones(3), np.zeros(3, bool)
    with pytest.raises(InputError, match="got none"):
        fit_confidence(one[:0], no[:0], one[:0], one[:0])
    for score, spread, residual in (
        (one * np.nan, one, one), (one, one * 0, one), (one, one * np.nan, one),
        (one, one, one * np.inf),
    ):  # fmt: skip
        with pytest.raises(InputError, match="finite"):
            fit_confidence(score, no, spread, residual)


def test_no_deviation_is_stated_beyond_the_errors_that_happen():
    rng = np.random.default_rng(8)
    spread = np.full(20_000, 0.5)
    spread[::1000] = 90.0  # a pixel that claims the impossible
    residual = 0.5 * rng.standard_normal(20_000)
    score, empty = rng.standard_normal(20_000), rng.random(20_000) < 0.5
    confidence = fit_confidence(score, empty, spread, residual)
    # 99.5 % of the normal errors lie below 2.807 · 0.5; the quantile has an error of about 2 %.
    assert confidence.largest_std == pytest.approx(0.5 * 2.807, rel=0.08)
    stated = confidence.std(np.array([0.1, 90.0], np.float32))
    np.testing.assert_allclose(
        stated, [0.1 * confidence.std_scale, confidence.largest_std], rtol=1e-5
    )
    assert Confidence(2.0).std(np.array([90.0], np.float32)) == pytest.approx(180.0)
