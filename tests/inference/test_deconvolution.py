"""Richardson–Lucy against its dense-matrix formula and its invariants."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF
from dlbi.core.sharing import shared_among
from dlbi.forward import Projection
from dlbi.inference import deconvolution
from dlbi.inference.deconvolution import (
    DAMPING_SIGMA,
    MARGIN_SENSITIVITY,
    START_FLOOR,
    richardson_lucy,
)

SIDE, FACTOR, MARGIN_PX = 12, 4, 4
CAMERA = PixelGrid((SIDE, SIDE + 1), 160.0)
PSF = GaussianPSF(422.0)
WIDE = Projection(CAMERA.pad(MARGIN_PX).refine(FACTOR), CAMERA, PSF)
TIGHT = Projection(CAMERA.refine(FACTOR), CAMERA, PSF)
NO_BACKGROUND = np.zeros(CAMERA.shape, np.float32)


def random_mean(seed=0, level=50.0):
    return np.random.default_rng(seed).gamma(2.0, level / 2, CAMERA.shape).astype(np.float32)


def random_guide(projection, seed=1):
    return np.random.default_rng(seed).gamma(0.5, 1.0, projection.fine.shape).astype(np.float32)


def dense(projection):
    """The projection as one matrix, (camera pixels, fine pixels), float64."""
    return np.kron(projection.rows.dense(), projection.columns.dense()).astype(np.float64)


def dense_steps(signal, projection, start, n_iterations):
    h = dense(projection)
    sensitivity = h.sum(axis=0)
    seen = sensitivity >= MARGIN_SENSITIVITY
    x = start.ravel() * (signal.sum() / (start.ravel() * sensitivity).sum())
    x[~seen] = 0.0
    for _ in range(n_iterations):
        x = np.where(seen, x * (h.T @ (signal.ravel() / (h @ x))) / sensitivity, 0.0)
    return x.reshape(start.shape)


@pytest.mark.parametrize("projection", [WIDE, TIGHT], ids=["margin", "no margin"])
@pytest.mark.parametrize("n_iterations", [0, 1, 5])
def test_iterations_equal_the_dense_formula(projection, n_iterations):
    mean, background = random_mean(), np.full(CAMERA.shape, 12.0, np.float32)
    signal = np.maximum(mean.astype(float) - background, 0.0)
    flat = np.ones(projection.fine.shape)
    found = richardson_lucy(mean, background, projection, n_iterations=n_iterations)
    expected = dense_steps(signal, projection, flat, n_iterations)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * expected.max())
    guide = random_guide(projection)
    found = richardson_lucy(mean, background, projection, n_iterations=n_iterations, start=guide)
    expected = dense_steps(signal, projection, guide + START_FLOOR * guide.mean(), n_iterations)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * expected.max())


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 12), st.booleans(), st.floats(1e-2, 1e5))
def test_every_iteration_is_non_negative_and_keeps_the_light(seed, n_iterations, guided, level):
    """The projected image has the light of the movie."""
    mean = random_mean(seed, level)
    start = random_guide(WIDE, seed) if guided else None
    found = richardson_lucy(mean, NO_BACKGROUND, WIDE, n_iterations=n_iterations, start=start)
    assert found.min() >= 0.0
    assert found.dtype == np.float32
    assert WIDE.forward(found).sum() == pytest.approx(mean.sum(), rel=1e-3)


def test_the_truth_of_noise_free_data_is_a_fixed_point():
    guide = random_guide(TIGHT)
    truth = guide + np.float32(START_FLOOR) * guide.mean()
    mean = TIGHT.forward(truth)
    found = richardson_lucy(mean, NO_BACKGROUND, TIGHT, n_iterations=10, start=guide)
    np.testing.assert_allclose(found, truth, rtol=2e-3)


def test_residual_of_the_mean_image_falls_with_the_iterations():
    mean = TIGHT.forward(random_guide(TIGHT)) + 1.0
    misfit = [
        np.abs(TIGHT.forward(richardson_lucy(mean, NO_BACKGROUND, TIGHT, n_iterations=n)) - mean)
        for n in (1, 5, 25, 100)
    ]
    assert (np.diff([m.mean() for m in misfit]) < 0).all()


def test_light_hardly_enters_gaps_of_the_guide_narrower_than_the_psf():
    """Even light and a guide with a slit of one camera pixel: after 50 iterations the slit has
    hardly left its floor, since what surrounds it explains the movie."""
    mean = TIGHT.forward(np.ones(TIGHT.fine.shape, np.float32))
    guide = np.ones(TIGHT.fine.shape, np.float32)
    slit = np.s_[:, 6 * FACTOR : 7 * FACTOR]
    guide[slit] = 0.0
    levels = [
        richardson_lucy(mean, NO_BACKGROUND, TIGHT, n_iterations=n, start=guide)[slit].mean()
        for n in (0, 5, 50)
    ]
    assert 0.9 * START_FLOOR < levels[0] < levels[1] < levels[2] < 10 * START_FLOOR


def test_light_stays_out_where_guide_and_movie_have_none():
    guide = np.zeros(TIGHT.fine.shape, np.float32)
    guide[:, : 4 * FACTOR] = 1.0
    mean = TIGHT.forward(guide)
    found = richardson_lucy(mean, NO_BACKGROUND, TIGHT, n_iterations=50, start=guide)
    assert found[:, 4 * FACTOR :].sum() < 2e-3 * found.sum()


def test_light_from_outside_goes_to_the_margin_and_not_to_the_border():
    """A source 1 px outside the field: with a margin it stays there, without it piles up."""
    truth = np.zeros(WIDE.fine.shape, np.float32)
    truth[(MARGIN_PX - 1) * FACTOR, WIDE.fine.shape[1] // 2] = 1000.0
    mean = WIDE.forward(truth)
    with_margin = richardson_lucy(mean, NO_BACKGROUND, WIDE, n_iterations=100)
    without = richardson_lucy(mean, NO_BACKGROUND, TIGHT, n_iterations=100)
    m = MARGIN_PX * FACTOR
    inside = with_margin[m:-m, m:-m]
    assert without[:FACTOR].sum() > 0.8 * mean.sum()
    assert inside.sum() < 0.15 * mean.sum()


def test_margin_that_the_camera_does_not_see_stays_dark():
    found = richardson_lucy(random_mean(), NO_BACKGROUND, WIDE, n_iterations=3)
    unseen = WIDE.adjoint(np.ones(CAMERA.shape, np.float32)) < MARGIN_SENSITIVITY
    assert unseen.any()
    assert not found[unseen].any()
    assert (found[~unseen] > 0).all()


def test_a_mean_below_its_background_gives_nothing():
    background = np.full(CAMERA.shape, 1e4, np.float32)
    found = richardson_lucy(random_mean(), background, WIDE, n_iterations=3)
    assert not found.any()


def test_progress_counts_the_iterations():
    seen = []
    richardson_lucy(
        random_mean(), NO_BACKGROUND, TIGHT, n_iterations=3,
        progress=lambda *step: seen.append(step),
    )  # fmt: skip
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_guide_is_not_changed():
    guide = random_guide(TIGHT)
    before = guide.copy()
    richardson_lucy(random_mean(), NO_BACKGROUND, TIGHT, n_iterations=2, start=guide)
    np.testing.assert_array_equal(guide, before)


@pytest.mark.parametrize(
    "value", [np.float32(-1.0), np.float32(np.nan), np.float32(np.inf)], ids=str
)
def test_guides_with_unusable_values_are_refused(value):
    guide = random_guide(TIGHT)
    guide[3, 4] = value
    with pytest.raises(InputError, match="finite, non-negative"):
        richardson_lucy(random_mean(), NO_BACKGROUND, TIGHT, n_iterations=1, start=guide)


def test_empty_and_misshapen_guides_are_refused():
    empty = np.zeros(TIGHT.fine.shape, np.float32)
    with pytest.raises(InputError, match="not all zero"):
        richardson_lucy(random_mean(), NO_BACKGROUND, TIGHT, n_iterations=1, start=empty)
    with pytest.raises(ShapeError, match="shape of the fine grid"):
        richardson_lucy(
            random_mean(), NO_BACKGROUND, TIGHT, n_iterations=1, start=random_guide(WIDE)
        )


def test_damped_steps_equal_the_dense_formula():
    mean, guide = random_mean(), random_guide(WIDE)
    variance = np.random.default_rng(5).uniform(20.0, 900.0, CAMERA.shape).astype(np.float32)
    found = richardson_lucy(
        mean, NO_BACKGROUND, WIDE, n_iterations=3, start=guide, variance=variance
    )
    h = dense(WIDE)
    sensitivity = h.sum(axis=0)
    seen = sensitivity >= MARGIN_SENSITIVITY
    x = (guide + START_FLOOR * guide.mean()).ravel().astype(float)
    x = np.where(seen, x * mean.sum() / (x * sensitivity).sum(), 0.0)
    for _ in range(3):
        expected = h @ x
        misfit = mean.ravel() - expected
        u = np.minimum(misfit**2 / (DAMPING_SIGMA**2 * variance.ravel()), 1.0)
        ratio = 1.0 + u * (2.0 - u) * misfit / expected
        x = np.where(seen, x * (h.T @ ratio) / sensitivity, 0.0)
    assert u.min() < 0.1 < 1.0 == u.max()
    np.testing.assert_allclose(found, x.reshape(guide.shape), rtol=1e-3, atol=1e-6 * x.max())


def test_damped_steps_bring_missing_light_back():
    truth = np.full(WIDE.fine.shape, 4.0, np.float32)
    truth[:, 40] = 60.0
    mean = WIDE.forward(truth)
    variance = np.full(CAMERA.shape, np.var(mean) / 100, np.float32)
    flat = np.full(WIDE.fine.shape, 4.0, np.float32)
    found = richardson_lucy(
        mean, NO_BACKGROUND, WIDE, n_iterations=50, start=flat, variance=variance
    )
    misfit = (mean - WIDE.forward(found)) ** 2 / variance
    flat *= np.float32(mean.sum() / WIDE.forward(flat).sum())
    assert np.mean((mean - WIDE.forward(flat)) ** 2 / variance) > 20
    assert misfit.mean() < 1.0


@pytest.mark.parametrize("variance", [None, np.full(CAMERA.shape, 3.0, np.float32)])
def test_threads_change_no_bit(variance, monkeypatch):
    def run(n):
        return richardson_lucy(
            random_mean(), NO_BACKGROUND, WIDE, n_iterations=5, variance=variance, n_workers=n
        )

    alone = run(1)
    monkeypatch.setattr(deconvolution, "SHARE_PX", 1)
    np.testing.assert_array_equal(run(3), alone)


@pytest.mark.parametrize(("shares", "n_workers"), [(0.9, 1), (1.9, 1), (2.1, 2), (9, 4)])
def test_small_fields_are_not_divided(shares, n_workers, monkeypatch):
    asked = []

    def seen(n):
        asked.append(n)
        return shared_among(n)

    monkeypatch.setattr(deconvolution, "SHARE_PX", int(np.prod(WIDE.fine.shape) / shares))
    monkeypatch.setattr(deconvolution, "shared_among", seen)
    richardson_lucy(random_mean(), NO_BACKGROUND, WIDE, n_iterations=1, n_workers=4)
    assert asked == [n_workers]
