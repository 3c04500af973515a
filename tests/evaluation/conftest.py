"""Random fields with known spectra of signal and noise, for the tests of resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter


@dataclass(frozen=True)
class Texture:
    """White noise blurred by a Gaussian (power exp(−4π²σ²q²)) under independent white noise."""

    sigma_px: float
    noise: float

    def pair(self, shape, rng):
        signal = gaussian_filter(rng.standard_normal(shape), self.sigma_px, mode="wrap")
        return tuple(signal + self.noise * rng.standard_normal(shape) for _ in range(2))

    def expected_frc(self, per_px):
        signal = np.exp(-((2.0 * np.pi * self.sigma_px * per_px) ** 2))
        return signal / (signal + self.noise**2)

    @property
    def resolution_px(self):
        """Where the expected correlation is 1/7."""
        return 2.0 * np.pi * self.sigma_px / np.sqrt(np.log(6.0 / self.noise**2))


@pytest.fixture(scope="session")
def texture():
    return Texture
