"""Prior ranges, and posteriors from figures that are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.inference.kinetics import posterior
from dlbi.inference.kinetics.expectation import (
    N_STATISTICS,
    SECOND,
    THIRD,
    Kinetics,
    Statistics,
    expected_statistics,
)
from dlbi.inference.kinetics.posterior import log_likelihood, prior, sample_kinetics, sample_prior
from dlbi.inference.measurement.fluctuations import Fluctuations

CENTRE = np.arange(8) * 25.0 + 12.0
MOVIE = Fluctuations(*8 * [np.zeros(0)], CENTRE, 25)


def truth(off=0.6, on=0.05, bleaching=0.0, cv=0.3):
    return Kinetics(
        *(np.array([v]) for v in (50.0, off, on, bleaching, np.sqrt(np.log1p(cv**2)), 1.0, 0.0)),
        coarseness=np.array([3.0]),
    )


def exact(kinetics, relative_error):
    values = expected_statistics(kinetics, CENTRE, 25)[0]
    error = relative_error * np.abs(values)
    error[SECOND] = relative_error * values[0]
    return Statistics(values, np.diag(error**2 + 1e-8), 128)


@pytest.fixture(scope="module", autouse=True)
def short_chains():
    patch = pytest.MonkeyPatch()
    patch.setattr(posterior, "N_STEPS", 500)
    patch.setattr(posterior, "N_KEPT", 200)
    yield
    patch.undo()


def test_the_prior_is_where_it_says():
    draws = sample_prior(20_000, 30.0, np.random.default_rng(1))
    assert 0.02 <= draws.emitting_to_dark.min() < 0.03
    assert 0.98 < draws.emitting_to_dark.max() <= 0.99
    assert np.median(draws.dark_to_emitting) == pytest.approx(np.sqrt(0.002 * 0.6), rel=0.1)
    assert (draws.dark_to_bleached == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert draws.dark_to_bleached.max() <= 0.05
    blinks = draws.blinking_share > 1.04 * np.exp(-0.3)
    assert blinks.mean() == pytest.approx(0.7, abs=0.02)
    assert np.median(draws.blinking_share[blinks]) == pytest.approx(1.04, rel=0.02)
    assert draws.blinking_share.min() >= 0.2
    implied = draws.flux * (1.0 + draws.light_cv**2 - draws.on_fraction) * draws.blinking_share
    assert 30.0 / np.e <= implied.min() < 12.0
    assert 78.0 < implied.max() <= 30.0 * np.e
    assert (1.0 - draws.dark_to_emitting - draws.dark_to_bleached > 0).all()


def test_the_share_of_blinking_light_grows_with_its_number():
    u = np.full((1000, 8), 0.5)
    u[:, 5] = np.linspace(0.001, 0.999, 1000)
    share = prior(u, 1.0).blinking_share
    assert (np.diff(share) >= 0).all()
    assert share[-1] > 1.3 > 0.21 > share[0]


def test_the_truth_is_likelier_than_its_neighbours():
    found = exact(truth(), 0.01)
    for other in (truth(off=0.55), truth(on=0.2), truth(bleaching=0.003), truth(cv=0.6)):
        expected = np.concatenate([expected_statistics(k, CENTRE, 25) for k in (truth(), other)])
        here, there = log_likelihood(found, expected, 0.0)
        assert here == 0.0
        assert there < -1.0


def test_an_uncertain_psf_forgives_a_wrong_scale_only():
    found = exact(truth(), 0.01)
    values = found.values.copy()
    values[SECOND] *= 1.1
    sure, unsure = (log_likelihood(found, values[None], e)[0] for e in (0.0, 0.1))
    assert unsure > sure + 3.0
    values = found.values.copy()
    values[1] += 0.2 * values[0]
    sure, unsure = (log_likelihood(found, values[None], e)[0] for e in (0.0, 0.1))
    assert unsure == pytest.approx(sure, abs=3.0)


def test_a_wider_psf_scales_third_cumulants_by_its_fourth_power():
    """5 % wider than told with an error of 10 %: half a standard error in all cumulants."""
    found = exact(truth(), 0.001)
    values = found.values.copy()
    values[SECOND] *= 1.1
    values[THIRD] *= 1.2
    loss = -log_likelihood(found, values[None], 0.1)[0]
    assert 0.0 < loss < 0.2


def test_statistics_without_an_error_are_left_out():
    found = exact(truth(), 0.01)
    covariance = found.covariance.copy()
    covariance[-1, -1] = np.inf
    values = found.values.copy()
    values[-1] *= 50.0
    assert log_likelihood(found, values[None], 0.0)[0] < -10.0
    blind = found._replace(covariance=covariance)
    assert log_likelihood(blind, values[None], 0.0)[0] == 0.0


@pytest.mark.parametrize(
    ("off", "on", "bleaching"), [(0.6, 0.02, 0.0), (0.4, 0.1, 0.004), (0.85, 0.02, 0.001)]
)
def test_what_the_figures_tell_is_found(off, on, bleaching):
    kinetics = truth(off, on, bleaching)
    draws = sample_kinetics(exact(kinetics, 0.02), MOVIE, np.random.default_rng(2))
    for name in ("memory", "dark_to_bleached", "emitting_to_dark", "flux"):
        low, high = np.quantile(getattr(draws, name), [0.005, 0.995])
        assert low <= getattr(kinetics, name)[0] <= high, name
    assert draws.memory.std() < 0.04
    assert draws.dark_to_bleached.std() < 0.002


def test_rare_emission_cannot_be_told_from_rarer():
    """The cumulants know a q only by g − q: the interval of D→E must stay wide."""
    draws = sample_kinetics(exact(truth(0.6, 0.02), 0.02), MOVIE, np.random.default_rng(3))
    low, high = np.quantile(draws.dark_to_emitting, [0.025, 0.975])
    assert high / low > 5.0


def test_the_same_seed_gives_the_same_draws():
    found = exact(truth(), 0.05)
    a, b = (sample_kinetics(found, MOVIE, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(a.flux, b.flux)
    assert found.values.size == N_STATISTICS
