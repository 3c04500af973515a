from __future__ import annotations

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF
from dlbi.forward import Projection
from dlbi.inference.measurement.roughness import light_roughness, rough


def test_planes_are_smooth_and_noise_keeps_its_variance():
    y, x = np.mgrid[:9, :12]
    np.testing.assert_allclose(rough(3.0 * y + 0.5 * x**2), 0.0, atol=1e-12)
    np.testing.assert_allclose(rough((y**2 * x**2).astype(float)), 4.0 / 6.0)
    noise = np.random.default_rng(1).normal(0.0, 3.0, (40, 60, 60))
    assert rough(noise).shape == (40, 58, 58)
    # 134 560 correlated squares: their mean has a relative error of about 0.7 %.
    assert abs((rough(noise) ** 2).mean() / 9.0 - 1.0) < 0.03


def test_roughness_of_light_is_that_of_each_fine_pixel():
    camera = PixelGrid((12, 13), 160.0)
    projection = Projection(camera.pad(2).refine(2), camera, GaussianPSF(300.0))
    density = np.zeros(projection.fine.shape, np.float32)
    density[9, 11], density[20, 6] = 3.0, 5.0
    expected = np.zeros((10, 11))
    for place in ((9, 11), (20, 6)):
        alone = np.zeros_like(density)
        alone[place] = 1.0
        expected += density[place] * rough(projection.forward(alone)) ** 2
    np.testing.assert_allclose(light_roughness(density, projection), expected, atol=1e-7)
