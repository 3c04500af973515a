import numpy as np
import pytest

from dlbi.inference.hmm.resampling import JITTER_PX, resampled_density


def test_density_is_that_of_roots_shaken_one_by_one() -> None:
    rng = np.random.default_rng(1)
    image = np.zeros((64, 64), np.float32)
    image[30, 20], image[32, 45] = 400.0, 25.0
    shaken = np.zeros_like(image)
    n = 400
    for _ in range(n):
        for y, x in ((30, 20), (32, 45)):
            for _ in range(round(np.sqrt(image[y, x]))):
                dy, dx = rng.integers(-JITTER_PX, JITTER_PX + 1, 2)
                shaken[y + dy, x + dx] += 1 / n
    density = resampled_density(image)
    np.testing.assert_array_equal(density > 0, shaken > 0)
    # Each pixel counts about n · 20/17² and n · 5/17² Poisson events; 5 sd of them.
    error = 5 * np.sqrt(density / n)
    assert (np.abs(shaken - density)[density > 0] < error[density > 0]).all()


def test_total_is_that_of_the_roots_away_from_the_border() -> None:
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = 9.0
    assert resampled_density(image).sum() == pytest.approx(3.0, rel=1e-5)
