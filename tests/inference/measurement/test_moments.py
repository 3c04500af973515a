"""Flux and on-fraction from cumulants, against the law of the light and seeded movies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.measurement.moments import (
    BlinkingMoments,
    blinking_moments,
    skewness,
)

SIDE, FLUX, CV = 24, 100.0, 0.3
fractions = st.floats(0.01, 0.95)


def light_cumulants(q, cv):
    """First three cumulants of Bernoulli(q) × log-normal(mean 1, cv) from its raw moments.

    exp(N(−s²/2, s²)) has the k-th moment exp(k (k − 1) s²/2), with s² = log(1 + cv²).
    """
    m1, m2, m3 = (q * (1.0 + cv**2) ** (k * (k - 1) / 2) for k in (1, 2, 3))
    return m1, m2 - m1**2, m3 - 3 * m1 * m2 + 2 * m1**3


def memoryless(q):
    """A chain whose frames are independent, on in a share q of them."""
    return BlinkingChain(1.0 - q, q)


def moments_of(known_movie, chain, seed, *, n=400, n_frames=200, noise=5.0, lines=False):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(-2.5, SIDE + 1.5, (2, n))
    if lines:
        x = 4.0 + 8.0 * rng.integers(3, size=n)
    movie = known_movie(
        y, x, (SIDE, SIDE), n_frames, chain=chain, flux=FLUX, cv=CV, noise=noise, seed=seed
    )
    projection = movie.projection()
    return blinking_moments(movie.stack, movie.density(projection), projection, light_cv=CV)


@given(fractions, st.floats(0.0, 1.0))
def test_skewness_is_that_of_the_light_of_one_fluorophore(q, cv):
    k1, k2, k3 = light_cumulants(q, cv)
    assert skewness(q, cv) == pytest.approx(k3 * k1 / k2**2, rel=1e-6, abs=1e-9)


@given(st.floats(0.01, 0.8), st.floats(0.0, 1.0), st.floats(0.1, 1e4), st.floats(1.0, 50.0))
def test_an_emitter_that_stands_for_several_fluorophores_fluctuates_as_they_do(q, cv, flux, n):
    """Their light and its variance add up: neither its flux nor its contrast is theirs times n."""
    k1, k2, _ = light_cumulants(q, cv)
    moments = BlinkingMoments(flux * k2 / k1, 0.0, np.inf, cv)
    light = n * flux * k1
    shared = moments.on_fraction_of(light)
    assert q * (1 - 1e-9) <= shared <= 0.9
    if shared < 0.9:
        mean, variance, _ = light_cumulants(shared, cv)
        unit = light / mean
        assert unit**2 * variance == pytest.approx(n * flux**2 * k2, rel=1e-6)


def test_an_emitter_is_on_most_of_the_time_where_nothing_blinks():
    assert BlinkingMoments(-1.0, 0.0, np.inf, CV).on_fraction_of(10.0) == 0.9


@given(fractions, st.floats(0.0, 1.0), st.floats(0.1, 1e4))
def test_flux_follows_from_the_contrast_and_the_on_fraction(q, cv, flux):
    """Contrast is the second cumulant ÷ mean of the light a · B · L."""
    k1, k2, _ = light_cumulants(q, cv)
    moments = BlinkingMoments(flux * k2 / k1, 0.0, np.inf, cv)
    assert moments.flux(q) == pytest.approx(flux, rel=1e-6)


@pytest.mark.parametrize("q", [0.1, 0.28, 0.5])
def test_cumulants_of_a_movie_are_those_of_its_fluorophores(known_movie, q):
    """Mean of 8 movies: contrast within 5 %, skewness within 4.5 of its standard errors.

    Subtracting the field mean of 24² pixels takes 3 % of the contrast.
    """
    found = [moments_of(known_movie, memoryless(q), seed) for seed in range(8)]
    contrast = np.mean([m.contrast for m in found])
    assert contrast == pytest.approx(FLUX * (1 + CV**2 - q), rel=0.06)
    values = np.array([m.skewness for m in found])
    errors = np.array([m.skewness_error for m in found])
    z = (values.mean() - skewness(q, CV)) / (values.std(ddof=1) / np.sqrt(len(values)))
    assert abs(z) < 4.5
    assert 0.3 < errors.mean() / values.std(ddof=1) < 3.0
    flux = np.mean([m.flux(q) for m in found])
    assert flux == pytest.approx(FLUX, rel=0.06)


def test_on_fractions_are_told_apart_from_the_same_expectation(known_movie):
    """From 0.28 expected: found in order and on the right side, within 45 %."""
    found = [
        np.mean([moments_of(known_movie, memoryless(q), s).on_fraction(0.28) for s in range(3)])
        for q in (0.15, 0.28, 0.5)
    ]
    assert found[0] < found[1] < found[2]
    np.testing.assert_allclose(found, [0.15, 0.28, 0.5], rtol=0.45)
    assert found[0] < 0.25
    assert found[2] > 0.28


@given(st.floats(0.02, 0.3))
def test_without_skewness_the_on_fraction_is_about_the_expected_one(expected):
    moments = BlinkingMoments(50.0, 0.0, np.inf, CV)
    assert moments.on_fraction(expected) == pytest.approx(expected, rel=0.35)


@given(st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_more_skewness_means_a_smaller_on_fraction(a, b):
    low, high = sorted((a, b))
    rare, often = (
        BlinkingMoments(50.0, float(skewness(q, CV)), 0.01, CV).on_fraction(0.2)
        for q in (low, high)
    )
    assert rare <= often


def test_a_measured_skewness_pulls_a_wrong_expectation_to_the_truth():
    for truth, expected in ((0.1, 0.3), (0.4, 0.15)):
        sure = BlinkingMoments(50.0, float(skewness(truth, CV)), 0.01, CV).on_fraction(expected)
        unsure = BlinkingMoments(50.0, float(skewness(truth, CV)), 5.0, CV).on_fraction(expected)
        assert abs(np.log(sure / truth)) < abs(np.log(unsure / truth))
        assert (truth < sure < expected) or (expected < sure < 1.1 * truth)


def test_noise_has_no_contrast(known_movie):
    """Mean over 12 movies within 4.5 standard errors, and a hundredth of a fluorophore."""
    rng = np.random.default_rng(3)
    y, x = rng.uniform(0.0, SIDE - 1.0, (2, 300))
    movie = known_movie(y, x, (SIDE, SIDE), 20, chain=memoryless(0.3), noise=0.0)
    projection = movie.projection()
    density = movie.density(projection)
    found = []
    for _ in range(12):
        frames = rng.normal(50.0, 10.0, (120, SIDE, SIDE)).astype(np.float32)
        stack = ImageStack(frames, movie.grid)
        found.append(blinking_moments(stack, density, projection, light_cv=CV).contrast)
    assert abs(np.mean(found)) < 4.5 * np.std(found, ddof=1) / np.sqrt(12)
    assert abs(np.mean(found)) < 0.01 * 79.0


def test_where_nothing_blinks_the_skewness_is_unknown():
    """A ramp of the illumination: no contrast, infinite error, no warning."""
    grid = PixelGrid((SIDE, SIDE), 160.0)
    frames = np.linspace(100.0, 110.0, 80, dtype=np.float32)[:, None, None] * np.ones(
        (1, SIDE, SIDE), np.float32
    )
    projection = Projection(grid.pad(2).refine(4), grid, GaussianPSF(422.0))
    density = np.ones(projection.fine.shape, np.float32)
    with np.errstate(all="raise"):
        moments = blinking_moments(ImageStack(frames, grid), density, projection, light_cv=CV)
    assert moments.contrast == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("n_frames", [2, 3])
def test_two_or_three_frames_tell_nothing(known_movie, n_frames):
    moments = moments_of(known_movie, memoryless(0.28), 1, n_frames=n_frames)
    assert moments.skewness_error == np.inf
    assert moments.contrast == moments.skewness == 0.0
    assert moments.on_fraction(0.28) == pytest.approx(0.28, rel=0.35)


@pytest.mark.parametrize(("n_frames", "most"), [(6, 10.0), (20, 0.6), (60, 0.2)])
def test_short_movies_tell_the_skewness_within_its_error(known_movie, n_frames, most):
    """One or two blocks of frames; the tiles of the field tell the error."""
    found = [moments_of(known_movie, memoryless(0.28), s, n_frames=n_frames) for s in range(6)]
    z = [(m.skewness - skewness(0.28, CV)) / m.skewness_error for m in found]
    assert abs(np.mean(z)) < 1.9
    assert np.std(z) < 2.5
    assert np.median([m.skewness_error for m in found]) < most


def test_camera_noise_and_offset_do_not_change_the_contrast(known_movie):
    quiet, loud = (
        np.mean(
            [moments_of(known_movie, memoryless(0.28), s, noise=noise).contrast for s in range(4)]
        )
        for noise in (0.0, 25.0)
    )
    assert loud == pytest.approx(quiet, rel=0.05)


def test_bleaching_does_not_change_the_contrast(known_movie):
    """Three lines of 1500 fluorophores, 2 % bleaching a frame: within 10 % over three movies."""
    alive, dying = (
        np.mean(
            [
                moments_of(
                    known_movie, BlinkingChain(0.72, 0.28, bleaching), seed, n=1500, lines=True
                ).contrast
                for seed in range(3)
            ]
        )
        for bleaching in (0.0, 0.02)
    )
    assert dying == pytest.approx(alive, rel=0.10)
