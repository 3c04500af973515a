"""The light of an emitting frame as the kernels know it: integrated out, and drawn."""

import numpy as np
import pytest

from dlbi.inference.hmm.emission import MIN_LIGHT_SHARE, drawn_light, emission, log_ratio

FLUX, ENERGY = 100.0, 0.01


def ratios(c, cv):
    light = emission(FLUX, ENERGY, cv)
    return np.array([log_ratio(np.float32(value), light) for value in c], np.float64)


@pytest.mark.parametrize("cv", [0.05, 0.2, 0.4])
def test_log_ratio_integrates_over_normal_light(cv):
    """log ∫ N(u; a, V) exp(u c − ½ u² G) du by 200-point Gauss–Hermite quadrature."""
    c = np.linspace(-0.5, 2.0, 11)
    node, share = np.polynomial.hermite.hermgauss(200)
    u = FLUX * (1.0 + np.sqrt(2.0) * cv * node)
    gain = u * c[:, None] - 0.5 * u**2 * ENERGY
    expected = np.log((share * np.exp(gain)).sum(axis=1) / np.sqrt(np.pi))
    above = (FLUX + (cv * FLUX) ** 2 * c) / (1.0 + (cv * FLUX) ** 2 * ENERGY) > 0.15 * FLUX
    assert above.sum() > 7
    np.testing.assert_allclose(ratios(c, cv)[above], expected[above], rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("cv", [0.1, 0.3])
def test_slope_of_the_log_ratio_is_the_mean_light_and_never_below_the_least(cv):
    """dℓ/dc = max((a + V c)/(1 + V G), least): smooth, convex and rising down to any c."""
    variance = (cv * FLUX) ** 2
    c = np.linspace(-30.0, 3.0, 331)
    middle = 0.5 * (c[1:] + c[:-1])
    mean_light = (FLUX + variance * middle) / (1.0 + variance * ENERGY)
    expected = np.maximum(mean_light, MIN_LIGHT_SHARE * FLUX)
    assert (mean_light < MIN_LIGHT_SHARE * FLUX).any()
    slope = np.diff(ratios(c, cv)) / np.diff(c)
    # The step that holds the corner averages both sides.
    np.testing.assert_allclose(slope, expected, atol=np.diff(mean_light).max())


@pytest.mark.parametrize("cv", [0.1, 0.4])
def test_drawn_light_has_the_conditional_mean_and_deviation_and_a_least(cv):
    light, variance = emission(FLUX, ENERGY, cv), (cv * FLUX) ** 2
    spread = 1.0 + variance * ENERGY
    for c, z in ((1.2, 0.0), (1.2, 1.5), (0.8, -1.0)):
        expected = (FLUX + variance * c) / spread + z * np.sqrt(variance / spread)
        found = drawn_light(np.float32(c), np.float32(z), light)
        assert found == pytest.approx(expected, rel=1e-5)
    least = drawn_light(np.float32(-50.0), np.float32(0.0), light)
    assert least == pytest.approx(MIN_LIGHT_SHARE * FLUX)
