"""The whole refinement on small movies: informative, empty, repeated."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.hmm import refinement
from dlbi.inference.hmm.refinement import MarkovChain, Schedule
from dlbi.inference.measurement.background import estimate_background
from dlbi.inference.measurement.moments import blinking_moments
from dlbi.inference.measurement.noise import fit_noise
from dlbi.inference.measurement.significance import light_z, p_dark, shows_light

SIDE, N_FRAMES, FACTOR, MARGIN_PX = 32, 150, 8, 4
CHAIN = BlinkingChain(0.79, 0.305, 0.005)
SCHEDULE = Schedule(n_sweeps=40, n_burn_in=16)


class Prepared:
    """A movie with everything the refinement takes."""

    def __init__(self, stack, projection):
        self.projection = projection
        mean = stack.mean()
        self.variance = fit_noise(stack).variance(mean)
        self.variance_of_mean = self.variance / np.float32(stack.n_frames)
        background = estimate_background(stack, mean, self.variance_of_mean)
        self.signal = mean - background.haze
        self.frames = stack.load() - background.trend[:, None, None] - background.haze
        self.guide = richardson_lucy(mean, background.haze, projection, n_iterations=100)
        self.moments = blinking_moments(stack, self.guide, projection, light_cv=0.3)

    @property
    def guide_in_field(self):
        margin = MARGIN_PX * FACTOR
        return self.guide[margin:-margin, margin:-margin]

    def chain(self, *, seed=1, schedule=SCHEDULE, variance=None, splitting=1.0, fading=None):
        return MarkovChain(
            self.frames, self.variance if variance is None else variance, self.guide,
            self.moments, self.projection, chain=CHAIN, schedule=schedule, seed=seed,
            splitting=splitting, fading=fading,
        )  # fmt: skip

    def refine(self, *, seed=1, n_workers=1, schedule=SCHEDULE, progress=None, variance=None):
        chain = self.chain(seed=seed, schedule=schedule, variance=variance)
        chain.run(schedule.n_sweeps, n_workers=n_workers, progress=progress)
        return chain.result()


@pytest.fixture(scope="module")
def rings(known_movie):
    """250 emitters on three rings, peak ÷ noise 2.4, on 100 counts."""
    rng = np.random.default_rng(0)
    radius, angle = rng.choice([4.0, 8.0, 12.0], 250), rng.uniform(0.0, 2.0 * np.pi, 250)
    y, x = 15.5 + radius * np.sin(angle), 15.5 + radius * np.cos(angle)
    return known_movie(y, x, (SIDE, SIDE), N_FRAMES, chain=CHAIN, flux=200.0, noise=10.0)


@pytest.fixture(scope="module")
def prepared(rings):
    return Prepared(ImageStack(rings.frames + np.float32(100.0), rings.grid), rings.projection())


@pytest.fixture(scope="module")
def results(prepared):
    """Two seeds."""
    return [prepared.refine(seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def true_counts(rings):
    truth = np.zeros((SIDE * FACTOR, SIDE * FACTOR))
    index = np.floor((np.stack([rings.y_px, rings.x_px]) + 0.5) * FACTOR).astype(int)
    np.add.at(truth, tuple(index), 1.0)
    return truth


def correlation(a, b, blur_px):
    a, b = (gaussian_filter(np.asarray(image, float), blur_px) for image in (a, b))
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_refined_density_is_nearer_to_the_emitters_than_the_guide(prepared, results, true_counts):
    """Correlation with the true emitters at 2 and 4 fine pixels, at least 0.03 and 0.01 ahead."""
    for result in results:
        for blur_px, lead in ((2.0, 0.03), (4.0, 0.01)):
            guide = correlation(prepared.guide_in_field, true_counts, blur_px)
            assert correlation(result.maps.mean(), true_counts, blur_px) > guide + lead


def test_two_seeds_agree(results):
    first, second = (result.maps.mean() for result in results)
    assert not np.array_equal(first, second)
    assert correlation(first, second, 4.0) > 0.97


def test_density_carries_the_light_of_the_movie(prepared, results, rings):
    """Within 10 %; what the projected density misses of the mean image is within its noise."""
    light = rings.light.mean(axis=1).sum()
    for result in results:
        density = result.maps.mean()
        assert density.min() >= 0.0
        assert density.sum() == pytest.approx(light, rel=0.10)
        margin = MARGIN_PX * FACTOR
        wide = np.pad(density, margin)
        misfit = (prepared.signal - prepared.projection.forward(wide)) / np.sqrt(
            prepared.variance_of_mean
        )
        assert np.sqrt(np.mean(misfit**2)) < 0.25 * np.sqrt(
            np.mean(prepared.signal**2 / prepared.variance_of_mean)
        )


def test_emitters_have_a_probability_and_a_place_in_the_field(results, rings):
    for emitters in (result.emitters for result in results):
        assert len(emitters) > 50
        assert emitters.p_real.min() > 0.0
        assert emitters.p_real.max() <= 1.0
        assert np.median(emitters.p_real) > 0.9
        for position in (emitters.x_nm, emitters.y_nm):
            assert position.min() >= 0.0
            assert position.max() < rings.grid.extent_nm[0]
        assert (emitters.frames_on >= 0).all()
        assert (emitters.frames_on <= emitters.bleach_frame).all()
        assert (emitters.bleach_frame <= N_FRAMES).all()
        deviation_nm = np.median(np.stack([emitters.sd_x_nm, emitters.sd_y_nm]))
        assert 1.0 < deviation_nm < 160.0
        assert (emitters.photons > 0).all()


def test_emitters_lie_on_the_rings(results):
    """Median distance below 40 nm, a quarter of a camera pixel; at random it would be 213 nm."""
    for emitters in (result.emitters for result in results):
        y, x = emitters.y_nm / 160.0 - 0.5 - 15.5, emitters.x_nm / 160.0 - 0.5 - 15.5
        radius = np.hypot(y, x)
        distance = np.abs(radius[:, None] - [4.0, 8.0, 12.0]).min(axis=1)
        assert np.median(distance) * 160.0 < 40.0


def test_learnt_parameters_are_near_the_truth(results):
    """Flux within 15 %, on- and off-rate within 30 %, noise of the model within 20 %."""
    for result in results:
        assert result.flux == pytest.approx(200.0, rel=0.15)
        table = np.array(result.chain.table)
        np.testing.assert_allclose(table[1:4], np.array(CHAIN.table)[1:4], rtol=0.3)
        assert result.noise_scale == pytest.approx(1.0, abs=0.2)
        assert result.identifiable
        assert 100 < result.n_live[-1] < 450


def test_emitters_that_stand_for_several_fluorophores_blink_like_them_together(
    prepared, monkeypatch
):
    """Room for a third of the fluorophores: flux · (g − q), the second cumulant ÷ light, stays.

    Emitters that blinked like one of them, with three times its flux, would have three times that.
    """
    monkeypatch.setattr(refinement, "MAX_EMITTERS_PER_PX", 80 / SIDE**2)
    g = 1.0 + prepared.moments.light_cv**2
    chain = prepared.chain()
    start = chain._sampler.prior
    steady = start.chain.steady_on_fraction
    assert start.flux_mean * (g - steady) == pytest.approx(prepared.moments.contrast, rel=0.05)
    chain.run(SCHEDULE.n_sweeps)
    result = chain.result()
    assert not result.identifiable
    assert 0.15 < result.per_fluorophore < 0.5
    learnt = result.chain.steady_on_fraction
    assert learnt > 1.4 * CHAIN.steady_on_fraction
    assert result.flux * (g - learnt) == pytest.approx(prepared.moments.contrast, rel=0.3)


def test_split_fluorophores_emit_more_rarely_with_the_same_light_and_contrast(prepared):
    """Three times as many emitters, each on a third of the time; never more than there may be."""
    whole, split = (prepared.chain(splitting=n)._sampler.prior for n in (1.0, 3.0))
    g = 1.0 + prepared.moments.light_cv**2
    steady = [prior.chain.steady_on_fraction for prior in (whole, split)]
    assert steady[1] == pytest.approx(steady[0] / 3.0)
    assert split.chain.emitting_to_dark == whole.chain.emitting_to_dark
    for prior, on in zip((whole, split), steady, strict=True):
        assert prior.flux_mean * (g - on) == pytest.approx(prepared.moments.contrast, rel=1e-6)
    assert 2.5 < split.intensity.sum() / whole.intensity.sum() < 4.5
    chain = prepared.chain(splitting=3.0)
    chain.run(20)
    assert chain.result().per_fluorophore == pytest.approx(3.0)
    assert not chain.result().identifiable


def test_fluorophores_are_not_split_beyond_the_most_emitters_that_there_may_be(
    prepared, monkeypatch
):
    most = 400
    monkeypatch.setattr(refinement, "MAX_EMITTERS_PER_PX", most / SIDE**2)
    chain = prepared.chain(splitting=50.0)
    assert chain._sampler.prior.intensity.sum() <= 1.01 * most
    chain.run(20)
    assert 1.0 < chain.result().per_fluorophore < 5.0


def test_emitters_exchange_emissions_within_half_a_psf_width_only_where_fluorophores_are_split(
    prepared,
):
    sampler = prepared.chain()._sampler
    assert sampler.physics.reach == 0.0
    split = prepared.chain(splitting=3.0)._sampler
    assert split.physics.reach == pytest.approx(0.5 * split.physics.sigma)


def test_diagnostics_are_finite_plain_values(results):
    for result in results:
        plain = json.loads(json.dumps(result.diagnostics(), allow_nan=False))
        assert len(plain["n_live"]) == SCHEDULE.n_sweeps
        numbers = [plain["flux"], plain["noise_scale"], *plain["table_p1_to_p5"], *plain["n_live"]]
        assert np.isfinite(numbers).all()


def test_maps_keep_only_the_sweeps_after_burn_in(results):
    for result in results:
        assert result.maps.n_sweeps == SCHEDULE.n_sweeps - SCHEDULE.n_burn_in
        assert result.maps.mean().shape == (SIDE * FACTOR, SIDE * FACTOR)
        p_empty = result.maps.p_empty()
        on_rings = result.maps.mean() > np.quantile(result.maps.mean(), 0.97)
        assert p_empty[on_rings].mean() < 0.4
        assert np.median(p_empty) > 0.9


def test_emissions_count_as_the_movie_fades(prepared):
    """Light ∝ Σ fading · emission ÷ Σ fading²; one that fades with the movie has its mean light."""
    chain = prepared.chain(fading=np.linspace(2.0, 0.0, N_FRAMES).astype(np.float32))
    steady = prepared.chain()
    light = chain._sampler.slots.light
    live = chain._sampler.live[:3]
    light[live] = 0.0
    light[live[0], :N_FRAMES] = 30.0 * np.linspace(2.0, 0.0, N_FRAMES)
    light[live[1], 0], light[live[2], N_FRAMES - 1] = 60.0, 60.0
    first, early, late = chain._light(live)
    assert first == pytest.approx(30.0, rel=1e-5)
    assert early == pytest.approx(60.0 * 2.0 / np.sum(np.linspace(2.0, 0.0, N_FRAMES) ** 2))
    assert late == 0.0
    steady._sampler.slots.light[live] = light[live]
    np.testing.assert_allclose(
        steady._light(live), [30.0, 60.0 / N_FRAMES, 60.0 / N_FRAMES], rtol=1e-5
    )


def test_workers_do_not_change_the_result(prepared):
    schedule = Schedule(n_sweeps=8, n_burn_in=5)
    steps = []
    one = prepared.refine(schedule=schedule, progress=steps.append)
    two = prepared.refine(schedule=schedule, n_workers=2)
    np.testing.assert_array_equal(one.maps.mean(), two.maps.mean())
    np.testing.assert_array_equal(one.emitters.x_nm, two.emitters.x_nm)
    assert one.chain == two.chain
    assert one.n_live == two.n_live
    assert steps == list(range(1, 9))


def test_a_wrong_noise_level_is_found(prepared, results):
    """Half the noise variance given: the scale is twice as large within 10 %."""
    wrong = prepared.refine(variance=0.5 * prepared.variance)
    assert wrong.noise_scale == pytest.approx(2.0 * results[0].noise_scale, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_noise_alone_shows_no_structure(seed, rings):
    """The light found is what chance leaves in the mean image, and no test calls it light.

    Projected on the camera it stays below 2.5 standard deviations of the mean image everywhere
    and below 0.6 on average; emitters are too dim to be seen in a frame; p(no fluorophore) with
    the test of the mean image is nowhere small.
    """
    rng = np.random.default_rng(seed)
    frames = rng.normal(100.0, 10.0, (N_FRAMES, SIDE, SIDE)).astype(np.float32)
    null = Prepared(ImageStack(frames, PixelGrid((SIDE, SIDE), 160.0)), rings.projection())
    result = null.refine(schedule=Schedule(n_sweeps=20, n_burn_in=10))
    wide = np.pad(result.maps.mean(), MARGIN_PX * FACTOR)
    light = null.projection.forward(wide) / np.sqrt(null.variance_of_mean)
    assert light.max() < 2.5
    assert light.mean() < 0.6
    # 12 % of an emitter's light falls on its central pixel.
    assert 0.12 * result.flux < 0.5 * 10.0
    assert abs(null.moments.contrast) < 40.0
    z = light_z(null.signal, null.variance_of_mean, null.projection.psf.sigma_px(160.0))
    assert not shows_light(z)
    assert np.maximum(result.maps.p_empty(), p_dark(z, FACTOR)).min() > 1e-4
    assert np.isfinite(result.diagnostics()["table_p1_to_p5"]).all()
