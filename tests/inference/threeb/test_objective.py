"""Gradient and curvature of a spot's objective against finite differences of the likelihood."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.inference.threeb.objective import Objective, log_likelihood_reference
from dlbi.inference.threeb.options import CHAIN, START
from dlbi.inference.threeb.spots import priors_of, profiles_of, spot_image

SHAPE, N_FRAMES, VARIANCE = (20, 18), 30, 1.4
SPOTS = {
    "inside": np.array([4.0, 0.9, 6.3, 7.8]),
    "at the border": np.array([3.0, 1.2, -0.7, 18.6]),
}


def objective(n_samples=3, dimensions=1, seed=0):
    rng = np.random.default_rng(seed)
    others = np.array([
        [3.0, 0.8, 7.4, 7.1], [2.0, 1.0, 5.0, 9.0], [4.0, 0.9, 0.5, 17.0], [5.0, 0.8, 15.0, 3.0],
    ])  # fmt: skip
    states = (rng.random((4, N_FRAMES, n_samples)) < 0.4).astype(np.float32)
    data = rng.normal(0, 1, (*SHAPE, N_FRAMES))
    for spot in (*SPOTS.values(), *others):
        on = rng.random(N_FRAMES) < 0.4
        data += image(spot, dimensions)[:, :, None] * on
    return Objective(
        data, VARIANCE, profiles_of(others, SHAPE, dimensions), states,
        priors_of(0.9, dimensions=dimensions),
    )  # fmt: skip


def image(spot, dimensions):
    return spot_image(spot, np.arange(20.0), np.arange(18.0), dimensions)


def minus_log(o, spot, s):
    """−ln P(D | background s, φ) − ln prior over the whole field."""
    images = np.array([image(other, o.priors.dimensions) for other in o.others.spots])
    background = np.einsum("nyx,nt->yxt", images, o.states[:, :, s])
    log = log_likelihood_reference(
        spot, o.priors.dimensions, o.data, VARIANCE, background, CHAIN.matrix, START
    )
    return -log - o.priors.log_density(spot[None])


@pytest.mark.parametrize("where", SPOTS)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_gradient_is_that_of_the_mean_log_likelihood(where, dimensions):
    o, spot = objective(dimensions=dimensions), SPOTS[where]
    expected = [
        np.mean([minus_log(o, spot + h, s) - minus_log(o, spot - h, s) for s in range(3)]) / 2e-5
        for h in 1e-5 * np.eye(4)
    ]
    np.testing.assert_allclose(o.downhill(spot), expected, rtol=1e-5, atol=2e-5)
    assert o.evaluations == 1


@pytest.mark.parametrize("where", SPOTS)
@pytest.mark.parametrize("dimensions", [1, 2])
def test_curvature_of_one_sample_is_the_hessian(where, dimensions):
    o, spot = objective(n_samples=1, dimensions=dimensions), SPOTS[where]
    expected = [-(o.downhill(spot + h) - o.downhill(spot - h)) / 2e-5 for h in 1e-5 * np.eye(4)]
    np.testing.assert_allclose(o.curvature(spot), expected, rtol=1e-5, atol=1e-4)


def test_curvature_of_several_samples_adds_the_spread_of_their_gradients():
    o, spot = objective(), SPOTS["inside"]
    single = [
        Objective(o.data, VARIANCE, o.others, np.ascontiguousarray(o.states[:, :, s : s + 1]),
                  o.priors)
        for s in range(3)
    ]  # fmt: skip
    slopes = np.array([-one.downhill(spot) - o.priors.slope(spot) for one in single])
    mean = np.mean([one.curvature(spot) for one in single], axis=0)
    np.testing.assert_allclose(
        o.curvature(spot), mean + np.cov(slopes.T, bias=True), rtol=1e-6, atol=1e-7
    )


def test_a_spot_far_outside_feels_its_prior_only():
    o = objective()
    spot = np.array([4.0, 0.9, 200.0, 5.0])
    np.testing.assert_allclose(o.downhill(spot), -o.priors.slope(spot))
    np.testing.assert_allclose(o.curvature(spot), o.priors.curvature(spot))


def test_without_other_spots_there_is_no_background():
    o = objective()
    alone = Objective(
        o.data, VARIANCE, profiles_of(np.zeros((0, 4)), SHAPE),
        np.zeros((0, N_FRAMES, 1), np.float32), o.priors,
    )  # fmt: skip
    dark = Objective(o.data, VARIANCE, o.others, np.zeros_like(o.states), o.priors)
    for spot in SPOTS.values():
        np.testing.assert_allclose(alone.downhill(spot), dark.downhill(spot), rtol=1e-10)


@pytest.mark.parametrize("impossible", [[0.0, 1.0], [-1.0, 1.0], [1.0, 0.0], [1.0, -0.5]])
def test_there_is_no_gradient_outside_of_the_priors(impossible):
    assert np.isnan(objective().downhill(np.array([*impossible, 5.0, 5.0]))).all()
