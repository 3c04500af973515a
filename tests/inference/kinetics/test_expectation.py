"""Expected figures of one fluorophore against full enumeration and against simulated chains."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from dlbi.inference.kinetics.expectation import (
    GRAIN,
    N_SECOND,
    SECOND,
    THIRD,
    TRENDS,
    Kinetics,
    block_mixing,
    expected_statistics,
    statistics_of,
)
from dlbi.inference.measurement.fluctuations import MAX_LAG, THIRD_LAGS, Fluctuations
from dlbi.inference.measurement.units import trend_residual

CENTRE = np.array([12.0, 37.0, 62.0, 87.0])


def kinetics(off=0.5, on=0.2, bleaching=0.0, **changes):
    one = {
        "flux": 1.0, "emitting_to_dark": off, "dark_to_emitting": on,
        "dark_to_bleached": bleaching, "log_sd": 0.0, "blinking_share": 1.0, "trend": 0.0,
        "coarseness": 1.0,
    }  # fmt: skip
    return Kinetics(**{name: np.array([v]) for name, v in (one | changes).items()})


def products(light, q):
    """Sums over frames that a movie takes of detrended light, (…, n) → second, third."""
    n = light.shape[-1]
    d = light @ q
    second = [(d[..., : n - k] * d[..., k:]).sum(-1) for k in range(MAX_LAG + 1)]
    third = [(d[..., : n - k] ** 2 * d[..., k:]).sum(-1) for k in THIRD_LAGS]
    return np.array(second), np.array(third)


@pytest.mark.parametrize(("off", "on"), [(0.8, 0.3), (0.3, 0.05), (0.5, 0.5), (0.9, 0.4)])
def test_expected_cumulants_are_sums_over_all_paths(off, on):
    """All 2¹² paths of a steady chain with constant light, mean and trend taken off."""
    n, chain = 12, kinetics(off, on)
    q = float(chain.on_fraction[0])
    paths = np.array(list(product([0.0, 1.0], repeat=n)))
    step = np.array([[1.0 - on, on], [off, 1.0 - off]])
    first, now = paths[:, :-1].astype(int), paths[:, 1:].astype(int)
    weight = np.where(paths[:, 0] > 0, q, 1.0 - q) * step[first, now].prod(axis=1)
    assert weight.sum() == pytest.approx(1.0)
    second, third = (figures @ weight / q for figures in products(paths, trend_residual(n)))
    mixing = block_mixing(n)
    found = expected_statistics(chain, CENTRE, n)[0]
    np.testing.assert_allclose(found[SECOND] * mixing.second_scale, second, atol=1e-10)
    np.testing.assert_allclose(found[THIRD] * mixing.third_scale, third, atol=1e-10)


def test_brightness_enters_by_its_moments():
    """100 000 fluorophores with log-normal light: |z| ≤ 4.5 in all nine cumulants."""
    n, spread, chain = 16, 0.4, kinetics(0.5, 0.2, log_sd=0.4, flux=7.0)
    q = float(chain.on_fraction[0])
    rng = np.random.default_rng(3)
    state = np.empty((100_000, n))
    state[:, 0] = rng.random(100_000) < q
    for t in range(1, n):
        state[:, t] = rng.random(100_000) < np.where(state[:, t - 1] > 0, 0.5, 0.2)
    light = 7.0 * state * np.exp(spread * rng.standard_normal(state.shape) - 0.5 * spread**2)
    mixing = block_mixing(n)
    found = expected_statistics(chain, CENTRE, n)[0]
    for figures, part, scale in zip(
        products(light, trend_residual(n)), (SECOND, THIRD),
        (mixing.second_scale, mixing.third_scale), strict=True,
    ):  # fmt: skip
        figures = figures / (7.0 * q)
        error = figures.std(axis=-1) / np.sqrt(100_000)
        assert (np.abs(figures.mean(axis=-1) - found[part] * scale) < 4.5 * error).all()


def test_long_blocks_show_the_cumulants_themselves():
    """In blocks of 50 frames what detrending takes is small: λ^k (1 − q) and 1 − q."""
    chain = kinetics(0.4, 0.1)
    found = expected_statistics(chain, CENTRE, 50)[0]
    q, memory = 0.2, 0.5
    assert found[0] == pytest.approx(1.0 - q, rel=0.1)
    np.testing.assert_allclose(found[1:4], (1.0 - q) * memory ** np.arange(1, 4), atol=0.1)
    assert found[N_SECOND] == pytest.approx((1.0 - q) * (1.0 - 2.0 * q), rel=0.25)


def test_loss_is_the_decay_of_the_chain():
    chain = kinetics(0.6, 0.3, 0.02)
    matrix = np.array([[0.4, 0.6, 0.0], [0.3, 0.68, 0.02], [0.0, 0.0, 1.0]])
    state, alive = np.array([0.3, 0.7, 0.0]), []
    for _ in range(200):
        state = state @ matrix
        alive.append(1.0 - state[2])
    assert chain.loss[0] == pytest.approx(1.0 - alive[-1] / alive[-2], rel=1e-6)
    assert chain.bleached_share(200)[0] == pytest.approx(1.0 - alive[-1], abs=0.02)
    assert kinetics(0.6, 0.3).loss[0] == 0.0


@pytest.mark.parametrize("bleaching", [0.0, 1e-9, 0.02])
def test_light_of_an_emitter_is_its_mean_over_the_movie(bleaching):
    chain = kinetics(0.6, 0.3, bleaching)
    alive = (1.0 - chain.loss[0]) ** np.arange(150)
    expected = chain.flux[0] * chain.on_fraction[0] * alive.mean()
    assert chain.light_per_emitter(150)[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("bleaching", [0.005, 0.02])
def test_bleaching_within_a_block_changes_the_cumulants_as_told(bleaching):
    """Against the exact covariance of a dying population, within 2 % of its value at lag 0."""
    n, chain = 25, kinetics(0.4, 0.2, bleaching)
    alive = np.array([[0.6, 0.4], [0.2, 0.8 - bleaching]])
    values, vectors = np.linalg.eig(alive.T)
    state = np.abs(vectors[:, np.argmax(values)])
    state /= state.sum()
    on = np.array([(state @ np.linalg.matrix_power(alive, t))[0] for t in range(n)])
    stay = np.array([np.linalg.matrix_power(alive, t)[0, 0] for t in range(n)])
    t, u = np.indices((n, n))
    covariance = on[np.minimum(t, u)] * stay[np.abs(t - u)] - on[t] * on[u]
    q = trend_residual(n)
    mixed = q @ covariance @ q / on.mean()
    exact = np.array([np.trace(mixed, offset=k) for k in range(MAX_LAG + 1)])
    exact /= block_mixing(n).second_scale
    found = expected_statistics(chain, CENTRE, n)[0, SECOND]
    np.testing.assert_allclose(found, exact, atol=0.02 * exact[0])


def test_bleaching_and_lamp_are_told_apart():
    dying, dimming = kinetics(bleaching=0.002), kinetics(trend=-0.1)
    for chain, power in ((dying, 1.0), (dimming, 2.0)):
        light, second = expected_statistics(chain, CENTRE, 25)[0, TRENDS]
        assert light < -0.05
        assert second / light == pytest.approx(power, rel=0.02)
    steady = expected_statistics(kinetics(bleaching=0.002, blinking_share=0.5), CENTRE, 25)[0]
    both = expected_statistics(dying, CENTRE, 25)[0]
    np.testing.assert_allclose(steady[TRENDS] / both[TRENDS], [0.5, 1.0])


def test_counts_scale_the_figures():
    one = kinetics(log_sd=0.3)
    twice = expected_statistics(replace(one, flux=2.0 * one.flux), CENTRE, 25)[0]
    once = expected_statistics(one, CENTRE, 25)[0]
    np.testing.assert_allclose(twice[SECOND], 2.0 * once[SECOND])
    np.testing.assert_allclose(twice[THIRD], 4.0 * once[THIRD])
    np.testing.assert_allclose(twice[GRAIN], 2.0 * once[GRAIN])


def test_grain_is_the_light_of_a_fluorophore_while_it_lives():
    still = expected_statistics(kinetics(0.6, 0.2, flux=8.0), CENTRE, 25)[0, GRAIN]
    assert still == pytest.approx(8.0 * 0.25)
    dying = kinetics(0.6, 0.2, 0.01, flux=8.0)
    alive = (1.0 - dying.loss[0]) ** (CENTRE - CENTRE[0])
    pairs = [alive[max(a, b)] for a in range(4) for b in range(4) if a != b]
    found = expected_statistics(dying, CENTRE, 25)[0, GRAIN]
    q = float(dying.on_fraction[0])
    assert found == pytest.approx(8.0 * q * np.mean(pairs) / alive.mean())


def made(second, light, grain, n_frames=25):
    """Units of one lag-0 second cumulant, light and grain; everything else is zero."""
    shape = second.shape
    lags = np.zeros((*shape, N_SECOND))
    lags[..., 0] = second
    ones = np.ones(shape[1])
    return Fluctuations(
        lags, np.zeros((*shape, len(THIRD_LAGS))), light, grain, ones, ones, ones, ones,
        CENTRE[: shape[0]], n_frames,
    )  # fmt: skip


def test_statistics_are_means_with_the_scatter_of_the_units():
    rng = np.random.default_rng(6)
    second = rng.normal(50.0, 4.0, (4, 9))
    found = statistics_of(made(second, np.ones((4, 9)), np.full(9, 3.0)))
    scale = block_mixing(25).second_scale[0]
    assert found.contrast == pytest.approx(second.mean() / scale)
    assert found.n_units == 36
    plain = second.std(ddof=1) / 6.0 / scale
    tiles = second.mean(axis=0).std(ddof=1) / 3.0 / scale
    assert found.contrast_error == pytest.approx(max(plain, tiles), rel=1e-6)
    assert found.values[GRAIN] == pytest.approx(3.0)


def test_what_all_blocks_of_a_tile_share_counts_once():
    tile = np.random.default_rng(7).normal(50.0, 4.0, 9)
    found = statistics_of(made(np.tile(tile, (4, 1)), np.ones((4, 9)), tile))
    scale = block_mixing(25).second_scale[0]
    assert found.contrast_error == pytest.approx(tile.std(ddof=1) / 3.0 / scale, rel=1e-6)
    assert np.sqrt(found.covariance[GRAIN, GRAIN]) == pytest.approx(tile.std(ddof=1) / 3.0)


def test_trends_are_relative_changes_from_end_to_end():
    light = np.tile(np.array([[1.2], [1.1], [1.0], [0.9]]), (1, 9))
    found = statistics_of(made(light**2, light, np.ones(9)))
    assert found.values[TRENDS][0] == pytest.approx(-0.3 / 1.05)
    assert found.values[TRENDS][1] == pytest.approx(-0.63 / np.mean(light**2), rel=0.01)


def test_a_single_tile_knows_no_error_of_the_grain():
    found = statistics_of(made(np.full((4, 1), 5.0), np.ones((4, 1)), np.ones(1)))
    assert found.covariance[GRAIN, GRAIN] == np.inf
