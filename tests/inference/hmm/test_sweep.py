"""One visit and one sweep: light integrated out, light drawn, positions, births and deaths."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from dlbi.core.kernels import fill_profiles, mix
from dlbi.core.lanes import whole_blocks
from dlbi.core.optics import integrated_profile
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING, BlinkingChain
from dlbi.core.rng import stream_key
from dlbi.inference.hmm.emission import MIN_LIGHT_SHARE, log_ratio_reference
from dlbi.inference.hmm.state import Guide, Physics, new_field, new_scratch, new_slots
from dlbi.inference.hmm.sweep import (
    _count,
    _draw_flux,
    _draw_light,
    _explain,
    subtract_emitters,
    sweep_tile,
)

SIGMA, HALF = 1.12, 3
CHAIN = BlinkingChain(0.4, 0.3, 0.01)
ISOLATED_PX = 9


def physics_of(**changes):
    physics = Physics(SIGMA, HALF, 1.0, 100.0, 10.0, 0.2, CHAIN.matrix, CHAIN.start, 0.0)
    return physics._replace(**changes)


def psf_image(y, x, shape):
    """Whole-field PSF without a window."""
    rows, columns = (
        integrated_profile(np.arange(n), c, SIGMA) for n, c in zip(shape, (y, x), strict=True)
    )
    return np.outer(rows, columns)


def windowed_psf(y, x, shape):
    """The PSF as the sampler sees it: 2 · HALF + 1 pixels around the nearest one."""
    image = psf_image(y, x, shape)
    for axis, c in enumerate((y, x)):
        outside = np.abs(np.arange(shape[axis]) - np.floor(c + 0.5)) > HALF
        image[(slice(None),) * axis + (outside,)] = 0.0
    return image


class OneTile:
    """A square movie with zero-weight padding around it, swept as a single tile."""

    def __init__(self, frames, noise, physics, *, expected, n_slots, n_candidates, seed=1):
        n_frames, side, _ = frames.shape
        self.pad, self.seed, self.sweeps = HALF + 1, seed, 0
        self.n_candidates = n_candidates
        tile = side + 2 * self.pad
        factor = 4
        inside = np.s_[self.pad : self.pad + side, self.pad : self.pad + side]
        weight = np.full((side, side), 1.0 / noise**2, np.float32)
        self.field = new_field(frames, weight, inside, (tile, tile))
        density = np.zeros((tile * factor, tile * factor))
        density[np.s_[self.pad * factor : -self.pad * factor,] * 2] = (
            expected / (side * factor) ** 2
        )
        with np.errstate(divide="ignore"):
            log_prior = np.log(density).astype(np.float32)
        log_odds = np.where(density > 0, np.log(expected / max(n_candidates, 1)), -np.inf)
        cumulative = (density.ravel().cumsum() / density.sum()).astype(np.float32)
        cumulative[-1] = 1.0
        self.guide = Guide(
            log_prior, log_odds.astype(np.float32), cumulative[None], factor, tile, 1
        )
        self.physics = physics
        self.slots = new_slots(n_slots, n_frames)
        self.counts = np.zeros(8)

    def place(self, y_px, x_px, flux, light):
        """Live emitters in the first slots, their light taken out of the residual."""
        n = len(y_px)
        self.slots.alive[:n] = 1
        self.slots.y[:n], self.slots.x[:n] = y_px + self.pad, x_px + self.pad
        self.slots.flux[:n] = flux
        self.slots.light[:n, : self.field.n_frames] = light
        subtract_emitters(self.slots, self.field, self.physics)

    @property
    def live(self):
        return np.flatnonzero(self.slots.alive)

    @property
    def positions(self):
        """(n, 2) camera pixels of the live emitters."""
        return np.column_stack([self.slots.y, self.slots.x])[self.live] - self.pad

    def sweep(self, *, decide):
        free = np.flatnonzero(self.slots.alive == 0)[: self.n_candidates if decide else 0]
        order = np.concatenate([self.live, free]).astype(np.int64)
        key = np.uint64(stream_key(self.seed, "sweep", self.sweeps))
        args = self.slots, self.field, self.physics, self.guide
        sweep_tile(key, 0, order, *args, decide, self.counts)
        self.sweeps += 1

    def rendered(self):
        """Light of all live emitters, (Y, X, T), in float64 NumPy."""
        out = np.zeros(self.field.residual.shape)
        for s in self.live:
            h = windowed_psf(self.slots.y[s], self.slots.x[s], out.shape[:2])
            out += h[:, :, None] * self.slots.light[s].astype(np.float64)
        return out


def explained(residual, weight, y, x, flux, physics, own_light=None):
    """ℓ of the kernel, its scratch arrays and the energy G; `own_light` is out of the residual."""
    n_frames = residual.shape[2]
    n_padded = whole_blocks(n_frames)
    scratch = new_scratch(physics.half, n_frames, n_padded)
    y0, x0 = (int(np.floor(c + 0.5)) - physics.half for c in (y, x))
    fill_profiles(y, physics.sigma, y0, scratch.gy, scratch.dy)
    fill_profiles(x, physics.sigma, x0, scratch.gx, scratch.dx)
    own = np.zeros(n_padded, np.float32)
    own[:n_frames] = 0.0 if own_light is None else own_light
    field = new_field(np.moveaxis(residual, 2, 0), weight, np.s_[:, :], weight.shape)
    _, stiff = _explain(field, physics, y0, x0, flux, own, scratch)
    return np.log(scratch.ratio.astype(np.float64)), scratch, stiff


@pytest.fixture(scope="module")
def frames_of_one():
    """Residual (Y, X, T) with an emitter of any light in each frame, weights and its position."""
    rng = np.random.default_rng(3)
    y, x, shape = 7.3, 6.8, (15, 14)
    weight = rng.uniform(0.005, 0.02, shape).astype(np.float32)
    light = rng.uniform(40.0, 180.0, 60)
    noise = rng.standard_normal((*shape, 60)) / np.sqrt(weight)[:, :, None]
    residual = psf_image(y, x, shape)[:, :, None] * light + noise
    return residual.astype(np.float32), weight, y, x


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("cv", [0.05, 0.2, 0.4])
def test_log_ratio_is_the_likelihood_ratio_integrated_over_the_light(frames_of_one, cv, beta):
    """log ∫ N(u; a, V) [P(R | u h) / P(R | 0)]^β du by 200-point Gauss–Hermite quadrature."""
    residual, weight, y, x = frames_of_one
    a = 100.0
    physics = physics_of(cv=cv, beta=beta)
    h = windowed_psf(y, x, weight.shape)
    node, share = np.polynomial.hermite.hermgauss(200)
    u = a + np.sqrt(2.0) * cv * a * node
    expected = []
    for frame in np.moveaxis(residual, 2, 0).astype(float):
        squares = weight * ((frame - u[:, None, None] * h) ** 2 - frame**2)
        gain = -0.5 * beta * squares.sum(axis=(1, 2))
        peak = gain.max()
        expected.append(peak + np.log((share * np.exp(gain - peak)).sum() / np.sqrt(np.pi)))
    expected = np.array(expected)
    moderate = np.abs(expected) < 30.0
    assert moderate.sum() > 15
    reference = log_ratio_reference(residual, weight, y, x, a, physics)
    np.testing.assert_allclose(reference[moderate], expected[moderate], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("beta", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_compiled_log_ratio_equals_the_reference(seed, beta):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(5.0, 9.0, 2)
    weight = rng.uniform(0.0, 0.02, (15, 15)).astype(np.float32)
    residual = rng.normal(0.0, 12.0, (15, 15, 100)).astype(np.float32)
    physics = physics_of(beta=beta, cv=rng.uniform(0.05, 0.4))
    expected = log_ratio_reference(residual, weight, y, x, 90.0, physics)
    actual, _, _ = explained(residual, weight, y, x, 90.0, physics)
    np.testing.assert_allclose(actual, np.clip(expected, -40, 40), rtol=1e-5, atol=2e-5)


def test_light_already_explained_does_not_change_the_log_ratio(frames_of_one):
    """An emitter is judged against the movie without it, whatever its present path."""
    residual, weight, y, x = frames_of_one
    alone, _, _ = explained(residual, weight, y, x, 100.0, physics_of())
    own = np.where(np.arange(60) % 3 == 0, 110.0, 0.0).astype(np.float32)
    h = windowed_psf(y, x, weight.shape)
    without = (residual - h[:, :, None] * own).astype(np.float32)
    again, _, _ = explained(without, weight, y, x, 100.0, physics_of(), own)
    np.testing.assert_allclose(again, alone, rtol=1e-4, atol=1e-3)


def drawn_light(energy, c, cv, n):
    scratch = new_scratch(HALF, n, whole_blocks(n))
    scratch.matched[:] = c
    scratch.on[:] = 1.0
    scratch.on[::5] = 0.0
    total = _draw_light(np.uint64(77), 100.0, energy, physics_of(cv=cv), scratch)
    return scratch, total


@pytest.mark.parametrize(("c", "cv"), [(1.0, 0.2), (0.8, 0.1), (1.3, 0.3)])
def test_drawn_light_is_normal_with_the_conditional_mean_and_variance(c, cv):
    """Kolmogorov–Smirnov p > 1e-4 against N((a + V c)/(1 + V G), V/(1 + V G))."""
    energy, n = 0.01, 40_000
    scratch, total = drawn_light(energy, c, cv, n)
    variance = (100.0 * cv) ** 2
    mean = (100.0 + variance * c) / (1.0 + variance * energy)
    sd = np.sqrt(variance / (1.0 + variance * energy))
    light = scratch.new[: scratch.on.size].astype(np.float64)
    assert not light[::5].any()
    assert total == pytest.approx(light.sum(), rel=1e-4)
    emitting = light[scratch.on == 1.0]
    assert kstest((emitting - mean) / sd, "norm").pvalue > 1e-4


def test_drawn_light_is_positive_where_the_frame_says_dark():
    scratch, _ = drawn_light(0.01, -20.0, 0.4, 200)
    np.testing.assert_allclose(
        scratch.new[: scratch.on.size][scratch.on == 1.0], 100.0 * MIN_LIGHT_SHARE, rtol=1e-6
    )


def test_drawn_flux_weighs_its_prior_against_its_emitting_frames():
    """Precision 1/s² + n/(cv a)², mean between the prior and the mean light; |z| ≤ 4.5."""
    physics, n_on, total, a = physics_of(flux_sd=8.0, cv=0.3), 30.0, 30.0 * 120.0, 110.0
    flux = np.array(
        [
            _draw_flux(np.uint64(mix(np.uint64(5), np.uint64(k))), a, total, n_on, physics)
            for k in range(6000)
        ]
    )
    precision = 1 / 8.0**2 + n_on / (0.3 * a) ** 2
    mean = (100.0 / 8.0**2 + total / (0.3 * a) ** 2) / precision
    assert abs(flux.mean() - mean) * np.sqrt(precision * 6000) < 4.5
    assert abs(flux.var() * precision - 1.0) < 4.5 * np.sqrt(2 / 6000)


def test_counted_transitions_are_those_of_the_path(blinking_paths):
    rng = np.random.default_rng(6)
    for chain in (CHAIN, BlinkingChain(0.5, 0.3, 0.2), BlinkingChain(0.2, 0.0, 0.4)):
        for path in blinking_paths(chain, 40, 30, rng):
            counts = np.zeros(8)
            on = (path == EMITTING).astype(np.float32)
            bleach_frame = int((path != BLEACHED).sum())
            assert _count(on, bleach_frame, counts) == on.sum()
            steps = list(pairwise(path))
            moves = (EMITTING, EMITTING), (EMITTING, DARK), (DARK, EMITTING), (DARK, DARK)
            expected = [steps.count(move) for move in (*moves, (DARK, BLEACHED))]
            expected += [int(path[0] == state) for state in (EMITTING, DARK, BLEACHED)]
            np.testing.assert_array_equal(counts, expected)


@pytest.fixture(scope="module")
def swept(known_movie):
    """A crowded tile after sweeps with births, deaths and moves, and the number of each."""
    rng = np.random.default_rng(0)
    y, x = rng.uniform(0.0, 15.0, (2, 60))
    movie = known_movie(y, x, (16, 16), 50, chain=CHAIN, noise=8.0)
    tile = OneTile(movie.frames, 8.0, physics_of(), expected=60.0, n_slots=240, n_candidates=60)
    before = tile.field.residual.copy()
    births = deaths = moves = 0
    for _ in range(12):
        alive, place = tile.slots.alive.copy(), tile.slots.y.copy()
        tile.sweep(decide=True)
        births += (tile.slots.alive > alive).sum()
        deaths += (tile.slots.alive < alive).sum()
        moves += ((tile.slots.alive & alive) & (tile.slots.y != place)).sum()
    return tile, before, (births, deaths, moves)


def test_residual_is_the_movie_minus_the_light_of_live_emitters(swept):
    tile, movie, events = swept
    assert min(events) > 20
    error = tile.field.residual - (movie - tile.rendered())
    assert np.abs(error).max() < 1e-3


def test_taking_all_emitters_out_of_the_movie_gives_the_same_residual(swept):
    tile, movie, _ = swept
    fresh = tile.field._replace(residual=movie.copy())
    subtract_emitters(tile.slots, fresh, tile.physics)
    np.testing.assert_allclose(fresh.residual, tile.field.residual, atol=1e-3)


def test_live_emitters_carry_light_only_where_they_emit(swept):
    tile, _, _ = swept
    light, bleach = tile.slots.light[tile.live], tile.slots.bleach_frame[tile.live]
    after = np.arange(light.shape[1]) >= bleach[:, None]
    assert not light[after].any()
    least = MIN_LIGHT_SHARE * 0.15 * 100.0
    assert light[light > 0].min() >= least
    assert (tile.slots.p_real[tile.live] > 0).all()
    assert (tile.slots.p_real <= 1).all()


def cramer_rao_px(light, y, x, noise, shape):
    """Least standard deviation of y and of x given the light of every frame."""
    step = 1e-4
    dy = (psf_image(y + step, x, shape) - psf_image(y - step, x, shape)) / (2 * step)
    dx = (psf_image(y, x + step, shape) - psf_image(y, x - step, shape)) / (2 * step)
    return noise / np.sqrt((light**2).sum() * np.array([(dy**2).sum(), (dx**2).sum()]))


def sampled_positions(known_movie, y, x, shape, beta):
    """Sampled positions of isolated emitters (sweeps, N, 2), their bounds and stated deviations."""
    noise = 10.0
    movie = known_movie(y, x, shape, 40, chain=BlinkingChain(0.4, 0.3), flux=300.0, noise=noise)
    physics = physics_of(flux_mean=300.0, flux_sd=30.0, beta=beta)
    tile = OneTile(movie.frames, noise, physics, expected=25.0, n_slots=len(y), n_candidates=0)
    tile.place(y + 0.15, x - 0.15, 300.0, movie.light.astype(np.float32))
    samples = []
    for _ in range(330):
        tile.sweep(decide=False)
        samples.append(tile.positions)
    bound = [cramer_rao_px(*e, noise, shape) for e in zip(movie.light, y, x, strict=True)]
    return np.array(samples[30:]), np.array(bound), 1 / np.sqrt(tile.slots.precision)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_positions_of_isolated_emitters_reach_the_cramer_rao_bound(known_movie, beta):
    """Posterior width is bound/√β within 5 %; errors of 25 emitters are unbiased and as wide."""
    n, rng = 5, np.random.default_rng(2)
    y, x = (np.mgrid[:n, :n].reshape(2, -1) + 0.5) * ISOLATED_PX + rng.uniform(-1, 1, (2, n * n))
    side = n * ISOLATED_PX
    samples, bound, stated = sampled_positions(known_movie, y, x, (side, side), beta)
    width = samples.std(axis=0) / bound * np.sqrt(beta)
    assert 0.95 < width.mean() < 1.05
    z = (samples.mean(axis=0) - np.column_stack([y, x])) / bound
    assert abs(z.mean()) * np.sqrt(z.size) < 4.5
    assert 1e-4 < chi2.sf((z**2).sum(), z.size) < 1 - 1e-4
    assert (stated / bound * np.sqrt(beta)).mean() == pytest.approx(1.0, abs=0.05)


def test_positions_on_the_border_are_unbiased(known_movie):
    """Half of the PSF is cut off; 20 emitters, |z| of the mean and χ² of the errors inwards."""
    n, rng = 5, np.random.default_rng(3)
    side = n * ISOLATED_PX
    along = (np.arange(n) + 0.5) * ISOLATED_PX
    near, far = np.full(n, -0.3), np.full(n, side - 0.7)
    y = np.concatenate([near, far, along, along])
    x = np.concatenate([along, along, near, far]) + rng.uniform(-0.1, 0.1, 4 * n)
    samples, bound, _ = sampled_positions(known_movie, y, x, (side, side), 1.0)
    z = (samples.mean(axis=0) - np.column_stack([y, x])) / bound
    inwards = np.concatenate([z[:n, 0], -z[n : 2 * n, 0], z[2 * n : 3 * n, 1], -z[3 * n :, 1]])
    assert abs(inwards.mean()) * np.sqrt(inwards.size) < 4.5
    assert chi2.sf((inwards**2).sum(), inwards.size) > 1e-4


PAIR = np.array([[7.72, 7.18], [7.08, 7.82]])
"""0.9 px apart, 0.8 σ: a single frame does not tell one emitter from the other."""


def swept_pair(known_movie, place, *, reach=0.0):
    """Numbers, positions and paths of the emitters that explain two that are never on together.

    `place` makes the initial positions and light from the movie.
    """
    phase = np.arange(90) % 9
    on = np.stack([phase < 2, (phase >= 4) & (phase < 6)])
    flux, noise, chain = 250.0, 8.0, BlinkingChain(0.5, 0.2, 0.001)
    paths = np.where(on, EMITTING, DARK)
    movie = known_movie(*PAIR.T, (16, 16), 90, paths=paths, flux=flux, noise=noise)
    physics = physics_of(flux_mean=flux, flux_sd=25.0, matrix=chain.matrix, start=chain.start)
    physics = physics._replace(reach=reach)
    tile = OneTile(movie.frames, noise, physics, expected=2.0, n_slots=40, n_candidates=2)
    start, light = place(movie)
    tile.place(*start.T, flux, light.astype(np.float32))
    states = []
    for k in range(200):
        tile.sweep(decide=True)
        if k >= 50:
            order = np.argsort(tile.positions[:, 1])
            states.append((tile.positions[order], tile.slots.light[tile.live, :90][order] > 0))
    pairs = [state for state in states if len(state[0]) == 2]
    return len(pairs) / len(states), pairs, on


def test_two_emitters_closer_than_a_pixel_find_their_places_by_their_blinking(known_movie):
    middle = np.tile(PAIR.mean(axis=0), (2, 1))
    share, pairs, on = swept_pair(known_movie, lambda movie: (middle, movie.light))
    assert share > 0.8
    np.testing.assert_allclose(np.mean([p for p, _ in pairs], axis=0), PAIR, atol=0.2)
    assert np.mean((np.mean([path for _, path in pairs], axis=0) > 0.5) == on) > 0.9


@pytest.mark.parametrize("reach", [0.0, 0.6])
def test_emitters_that_share_the_emissions_of_two_part_if_they_exchange_them(known_movie, reach):
    """Each begins with every other burst of both; bright ones never leave who has them."""

    def place(movie):
        middle = PAIR.mean(axis=0) + 0.05 * np.array([[1.0, -1.0], [-1.0, 1.0]])
        even = np.arange(90) // 9 % 2 == 0
        return middle, np.where(even, movie.light, movie.light[::-1])

    share, pairs, on = swept_pair(known_movie, place, reach=reach)
    assert share > 0.8
    right = np.mean([path == on for _, path in pairs])
    first, second = np.mean([p for p, _ in pairs], axis=0)
    if reach > 0.0:
        assert right > 0.95
        np.testing.assert_allclose([first, second], PAIR, atol=0.1)
    else:
        assert right < 0.9
        assert np.hypot(*(second - first)) < 0.5 * np.hypot(*(PAIR[1] - PAIR[0]))
