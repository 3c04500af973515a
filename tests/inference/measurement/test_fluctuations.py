"""Cumulants of movies against direct sums and against what their fluorophores must give."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.kinetics.expectation import (
    GRAIN,
    SECOND,
    THIRD,
    TRENDS,
    Kinetics,
    expected_statistics,
    statistics_of,
)
from dlbi.inference.measurement.fluctuations import MAX_LAG, measure_fluctuations
from dlbi.inference.measurement.units import trend_residual

FLUX, CV = 100.0, 0.3


def test_sums_are_those_of_a_plain_loop(known_movie):
    rng = np.random.default_rng(8)
    y, x = rng.uniform(2.0, 11.0, (2, 30))
    movie = known_movie(y, x, (14, 13), 26, chain=BlinkingChain(0.6, 0.3), noise=3.0)
    projection = movie.projection(factor=2)
    density = movie.density(projection)
    found = measure_fluctuations(movie.stack, density, projection)
    q = trend_residual(13)
    d = np.einsum("ts,syx->tyx", q, movie.frames[13:26].astype(float))
    d -= d.mean(axis=(1, 2), keepdims=True)

    def template(*pixels):
        seen = np.zeros(density.shape)
        total = 0.0
        for place in zip(*np.nonzero(density), strict=True):
            seen[:] = 0.0
            seen[place] = 1.0
            image = projection.forward(seen.astype(np.float32)).astype(float)
            total += density[place] * np.prod([image[p] for p in pixels])
        return total

    at = [(5, 4), (6, 4)]
    pairs = ((1, 0), (1, 1), (1, -1))
    total, norm = np.zeros(MAX_LAG + 1), 0.0
    places = [(r, c) for r in range(13) for c in range(12)]
    images = []
    for place in zip(*np.nonzero(density), strict=True):
        seen = np.zeros(density.shape, np.float32)
        seen[place] = 1.0
        images.append((density[place], projection.forward(seen).astype(float)))
    assert template(*at) == pytest.approx(sum(w * i[5, 4] * i[6, 4] for w, i in images))
    for dy, dx in pairs:
        for r, c in places:
            a = (r, c) if dx >= 0 else (r, c + 1)
            b = (r + dy, c + dx) if dx >= 0 else (r + dy, c)
            s = sum(w * i[a] * i[b] for w, i in images)
            norm += s**2
            for lag in range(MAX_LAG + 1):
                u, v = d[:, *a], d[:, *b]
                both = u[: 13 - lag] @ v[lag:] + v[: 13 - lag] @ u[lag:]
                total[lag] += 0.5 * s * both
    np.testing.assert_allclose(found.second[1].sum(axis=0), total, rtol=2e-3, atol=1e-3 * total[0])
    assert found.second_norm.sum() == pytest.approx(norm, rel=1e-4)


@pytest.fixture(scope="module")
def measured(known_movie):
    """Statistics of eight movies with known fluorophores, true densities and hard noise."""

    def make(chain, n=300, n_frames=100, seeds=range(8), lamp=0.0, lines=False):
        values = []
        for seed in seeds:
            rng = np.random.default_rng(seed)
            y, x = rng.uniform(-2.5, 25.5, (2, n))
            if lines:
                x = 4.0 + 8.0 * rng.integers(3, size=n)
            movie = known_movie(
                y, x, (24, 24), n_frames, chain=chain, flux=FLUX, cv=CV, noise=15.0, seed=seed
            )
            lamp_of = 1.0 + lamp * (np.arange(n_frames) / (n_frames - 1) - 0.5)
            frames = movie.frames * lamp_of[:, None, None].astype(np.float32) + 100.0
            projection = movie.projection(factor=4)
            density = movie.density(projection)
            smooth = np.ones_like(density) * (density.any(axis=0) if lines else True)
            smooth *= density.sum() / smooth.sum()
            stack = ImageStack(frames, PixelGrid((24, 24), 160.0))
            found = measure_fluctuations(stack, density, projection)
            one = statistics_of(found)
            even = statistics_of(measure_fluctuations(stack, smooth, projection))
            values.append([one.values, np.sqrt(np.diag(one.covariance)), even.values])
        return np.array(values), found

    return make


def expected(chain, found, **changes):
    one = {
        "flux": FLUX, "emitting_to_dark": chain.emitting_to_dark,
        "dark_to_emitting": chain.dark_to_emitting, "dark_to_bleached": chain.dark_to_bleached,
        "log_sd": np.sqrt(np.log1p(CV**2)), "blinking_share": 1.0, "trend": 0.0, "coarseness": 1.0,
    }  # fmt: skip
    kinetics = Kinetics(**{name: np.array([v]) for name, v in (one | changes).items()})
    return expected_statistics(kinetics, found.centre, found.n_frames)[0]


@pytest.mark.parametrize("chain", [BlinkingChain(0.5, 0.15), BlinkingChain(0.85, 0.35)])
def test_cumulants_are_those_of_the_fluorophores(measured, chain):
    """Means of eight movies: |z| ≤ 4.5 beyond the 4 % that taking off the field mean costs."""
    values, found = measured(chain)
    model = expected(chain, found)
    mean, error = values[:, 0].mean(axis=0), values[:, 0].std(axis=0, ddof=1) / np.sqrt(8)
    for part in (SECOND, THIRD):
        allowed = 4.5 * error[part] + 0.04 * np.abs(model[part]).max()
        assert (np.abs(mean[part] - model[part]) < allowed).all()
    told, scatter = values[:, 1].mean(axis=0), values[:, 0].std(axis=0, ddof=1)
    ratio = told[SECOND] / scatter[SECOND]
    assert (ratio > 0.4).all()
    assert (ratio < 2.5).all()


def test_bleaching_and_lamp_show_in_the_trends(measured):
    """Three lines of 600 fluorophores under the density of the lines."""
    chain = BlinkingChain(0.5, 0.15, 0.01)
    values, found = measured(chain, n=600, lamp=-0.2, lines=True)
    model = expected(chain, found, trend=-0.2)
    error = values[:, 2].std(axis=0, ddof=1)[TRENDS] / np.sqrt(8)
    gap = np.abs(values[:, 2].mean(axis=0) - model)[TRENDS]
    assert (gap < 4.5 * error + 0.03).all()


def test_grain_of_scattered_fluorophores_is_their_mean_light(measured):
    """Under a flat density the scattered positions are all the roughness there is."""
    chain = BlinkingChain(0.5, 0.15)
    values, found = measured(chain, n=300)
    model = expected(chain, found)[GRAIN]
    grain = values[:, 2, GRAIN]
    assert abs(grain.mean() / model - 1.0) < 4.5 * grain.std(ddof=1) / model / np.sqrt(8) + 0.05
    assert model == pytest.approx(FLUX * 0.15 / 0.65)


def test_three_frames_have_no_statistics(known_movie):
    movie = known_movie(np.ones(3) * 5, np.ones(3) * 5, (12, 12), 3, chain=BlinkingChain(0.5, 0.2))
    projection = movie.projection(factor=2)
    assert measure_fluctuations(movie.stack, movie.density(projection), projection) is None


def test_lags_beyond_a_short_movie_are_empty(known_movie):
    movie = known_movie(np.ones(3) * 5, np.ones(3) * 5, (12, 12), 4, chain=BlinkingChain(0.5, 0.2))
    projection = movie.projection(factor=2)
    found = measure_fluctuations(movie.stack, movie.density(projection), projection)
    assert found.second[..., :4].all()
    assert not found.second[..., 4:].any()
    assert not found.grain.any()
