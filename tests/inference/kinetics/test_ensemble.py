import numpy as np
import pytest

from dlbi.inference.kinetics.ensemble import sample_ensemble


def test_draws_have_mean_and_covariance_of_the_density():
    """Gaussian with correlation 0.95 and scales 1 : 1000, from 1500 nearly independent draws."""
    covariance = np.array([[1.0, 950.0, 0.0], [950.0, 1e6, 0.0], [0.0, 0.0, 0.01]])
    mean, precision = np.array([3.0, -2000.0, 0.5]), np.linalg.inv(covariance)

    def log_density(x):
        return -0.5 * np.einsum("ni,ij,nj->n", x - mean, precision, x - mean)

    rng = np.random.default_rng(4)
    start = mean + rng.standard_normal((100, 3)) * [3.0, 3000.0, 0.3]
    before = start.copy()
    draws = sample_ensemble(log_density, start, rng, n_steps=1000, n_kept=500)
    assert draws.shape == (5000, 3)
    np.testing.assert_array_equal(start, before)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(draws.mean(axis=0) - mean) < 0.12 * sd).all()
    np.testing.assert_allclose(draws.std(axis=0), sd, rtol=0.12)
    assert np.corrcoef(draws.T)[0, 1] == pytest.approx(0.95, abs=0.02)


def test_walkers_stay_where_the_density_is_positive():
    def log_density(x):
        return np.where((x > 0).all(axis=1), -x.sum(axis=1), -np.inf)

    rng = np.random.default_rng(5)
    start = rng.uniform(0.5, 1.0, (60, 2))
    draws = sample_ensemble(log_density, start, rng, n_steps=800, n_kept=400)
    assert draws.min() > 0
    np.testing.assert_allclose(draws.mean(axis=0), 1.0, atol=0.15)
