from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest

from dlbi.core.optics import integrated_profile
from dlbi.inference.measurement.significance import FALSE_ALARM, light_z, p_dark, shows_light

SIGMA = 1.12


def noise(rng: np.random.Generator, sd: np.ndarray) -> np.ndarray:
    return (rng.standard_normal(sd.shape) * sd).astype(np.float32)


def test_z_of_noise_is_standard_normal():
    rng = np.random.default_rng(1)
    sd = np.exp(rng.normal(0, 0.05, (400, 400)))
    z = light_z(noise(rng, sd), (sd**2).astype(np.float32), SIGMA)
    apart = z[12:-12:12, 12:-12:12].ravel()
    assert kstest(apart, "norm").pvalue > 1e-3
    assert apart.std() == pytest.approx(1.0, abs=4 / np.sqrt(2 * apart.size))


def test_z_of_a_point_source_is_its_matched_filter_snr():
    profile = integrated_profile(np.arange(41), 20.0, SIGMA)
    psf = np.outer(profile, profile)
    z = light_z((50 * psf).astype(np.float32), np.full((41, 41), 4.0, np.float32), SIGMA)
    # The filter uses the PSF at pixel centres, not its integral: 3 % at this width.
    assert z[20, 20] == pytest.approx(50 * np.sqrt((psf**2).sum() / 4.0), rel=0.03)


def test_false_alarms_are_rare():
    rng = np.random.default_rng(2)
    n = 300
    one = np.ones((40, 40))
    alarms = sum(
        shows_light(light_z(noise(rng, one), one.astype(np.float32), SIGMA)) for _ in range(n)
    )
    assert alarms <= binom.isf(1e-4, n, FALSE_ALARM)


def test_p_values_are_uniform_without_light_and_small_with_it():
    rng = np.random.default_rng(3)
    one = np.ones((300, 300), np.float32)
    p = p_dark(light_z(noise(rng, one), one, SIGMA), 1)
    share = (p[::10, ::10] <= 0.05).mean()
    assert share == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 900))
    bright = np.zeros_like(one)
    bright[150, 150] = 100.0
    p = p_dark(light_z(bright, one, SIGMA), 4)
    assert p.shape == (1200, 1200)
    assert p[600:604, 600:604].max() < 1e-6
    assert p[0, 0] == pytest.approx(0.5)
