from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import InputError
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING, BlinkingChain, PhotonLaw

MEOS = BlinkingChain(0.79, 0.305, 0.015)

chains = st.tuples(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5)).map(
    lambda p: BlinkingChain(*p)
)


@given(chains)
def test_rows_are_probabilities_and_bleached_absorbs(chain):
    assert chain.matrix.min() >= 0.0
    np.testing.assert_allclose(chain.matrix.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_array_equal(chain.matrix[BLEACHED], [0.0, 0.0, 1.0])
    assert chain.matrix[EMITTING, BLEACHED] == 0.0


@given(chains)
def test_matrix_round_trip(chain):
    again = BlinkingChain.from_matrix(chain.matrix)
    np.testing.assert_allclose(again.matrix, chain.matrix, atol=1e-15)


def test_table_lists_the_five_probabilities_of_the_paper():
    expected = (0.21, 0.79, 0.305, 0.68, 0.015)
    assert MEOS.table == pytest.approx(expected)


def test_on_fraction_by_enumeration_of_every_path_from_dark():
    m, n_frames = MEOS.matrix, 6
    expected = np.zeros(n_frames)
    for path in product((EMITTING, DARK, BLEACHED), repeat=n_frames):
        steps = zip((DARK, *path[:-1]), path, strict=True)
        probability = np.prod([m[a, b] for a, b in steps])
        expected += probability * (np.array(path) == EMITTING)
    np.testing.assert_allclose(MEOS.on_fraction(n_frames), expected, atol=1e-12)


@given(chains, st.integers(1, 40))
def test_on_fraction_by_matrix_powers(chain, t):
    power = np.linalg.matrix_power(chain.matrix, t)
    assert chain.on_fraction(t)[-1] == pytest.approx(power[DARK, EMITTING], abs=1e-12)


def test_steady_on_fraction_is_the_limit_without_bleaching():
    chain = BlinkingChain(0.2, 0.05)
    assert chain.steady_on_fraction == pytest.approx(0.2)
    assert chain.on_fraction(400)[-1] == pytest.approx(0.2)
    assert BlinkingChain(0.0, 0.0).steady_on_fraction == 0.0


@pytest.mark.parametrize("p", [(-0.1, 0.3, 0.0), (0.5, 1.1, 0.0), (0.5, 0.7, 0.4), (np.nan, 0, 0)])
def test_chain_rejects_what_is_no_probability(p):
    with pytest.raises(InputError, match="blinking probabilities"):
        BlinkingChain(*p)


@pytest.mark.parametrize("cv", [0.0, 0.3, 1.2])
def test_photon_law_moments_are_those_of_the_log_normal(cv):
    mu, sigma = PhotonLaw(120.0, cv).log_moments
    # Closed form: mean = exp(μ + σ²/2), variance = (exp(σ²) − 1) mean².
    mean = np.exp(mu + sigma**2 / 2)
    assert mean == pytest.approx(120.0)
    assert np.sqrt(np.expm1(sigma**2)) == pytest.approx(cv)


@pytest.mark.parametrize(("mean", "cv"), [(0.0, 0.1), (-3.0, 0.1), (10.0, -0.1), (np.nan, 0.0)])
def test_photon_law_rejects_impossible_moments(mean, cv):
    with pytest.raises(InputError, match="photon law"):
        PhotonLaw(mean, cv)
