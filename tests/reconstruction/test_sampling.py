from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.inference.hmm import refinement
from dlbi.inference.hmm.refinement import Schedule
from dlbi.inference.hmm.start import SPLITTING_NATS, KnownBlinking
from dlbi.inference.measurement.background import Background
from dlbi.inference.uncertainty import PAIRED_LOG_ODDS, PAIRED_SHARE, SHARED_SHARE, occupancy
from dlbi.reconstruction import sampling
from dlbi.reconstruction.measurement import (
    MARGIN_PX,
    Movie,
    deconvolve,
    measure,
    projection_of,
)
from dlbi.reconstruction.sampling import Sampled, sample
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

SHORT = Schedule(n_sweeps=12, n_burn_in=6)
SETTLED = Schedule(n_sweeps=40, n_burn_in=15)


@pytest.fixture(scope="module")
def scene(movie):
    """Movie, guide and projection as the pipeline gives them to the sampler."""
    return _scene(movie.stack, movie.scene.microscope.psf)


def _scene(stack: ImageStack, psf: GaussianPSF):
    found = measure(stack)
    projection = projection_of(stack, psf, 8)
    return found, deconvolve(found, projection), projection


@pytest.fixture(scope="module")
def whole(scene) -> Sampled:
    return run(scene)


def run(scene, **options) -> Sampled:
    settings = {"schedule": SHORT, "seed": 5, "n_workers": 1, "progress": lambda *_: None}
    return sample(*scene, **settings | options)


def in_blocks(image):
    return image.reshape(64, 4, 64, 4).sum(axis=(1, 3)).ravel()


def test_maps_cover_the_field_with_its_light(scene, whole):
    movie = scene[0]
    for image in (whole.density, whole.std, whole.occupancy):
        assert image.shape == (256, 256)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0
    assert whole.occupancy.max() < 1
    assert whole.density.sum() == pytest.approx(np.maximum(movie.signal, 0).sum(), rel=0.15)


def test_light_is_where_fluorophores_are(movie, whole):
    # Emitting fluorophores and sampled light in blocks of 320 nm, half the PSF and more.
    truth = movie.truth(8).density.reshape(16, 16, 16, 16).sum(axis=(1, 3)).ravel()
    found = whole.density.reshape(16, 16, 16, 16).sum(axis=(1, 3)).ravel()
    assert np.corrcoef(truth, found)[0, 1] > 0.9
    occupied = movie.truth(8).density > 0
    assert whole.occupancy[occupied].mean() > 2 * whole.occupancy[~occupied].mean()


def test_the_seed_decides_and_workers_do_not(scene, whole):
    two, other = run(scene, n_workers=2), run(scene, seed=6)
    for name in ("density", "std", "occupancy"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(two, name))
    for a, b in zip(
        whole.emitters.columns().values(), two.emitters.columns().values(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert whole.record == two.record
    assert not np.array_equal(whole.density, other.density)


def test_tiled_fields_join_without_seams(scene, whole, monkeypatch):
    again = run(scene, seed=6)
    n_frames = scene[0].stack.n_frames
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 24 * 24 * n_frames)
    steps = []
    tiled = run(scene, progress=lambda *step: steps.append(step))
    n_tiles = len(tiled.record["tiles"])
    assert n_tiles > 1
    assert steps == [(n + 1, 12 * n_tiles) for n in range(12 * n_tiles)]
    a, b, other = (in_blocks(r.density) for r in (whole, tiled, again))
    # As alike as two chains are, in the field and along the cut.
    assert np.corrcoef(a, b)[0, 1] > np.corrcoef(a, other)[0, 1] - 0.02
    strip = np.s_[:, 124:132]
    assert tiled.density[strip].sum() == pytest.approx(whole.density[strip].sum(), rel=0.15)
    # Nothing in the halos is counted twice.
    assert len(tiled.emitters) == pytest.approx(len(whole.emitters), rel=0.1)
    y, x = tiled.emitters.y_nm, tiled.emitters.x_nm
    assert min(y.min(), x.min()) >= 0
    assert max(y.max(), x.max()) < 32 * 160


@pytest.mark.parametrize(
    ("n", "brightness", "least", "most"),
    [(600, 0.8, 1.0, 1.0), (60_000, 0.02, 0.0, 0.5), (600, 4.0, 1.5, 4.0)],
)
def test_an_emitter_is_a_fluorophore_or_several_or_a_part_of_one_whose_emissions_are_precise(
    n, brightness, least, most
):
    structure = draw("bundles", PixelGrid((256, 256), 20.0), np.random.default_rng(12))
    scene = custom(n_emitters=n, peak_to_noise=brightness)
    stack = simulate(structure, scene, n_frames=60, rng=12).stack
    found = run(_scene(stack, scene.microscope.psf))
    assert least <= found.per_fluorophore <= most
    assert found.record["emitters_identifiable"] == (least == most == 1.0)
    assert found.splitting == max(1.0, found.record["emission_nats"] / SPLITTING_NATS)
    assert (found.splitting > 1.0) == (most > 1.0)


def test_the_occupancy_of_a_tile_counts_the_parts_of_a_fluorophore(scene, monkeypatch):
    told = []

    def spy(p_empty, *, per_fluorophore):
        told.append(per_fluorophore)
        return occupancy(p_empty, per_fluorophore=per_fluorophore)

    monkeypatch.setattr(sampling, "occupancy", spy)
    found = run(scene)
    assert found.per_fluorophore > 1.0
    assert told == [found.per_fluorophore]


def test_tiles_count_by_their_light_in_emitters_per_fluorophore(scene, monkeypatch):
    """By number alone dim ones, where an emitter stands for fewer, would make it larger."""
    monkeypatch.setattr(refinement, "MAX_EMITTERS_PER_PX", 0.02)
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 24 * 24 * scene[0].stack.n_frames)
    tiled = run(scene)
    by_tile = [tile["chains"][0]["emitters_per_fluorophore"] for tile in tiled.record["tiles"]]
    assert max(by_tile) < 1.0
    assert min(by_tile) < tiled.per_fluorophore < np.mean(by_tile)
    assert tiled.per_fluorophore == tiled.record["emitters_per_fluorophore"]


def test_p_real_counts_what_the_emitters_of_a_tile_stand_for(scene, monkeypatch):
    monkeypatch.setattr(refinement, "MAX_EMITTERS_PER_PX", 0.1)
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 24 * 24 * scene[0].stack.n_frames)
    tiled = run(scene)
    by_tile = [tile["chains"][0]["emitters_per_fluorophore"] for tile in tiled.record["tiles"]]
    grid = scene[2].camera.refine(8)
    found = tiled.emitters
    rows, columns = np.rint(grid.to_px(found.y_nm, found.x_nm)).astype(int).clip(0, 255)
    occupied = logit(tiled.occupancy[rows, columns].astype(float))
    several = np.exp(
        (PAIRED_LOG_ODDS + PAIRED_SHARE * occupied - logit(found.p_real.astype(float)))
        / SHARED_SHARE
    )
    nearest = np.abs(several[:, None] - by_tile).argmin(axis=1)
    np.testing.assert_allclose(several, np.array(by_tile)[nearest], rtol=1e-3)
    assert set(nearest) == set(range(len(by_tile)))


def test_emissions_of_a_movie_that_fades_count_by_its_light(scene):
    """Σ fading · light ÷ Σ fading²: steady light under a fading of 2 and 0 counts by half."""
    movie, guide, projection = scene
    n = movie.stack.n_frames
    early = replace(movie, fading=np.repeat([2.0, 0.0], n // 2).astype(np.float32))
    weighted, plain = run((early, guide, projection)).density, run(scene).density
    assert weighted.sum() == pytest.approx(0.5 * plain.sum(), rel=0.05)


def test_equal_tiles_are_sampled_independently(scene, monkeypatch):
    movie = scene[0]
    part = movie.stack.select(roi=(0, 8, 32, 16)).load()
    frames = np.tile(part - part.min(), (1, 1, 3))
    stack = ImageStack(frames, PixelGrid((16, 96), 160.0))
    nothing = Background(np.zeros(len(frames), np.float32), np.zeros((16, 96), np.float32))
    repeated = Movie(stack, stack.mean(), movie.noise, nothing, movie.fading)
    projection = projection_of(stack, scene[2].psf, 8)
    guide = np.ones(projection.fine.shape, np.float32)
    guide *= repeated.mean.sum() / guide.sum()
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 16 * 32 * len(frames))
    result = run((repeated, guide, projection))
    # Cores of 16 pixels: the second and the fourth of six see the same, halo and all.
    second, fourth = (result.record["tiles"][n]["chains"][0] for n in (1, 3))
    assert len(result.record["tiles"]) == 6
    assert second["flux"] == pytest.approx(fourth["flux"], rel=0.2)
    assert second["n_live"] != fourth["n_live"]


def test_chains_are_joined_and_their_agreement_is_told(scene, whole, monkeypatch):
    two = run(scene, schedule=replace(SHORT, n_chains=2))
    assert len(two.record["tiles"][0]["chains"]) == 2
    assert 0.9 < two.record["r_hat_median"] <= two.record["r_hat_95"]
    assert "r_hat_median" not in whole.record
    # The first chain is the one of the same seed alone; the second differs.
    assert two.record["tiles"][0]["chains"][0] == whole.record["tiles"][0]["chains"][0]
    assert not np.array_equal(two.density, whole.density)
    monkeypatch.setattr(sampling, "LARGE_R_HAT", 0.5)
    with pytest.warns(DlbiWarning, match="chains of the sampler differ"):
        run(scene, schedule=replace(SHORT, n_chains=2))


def test_the_record_tells_how_long_it_sampled_and_why_it_ended(scene, whole):
    told = {"n_sweeps_done": 12, "n_sweeps_most": 12, "stopped_because": "the most of this quality"}
    assert whole.record["sampling"] == told
    looks = []
    early = Schedule(n_sweeps=40, n_burn_in=8, n_chains=2, enough=0.0)
    stopped = run(scene, schedule=early, on_preview=lambda: looks.append(1))
    told = {"n_sweeps_done": 20, "n_sweeps_most": 40, "stopped_because": "the chains agree"}
    assert stopped.record["sampling"] == told
    assert looks == [1]


def test_a_tile_that_shows_hardly_any_light_has_no_say_in_why_sampling_ended():
    tiles = [{"n_sweeps": 25, "stopped": True}, {"n_sweeps": 50, "stopped": False}]
    schedule = Schedule(n_sweeps=50)
    for faint, why in ((0.009, "the chains agree"), (0.011, "the most of this quality")):
        told = sampling._stopping(tiles, [200.0, 200.0 * faint], schedule)
        assert told["stopped_because"] == why
        assert told["n_sweeps_done"] == 50


def test_splitting_follows_the_known_blinking(scene):
    """Emissions of fluorophores that mostly emit are brighter: their fluctuations are smaller."""
    often, rarely = (
        run(
            scene,
            schedule=Schedule(n_sweeps=2, n_burn_in=1),
            known=KnownBlinking(emitting_to_dark=0.3, dark_to_emitting=rate),
        ).record["emission_nats"]
        for rate in (0.3, 0.01)
    )
    flux = [1.0 / (1.0 + 0.3**2 - rate / (rate + 0.3)) for rate in (0.3, 0.01)]
    assert often / rarely == pytest.approx((flux[0] / flux[1]) ** 2, rel=1e-6)


def test_a_tile_without_light_is_left_out(movie, monkeypatch):
    frames = np.asarray(movie.stack.data)
    masked = np.concatenate([frames, np.zeros_like(frames)], axis=2)
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 32 * 32 * len(frames))
    scene = _scene(ImageStack(masked, PixelGrid((32, 64), 160.0)), movie.scene.microscope.psf)
    scene[1][:, 8 * (32 + MARGIN_PX) :] = 0.0
    steps, looks = [], []
    result = run(scene, progress=lambda *s: steps.append(s), on_preview=lambda: looks.append(1))
    assert steps[-1][0] == steps[-1][1] == 12 * len(result.record["tiles"])
    assert looks == [1]
    assert result.density[:, 384:].sum() < 1e-3 * result.density.sum()
    assert (result.occupancy[:, 384:] == 0).all()
    assert result.density[:, :256].any()


def test_the_guide_says_where_fluorophores_are_expected(movie, scene):
    found, guide, projection = scene
    truth = np.pad(movie.truth_density(8).density, 8 * MARGIN_PX, mode="edge")
    true_guide = truth * np.float32(guide.sum() / truth.sum())
    counts = in_blocks(movie.truth(8).density)
    by_truth, by_guide = (
        np.corrcoef(in_blocks(run((found, g, projection), schedule=SETTLED).density), counts)[0, 1]
        for g in (true_guide, guide)
    )
    assert by_truth > by_guide + 0.01


def test_the_sampler_believes_noise_along_rows_to_hide_more_than_white_noise(scene, monkeypatch):
    movie, guide, projection = scene
    seen, chain = [], sampling.MarkovChain

    def spy(frames, variance, *others, **options):
        seen.append(variance)
        return chain(frames, variance, *others, **options)

    monkeypatch.setattr(sampling, "MarkovChain", spy)
    shared = replace(movie, noise=movie.noise._replace(row_correlation=0.2))
    run((shared, guide, projection), schedule=Schedule(n_sweeps=2, n_burn_in=1))
    share = shared.noise.under(projection.psf.sigma_px(160.0))
    assert share > 1.25
    np.testing.assert_allclose(seen[0], share * movie.variance, rtol=1e-6)
