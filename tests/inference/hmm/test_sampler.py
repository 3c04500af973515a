"""The sampler over a whole field: tiles, prior, workers and the parameters it learns."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from scipy.stats import chi2

from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.hmm.sampler import Prior, Sampler

CHAIN = BlinkingChain(0.4, 0.3, 0.01)
NOISE = 10.0


def projection_of(shape, *, margin_px=2, factor=4):
    camera = PixelGrid(shape, 160.0)
    return Projection(camera.pad(margin_px).refine(factor), camera, GaussianPSF(422.0))


def prior_of(intensity, *, flux=100.0, chain=CHAIN):
    return Prior(np.asarray(intensity, np.float32), flux, 0.1 * flux, 0.2, chain)


def flat(projection, n_emitters):
    shape = projection.fine.shape
    return np.full(shape, n_emitters / (shape[0] * shape[1]), np.float32)


def sampler_of(frames, projection, prior, *, noise=NOISE, seed=1, beta=1.0, exchanging=False):
    weight = np.full(frames.shape[1:], 1.0 / noise**2, np.float32)
    return Sampler(
        frames, weight, projection=projection, prior=prior, beta=beta, seed=seed,
        exchanging=exchanging,
    )  # fmt: skip


def noise_frames(shape, n_frames, *, sd=NOISE, seed=0):
    return np.random.default_rng(seed).normal(0.0, sd, (n_frames, *shape)).astype(np.float32)


@pytest.fixture(scope="module")
def crowd(known_movie):
    """150 emitters in 24×24 pixels, 40 frames."""
    y, x = np.random.default_rng(4).uniform(-0.5, 23.5, (2, 150))
    return known_movie(y, x, (24, 24), 40, chain=CHAIN)


def sampled(movie, *, seed, n_workers, exchanging):
    projection = movie.projection(margin_px=4)
    prior = prior_of(flat(projection, 200))
    sampler = sampler_of(movie.frames, projection, prior, seed=seed, exchanging=exchanging)
    with ThreadPoolExecutor(n_workers) as executor:
        for k in range(5):
            pool = executor if n_workers > 1 else None
            sampler.sweep(decide=k > 0, executor=pool, n_workers=n_workers)
            sampler.update_background(4.0)
            sampler.update_noise()
            sampler.update_chain()
    return sampler


@pytest.mark.parametrize("exchanging", [False, True])
def test_workers_do_not_change_a_bit_and_seeds_do(crowd, exchanging):
    run = partial(sampled, crowd, exchanging=exchanging)
    one, two, three = (run(seed=7, n_workers=n) for n in (1, 2, 3))
    for other in (two, three):
        for a, b in zip(one.slots, other.slots, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one.field.residual, other.field.residual)
        np.testing.assert_array_equal(one.physics.matrix, other.physics.matrix)
    again = run(seed=8, n_workers=1)
    assert not np.array_equal(one.field.residual, again.field.residual)
    assert not np.array_equal(one.slots.y[one.live], again.slots.y[again.live])


def test_first_residual_is_the_movie_minus_the_initial_emitters(crowd):
    projection = crowd.projection(margin_px=4)
    sampler = sampler_of(crowd.frames, projection, prior_of(flat(projection, 200)))
    assert sampler.live.size > 100
    light = sampler.slots.light[sampler.live].sum(dtype=float)
    taken = crowd.frames.sum(dtype=float) - sampler.field.residual.sum(dtype=float)
    # The window of 7×7 pixels does not hold the last half per cent of a PSF.
    assert 0.99 * light < taken < light
    outside = np.ones(sampler.field.weight.shape, bool)
    outside[sampler._inside] = False
    assert not sampler.field.weight[outside].any()
    assert set(np.unique(sampler.slots.light[sampler.live])) == {0.0, 100.0}


def test_initial_emitters_follow_the_prior():
    """Number within 4.5 standard deviations of Poisson, places where the density is."""
    projection = projection_of((16, 16))
    intensity = flat(projection, 0.0)
    intensity[20:30, 40:60] = 2.0
    sampler = sampler_of(noise_frames((16, 16), 4), projection, prior_of(intensity))
    assert abs(sampler.live.size - 400) < 4.5 * 20
    y, x = sampler.fine_positions(sampler.live)
    margin = 2 * 4
    assert ((y + margin >= 19.5) & (y + margin < 29.5)).all()
    assert ((x + margin >= 39.5) & (x + margin < 59.5)).all()


def test_fine_positions_start_at_the_corner_of_the_field():
    """The centre of camera pixel (0, 0) is fine coordinate (f − 1)/2."""
    projection = projection_of((16, 16))
    sampler = sampler_of(noise_frames((16, 16), 4), projection, prior_of(flat(projection, 5)))
    sampler.slots.y[:1], sampler.slots.x[:1] = sampler.pad_px, sampler.pad_px + 2
    y, x = sampler.fine_positions(np.array([0]))
    np.testing.assert_allclose([y[0], x[0]], [1.5, 9.5])


@pytest.fixture(scope="module", params=[False, True], ids=["by prior", "near emitters"])
def blind(request):
    """The prior intensity (200 emitters, rough) and what 2000 sweeps of an unseen movie draw.

    Weight zero makes every movie equally likely: the posterior is the prior, wherever half of the
    candidates come from.
    """
    projection = projection_of((12, 12))
    rng = np.random.default_rng(0)
    intensity = rng.gamma(0.5, 1.0, projection.fine.shape)
    intensity[24:40, 24:40] = 0.0
    intensity *= 200.0 / intensity.sum()
    sampler = sampler_of(
        noise_frames((12, 12), 4), projection, prior_of(intensity), noise=np.inf, seed=5
    )
    sampler.set_prior(sampler.prior, expand=request.param)
    numbers, counts = [], np.zeros(intensity.shape)
    for k in range(2000):
        sampler.sweep(decide=True, executor=None, n_workers=1)
        numbers.append(sampler.live.size)
        if k % 10 == 0:
            y, x = (np.floor(p + 8.5).astype(int) for p in sampler.fine_positions(sampler.live))
            np.add.at(counts, (y, x), 1)
    return intensity, np.array(numbers), counts


def independent_draws(numbers, power):
    """Draws worth the chain for a moment whose lag correlation is r^power: n (1 − ρ) / (1 + ρ)."""
    rho = np.corrcoef(numbers[:-1], numbers[1:])[0, 1] ** power
    return len(numbers) * (1 - rho) / (1 + rho)


def test_without_data_the_number_of_emitters_has_the_mean_of_the_prior(blind):
    """|z| ≤ 4.5, for Σ intensity = 200."""
    _, numbers, _ = blind
    assert abs(numbers.mean() - 200.0) < 4.5 * np.sqrt(200.0 / independent_draws(numbers, 1))


def test_without_data_the_number_of_emitters_varies_like_poisson(blind):
    """Variance ÷ mean is 1 within 4.5 standard errors √(2/n)."""
    _, numbers, _ = blind
    ratio = numbers.var() / 200.0
    assert abs(ratio - 1.0) < 4.5 * np.sqrt(2.0 / independent_draws(numbers, 2))


def test_without_data_the_places_follow_the_prior(blind):
    """χ² over the fine pixels with at least 5 expected emitters, p > 1e-4; none where it is 0."""
    intensity, _, counts = blind
    assert not counts[intensity == 0.0].any()
    expected = intensity / intensity.sum() * counts.sum()
    common = expected >= 5
    assert common.sum() > 300
    o = np.append(counts[common], counts[~common].sum())
    e = np.append(expected[common], expected[~common].sum())
    p = chi2.sf(((o - e) ** 2 / e).sum(), len(e) - 1)
    assert 1e-4 < p < 1 - 1e-4


@pytest.mark.parametrize("exchanging", [False, True])
def test_without_data_fluxes_and_paths_follow_the_prior(exchanging):
    """Flux mean and deviation, on-fraction and bleached share; 4 % of about 4000 emitters."""
    projection = projection_of((16, 16))
    prior = prior_of(flat(projection, 4000), flux=100.0)
    frames = noise_frames((16, 16), 30)
    sampler = sampler_of(frames, projection, prior, noise=np.inf, exchanging=exchanging)
    for _ in range(12):
        sampler.sweep(decide=True, executor=None, n_workers=1)
    live, on = sampler.live, sampler.slots.light[sampler.live, :30] > 0
    flux = sampler.slots.flux[live]
    assert flux.mean() == pytest.approx(100.0, rel=0.01)
    assert flux.std() == pytest.approx(10.0, rel=0.05)
    assert on.mean() == pytest.approx(CHAIN.on_fraction(30).mean(), rel=0.04)
    mortal = CHAIN.start @ np.linalg.matrix_power(CHAIN.matrix, 29)
    bleached = (sampler.slots.bleach_frame[live] < 30).mean()
    assert bleached == pytest.approx(mortal[2], rel=0.15)


def test_more_expected_emitters_than_slots_keep_the_live_ones(crowd):
    """A new prior asks for more candidates than the table holds; nobody is lost or moved."""
    projection = crowd.projection(margin_px=4)
    sampler = sampler_of(crowd.frames, projection, prior_of(flat(projection, 200)))
    sampler.sweep(decide=True, executor=None, n_workers=1)
    before = {name: column[sampler.live].copy() for name, column in sampler.slots._asdict().items()}
    n_slots, live = sampler.slots.alive.size, sampler.live
    sampler.set_prior(prior_of(flat(projection, 3000)))
    order, ends = sampler._tile_order(births=True)
    assert sampler.slots.alive.size > n_slots
    assert ends[-1] == order.size
    assert len(set(order.tolist())) == order.size
    assert set(live.tolist()) <= set(order.tolist())
    for name, column in sampler.slots._asdict().items():
        np.testing.assert_array_equal(column[live], before[name], err_msg=name)
    sampler.sweep(decide=True, executor=None, n_workers=1)
    assert sampler.live.size > live.size


def test_tiles_hold_the_emitters_they_are_visited_with(crowd):
    projection = crowd.projection(margin_px=4)
    sampler = sampler_of(crowd.frames, projection, prior_of(flat(projection, 200)))
    order, ends = sampler._tile_order(births=False)
    side, n_columns = sampler.tile_px, sampler.guide.n_columns
    for tile in range(len(ends) - 1):
        slots = order[ends[tile] : ends[tile + 1]]
        row, column = np.rint([sampler.slots.y[slots], sampler.slots.x[slots]]).astype(int) // side
        np.testing.assert_array_equal(row * n_columns + column, tile)
    # Windows of emitters in tiles of one colour never touch: half width + one pixel of move.
    assert side >= 2 * (sampler.physics.half + 1)


def test_candidates_come_from_the_prior_so_their_odds_are_even():
    """Density cancels in the odds of a candidate: constant over a tile, impossible where it is 0.

    Their level is tested by the number of emitters without data.
    """
    projection = projection_of((20, 28))
    rng = np.random.default_rng(1)
    intensity = rng.gamma(1.0, 0.05, projection.fine.shape).astype(np.float32)
    intensity[:25] = 0.0
    prior = prior_of(intensity)
    sampler = sampler_of(noise_frames((20, 28), 4), projection, prior)
    guide, side = sampler.guide, sampler.tile_px * sampler.factor
    density = np.exp(guide.log_prior.astype(np.float64))
    assert density.sum() == pytest.approx(intensity.sum(), rel=1e-5)
    for tile, cumulative in enumerate(guide.cumulative):
        row, column = divmod(tile, guide.n_columns)
        block = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
        mass = density[block].sum()
        if mass == 0.0:
            continue
        share = np.diff(cumulative, prepend=0.0).reshape(side, side)
        np.testing.assert_allclose(share, density[block] / mass, atol=1e-6)
        odds = guide.log_odds[block]
        assert np.isneginf(odds[density[block] == 0.0]).all()
        assert np.ptp(odds[density[block] > 0.0]) < 1e-5


def test_a_new_prior_keeps_the_learnt_chain():
    projection = projection_of((16, 16))
    sampler = sampler_of(noise_frames((16, 16), 20), projection, prior_of(flat(projection, 50)))
    sampler.sweep(decide=True, executor=None, n_workers=1)
    sampler.update_chain()
    learnt = sampler.chain
    assert learnt != CHAIN
    sampler.set_prior(prior_of(flat(projection, 80), flux=130.0))
    assert sampler.chain == learnt
    assert sampler.physics.flux_mean == 130.0
    assert sampler.physics.flux_sd == pytest.approx(13.0)


def test_on_fraction_is_that_of_the_chain():
    projection = projection_of((16, 16))
    sampler = sampler_of(noise_frames((16, 16), 35), projection, prior_of(flat(projection, 5)))
    assert sampler.on_fraction() == pytest.approx(CHAIN.on_fraction(35).mean(), rel=1e-9)


def test_background_updates_never_add_and_take_out_a_slow_trend():
    """Repeated 300 times the change per update falls and a slow trend is gone; pixels differ less
    than the change common to all."""
    projection = projection_of((16, 16))
    frames = noise_frames((16, 16), 120, sd=1.0)
    trend = 30.0 * np.sin(2 * np.pi * np.arange(120) / 120) + 5.0
    sampler = sampler_of(frames, projection, prior_of(flat(projection, 0.0)), noise=1.0)
    sampler.residual[...] += trend.astype(np.float32)
    changes, pattern = [], sampler.residual - sampler.residual.mean(axis=(0, 1))
    for _ in range(300):
        before = sampler.residual.mean(axis=(0, 1))
        sampler.update_background(4.0)
        changes.append(np.linalg.norm(sampler.residual.mean(axis=(0, 1)) - before))
    assert changes[0] > 100.0
    assert (np.diff(changes) < 1e-3).all()
    assert changes[-1] < 0.02
    slow = np.fft.rfft(sampler.residual.mean(axis=(0, 1)))[:4]
    assert np.abs(slow).max() < 0.01 * np.abs(np.fft.rfft(trend)[1])
    after = sampler.residual - sampler.residual.mean(axis=(0, 1))
    np.testing.assert_allclose(after, pattern, atol=1e-3)


def test_noise_update_finds_the_true_variance():
    """Stated variance 100, true 150: scale 1.5 within 4.5 standard errors, weights follow."""
    projection = projection_of((16, 16))
    frames = noise_frames((16, 16), 200, sd=np.sqrt(150.0))
    sampler = sampler_of(frames, projection, prior_of(flat(projection, 0.0)))
    for _ in range(2):
        sampler.update_noise()
        assert abs(sampler.noise_scale - 1.5) < 4.5 * 1.5 * np.sqrt(2 / frames.size)
    inside = sampler.field.weight[sampler.field.weight > 0]
    np.testing.assert_allclose(inside, 0.01 / sampler.noise_scale, rtol=1e-6)


def test_chain_update_is_the_posterior_mean_of_its_dirichlet_rows(crowd):
    projection = crowd.projection(margin_px=4)
    sampler = sampler_of(crowd.frames, projection, prior_of(flat(projection, 150)))
    sampler.sweep(decide=False, executor=None, n_workers=1)
    on = sampler.slots.light[sampler.live, :40] > 0
    bleach = sampler.slots.bleach_frame[sampler.live]
    later, sooner = on[:, 1:], on[:, :-1]
    alive = np.arange(1, 40) < bleach[:, None]
    counts = np.array(
        [
            [(sooner & later).sum(), (sooner & ~later).sum(), 0],
            [(~sooner & later).sum(), (~sooner & ~later & alive).sum(), 0],
        ],
        float,
    )
    counts[1, 2] = ((bleach > 0) & (bleach < 40)).sum()
    expected = counts + 100.0 * CHAIN.matrix[:2]
    sampler.update_chain()
    # Once more: the prior is that of the beginning, not what was learnt.
    sampler.update_chain()
    np.testing.assert_allclose(
        sampler.physics.matrix[:2], expected / expected.sum(axis=1, keepdims=True), rtol=1e-12
    )
    np.testing.assert_array_equal(sampler.physics.matrix[2], [0.0, 0.0, 1.0])
    first = np.array([on[:, 0].sum(), (~on[:, 0] & (bleach > 0)).sum(), (bleach == 0).sum()])
    start = first + 10.0 * CHAIN.start
    np.testing.assert_allclose(sampler.physics.start, start / start.sum(), rtol=1e-12)


def lines(n, side, rng):
    """Positions on five wavy lines that cross."""
    line, along = rng.integers(5, size=n), rng.uniform(-0.5, side - 0.5, n)
    across = 6.4 * line + 2.7 + 2.0 * np.sin(2 * np.pi * along / side + line)
    across += rng.normal(0.0, 0.1, n)
    return np.where(line % 2 == 0, [across, along], [along, across])


def learnt_and_true_table(known_movie, truth, start, seed):
    """[P1..P5] learnt from a movie with known flux, number and noise, and what took place in it."""
    side, n, noise, flux = 32, 600, 10.0, 84.0
    y, x = lines(n, side, np.random.default_rng(seed))
    movie = known_movie(y, x, (side, side), 200, chain=truth, flux=flux, noise=noise, seed=seed)
    projection = movie.projection(margin_px=2)
    mean = movie.frames.mean(axis=0)
    guide = richardson_lucy(mean, np.zeros_like(mean), projection, n_iterations=100)
    intensity = n * (0.95 * guide / guide.sum() + 0.05 / guide.size)
    sampler = sampler_of(movie.frames, projection, prior_of(intensity, flux=flux, chain=start))
    matrices = []
    for k in range(60):
        sampler.sweep(decide=k > 0, executor=None, n_workers=1)
        sampler.update_chain()
        if k >= 20:
            matrices.append(sampler.physics.matrix)
    counts = np.zeros((3, 3))
    np.add.at(counts, (movie.paths[:, :-1], movie.paths[:, 1:]), 1)
    return [
        BlinkingChain.from_matrix(matrix / matrix.sum(axis=1, keepdims=True)).table
        for matrix in (np.mean(matrices, axis=0), counts)
    ]


def test_transition_table_is_learnt_from_bleaching_movies(known_movie):
    """Every entry within 10 % over three movies, from a table that is off by 13 to 75 %.

    600 emitters on lines (0.6 per camera pixel), peak ÷ noise 1, 200 frames, β = 1. Single movies
    scatter by 2 to 5 %.
    """
    truth, start = BlinkingChain(0.7, 0.25, 0.02), BlinkingChain(0.79, 0.305, 0.005)
    tables = [learnt_and_true_table(known_movie, truth, start, seed) for seed in range(3)]
    found, happened = np.mean(tables, axis=0)
    np.testing.assert_allclose(found, happened, rtol=0.10)
