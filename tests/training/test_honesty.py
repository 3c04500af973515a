"""The uncertainty that a model file states holds on series that it was not fitted to.

The stub network shows what the series hold: its amplitude is the guide, its spread and its score
are two of the statistics. So the truth can be drawn with errors of a known size.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from dlbi.core.errors import InputError
from dlbi.learning.network import ModelMetadata, Network
from dlbi.learning.observation import CHANNELS
from dlbi.training.honesty import LEAST_AMPLITUDE, measure_honesty
from dlbi.training.pool import Pool

SIDE, N_SERIES = 16, 12
SPREAD, SCORE = CHANNELS.index("noise"), CHANNELS.index("signal")  # no orientation changes them
TOO_SURE = 3.0
"""True error ÷ spread that the network states."""


def finer(maps: np.ndarray) -> np.ndarray:
    return maps.repeat(8, axis=-2).repeat(8, axis=-1)


def network(noisy: bool = False) -> Network:
    def run(_, inputs):
        statistics, guide, mask = (inputs[name] for name in ("statistics", "guide", "mask"))
        shaken = guide + finer(mask[:, :1] - 1.0) if noisy else guide
        maps = [shaken, *(finer(statistics[:, [k]]) for k in (SPREAD, SCORE))]
        return [np.concatenate(maps, axis=1)]

    metadata = ModelMetadata(
        "stub", "compact", mask_channels=2, keep=0.8, halo_px=0, channels=CHANNELS
    )
    return Network(SimpleNamespace(run=run), metadata, "0" * 64)


def series(seed: int, n: int = N_SERIES, too_sure: float = TOO_SURE) -> Pool:
    """Series where P(structure) is far from what the score says as a logit.

    Dark pixels without structure are right to the bit, as true dark ones nearly are.
    """
    rng = np.random.default_rng(seed)
    statistics = rng.standard_normal((n, len(CHANNELS), SIDE, SIDE)).astype(np.float32)
    statistics[:, SPREAD] = np.log(rng.uniform(0.05, 0.4, (n, SIDE, SIDE)))
    statistics[:, SCORE] *= 10.0
    fine = (n, 8 * SIDE, 8 * SIDE)
    guide = rng.uniform(-0.5, 1.5, fine).astype(np.float32)
    structure = rng.random(fine) < expit(0.5 * finer(statistics[:, SCORE]) - 1.0)
    shown = np.maximum(guide, 0.0)
    error = too_sure * np.exp(finer(statistics[:, SPREAD])) * rng.standard_normal(fine)
    error[~structure & (shown <= LEAST_AMPLITUDE)] = 0.0
    arrays = {
        "statistics": statistics, "guide": guide, "target": (shown + error).astype(np.float32),
        "structure": structure.astype(np.uint8),
    }  # fmt: skip
    return Pool(arrays, [{"summary": {}}] * n)


def interleaved(even: Pool, odd: Pool) -> Pool:
    """Every second series from another pool."""
    arrays = {name: values.copy() for name, values in even.arrays.items()}
    for name, values in arrays.items():
        values[1::2] = odd.arrays[name][1::2]
    return Pool(arrays, even.records)


@pytest.fixture(scope="module")
def pool():
    return series(1)


@pytest.fixture(scope="module")
def measured(pool):
    return measure_honesty(network(), pool, seed=5)


def test_errors_are_within_one_deviation_as_often_as_normal_ones(measured):
    confidence, tested = measured
    n = N_SERIES // 2 * 8192 * 0.6  # pixels that count, in either half
    share = norm.cdf(1) - norm.cdf(-1)
    sd = np.sqrt(share * (1 - share) / n)
    assert abs(tested["within_one_std"] - share) < 4 * np.sqrt(2) * sd
    # A share is 2·φ(1) per unit of a relative change of the factor.
    assert confidence.std_scale == pytest.approx(TOO_SURE, rel=4 * sd / (2 * norm.pdf(1)))


def test_stated_probabilities_are_those_of_the_truth(measured):
    confidence, tested = measured
    score = np.array([-8.0, -4.0, 0.0, 2.0, 6.0])
    np.testing.assert_allclose(confidence.p_empty(score), expit(1.0 - 0.5 * score), atol=0.04)
    rows = tested["calibration"]
    assert sum(row["n_pixels"] for row in rows) == N_SERIES // 2 * 8192
    assert len(rows) == 10
    for row in rows:
        sd = np.sqrt(row["stated"] * (1 - row["stated"]) / row["n_pixels"])
        # The fit rests on as many pixels as the test.
        assert abs(row["stated"] - row["observed"]) < 4 * np.sqrt(2) * sd + 0.01


def test_discoveries_are_false_as_often_as_stated(measured):
    rows = measured[1]["discovery"]
    assert [row["stated"] for row in rows] == [0.01, 0.05, 0.1, 0.2]
    assert all(row["n_pixels"] > 1000 for row in rows)
    for row in rows:
        sd = np.sqrt(row["stated"] * (1 - row["stated"]) / row["n_pixels"])
        # A level lies between two of the 256 scores of a field.
        assert abs(row["observed"] - row["stated"]) < 4 * np.sqrt(2) * sd + 0.1 * row["stated"]


def test_even_series_fit_and_odd_ones_test(pool, measured):
    other = series(2, too_sure=2 * TOO_SURE)
    other.arrays["structure"][:] = 0
    confidence, tested = measure_honesty(network(), interleaved(pool, other), seed=5)
    assert confidence == measured[0]
    # Half a deviation of what is true there.
    within = norm.cdf(0.5) - norm.cdf(-0.5)
    assert tested["within_one_std"] == pytest.approx(within, abs=0.02)
    assert all(row["observed"] == 1.0 for row in tested["calibration"] + tested["discovery"])

    confidence, _ = measure_honesty(network(), interleaved(other, pool), seed=5)
    assert confidence.std_scale == pytest.approx(2 * TOO_SURE, rel=0.03)
    assert (confidence.p_empty(np.array([-9.0, 9.0])) > 0.99).all()


def test_dark_pixels_count_where_there_is_structure(pool, measured):
    dark = pool.arrays["guide"] <= LEAST_AMPLITUDE
    missed = dark & (pool.arrays["structure"] == 1)
    assert 0.1 < missed.mean() < dark.mean() - 0.1

    def with_errors_at(pixels):
        target = np.where(pixels, 100.0, pool.arrays["target"])
        changed = Pool(pool.arrays | {"target": target}, pool.records)
        return measure_honesty(network(), changed, seed=5)

    assert with_errors_at(dark & ~missed) == measured
    assert with_errors_at(missed)[0].std_scale > 1.2 * measured[0].std_scale


def test_a_level_at_which_nothing_is_found_is_left_out(pool):
    vague = {**pool.arrays, "structure": np.zeros_like(pool.arrays["structure"])}
    vague["structure"][:, ::2, ::2] = 1  # a quarter, whatever the score
    tested = measure_honesty(network(), Pool(vague, pool.records), seed=5)[1]
    assert tested["discovery"] == []
    json.dumps(tested, allow_nan=False)


def test_the_seed_alone_decides(pool):
    few = Pool({name: values[:3] for name, values in pool.arrays.items()}, pool.records[:3])
    steps = []
    one = measure_honesty(network(noisy=True), few, seed=5, progress=lambda *s: steps.append(s))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert measure_honesty(network(noisy=True), few, seed=5, n_workers=3) == one
    assert measure_honesty(network(noisy=True), few, seed=6) != one
    assert one[0].std_scale < TOO_SURE  # the passes differ, which adds to the spread


def test_one_series_cannot_fit_and_test():
    with pytest.raises(InputError, match=r"got 1; set data.n_validation to 2"):
        measure_honesty(network(), series(1, n=1), seed=5)
