from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.evaluation.image import score_truth
from dlbi.inference.hmm import refinement
from dlbi.inference.hmm.refinement import Schedule
from dlbi.inference.hmm.start import SPLITTING_NATS
from dlbi.inference.threeb import ThreeBOptions
from dlbi.inference.uncertainty import p_empty
from dlbi.learning.confidence import false_discovery_tail
from dlbi.learning.network import load_network
from dlbi.learning.symmetry import SYMMETRIES, apply_image
from dlbi.reconstruction import METHODS, pipeline, reconstruct, reconstructor, sampling, threeb
from dlbi.reconstruction.joining import (
    AGREEMENT_WEIGHT,
    joined_with_deconvolution,
    joined_with_network,
)
from dlbi.reconstruction.measurement import measure, without_margin
from dlbi.reconstruction.options import QUALITIES, Options
from dlbi.reconstruction.pipeline import PREVIEW, reconstruct_given
from dlbi.reconstruction.scoping import Given
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom, meos32
from dlbi.simulation.structures import draw

LEARNED = ("dlbi", "network")


@pytest.fixture(scope="module", autouse=True)
def short_runs():
    """Fewer sweeps: these tests ask what is wired to what, not how good it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(QUALITIES, "preview", Schedule(n_sweeps=12, n_burn_in=6))
        patch.setitem(threeb.ITERATIONS, "preview", 1)
        short = partial(ThreeBOptions, passes=2, tries=1, samples=4, size_searches=20)
        patch.setattr(threeb, "ThreeBOptions", short)
        yield


@pytest.fixture(scope="module")
def copying(compact):
    """A network whose image is the deconvolution that it sees."""
    return compact(lambda guide: guide)


@pytest.fixture
def noise_only() -> ImageStack:
    data = np.random.default_rng(3).normal(100, 5, (60, 32, 32)).astype(np.float32)
    return ImageStack(data, PixelGrid((32, 32), 160.0))


def run(movie, method="bayes", **options):
    options = {"quality": "preview", "rng": 5, "psf": movie.scene.microscope.psf, **options}
    return reconstruct(movie.stack, method=method, **options)


def in_blocks(image):
    return image.reshape(64, 4, 64, 4).sum(axis=(1, 3)).ravel()


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_a_complete_image(movie, method, copying):
    result = run(movie, method, model=copying)
    assert result.grid == movie.stack.grid.refine(8)
    assert result.mean.dtype == np.float32
    assert np.isfinite(result.mean).all()
    assert result.mean.min() >= 0
    assert result.provenance["method"] == method
    assert result.provenance["seed"] == 5
    uncertain = method in ("dlbi", "network", "bayes")
    for image, known in ((result.std, uncertain or method == "3b"), (result.p_value, uncertain)):
        assert (image is not None) == known
        assert not known or (np.isfinite(image).all() and image.min() >= 0)
    assert not uncertain or result.p_value.max() <= 1
    assert (result.emitters is not None) == (method in ("dlbi", "bayes", "3b"))
    assert ("network" in result.provenance) == (method in LEARNED)


@pytest.mark.parametrize("method", METHODS)
def test_images_carry_the_light_of_the_movie(movie, method, copying):
    light = movie.stack.mean() - np.median(movie.stack.mean())
    found = run(movie, method, model=copying).mean.sum()
    assert found == pytest.approx(light.sum(), rel=0.25)


@pytest.mark.parametrize("method", METHODS)
def test_images_show_the_structure(movie, method, copying):
    result = run(movie, method, model=copying)
    assert np.corrcoef(in_blocks(result.mean), in_blocks(movie.truth(8).density))[0, 1] > 0.5


def test_3b_has_the_light_of_the_mean_image_and_records_its_iterations(movie):
    seen = []
    result = run(movie, "3b", progress=lambda *step: seen.append(step))
    assert result.mean.sum() == pytest.approx(run(movie, "mean").mean.sum(), rel=1e-4)
    assert result.provenance["threeb"]["options"]["iterations"] == 1
    assert seen == [("3b", n, 3) for n in range(1, 4)]
    again, other = run(movie, "3b"), run(movie, "3b", rng=6)
    np.testing.assert_array_equal(again.mean, result.mean)
    assert again.provenance == result.provenance
    assert not np.array_equal(other.mean, result.mean)


def test_long_runs_of_3b_are_announced(movie, monkeypatch):
    monkeypatch.setattr(threeb, "LONG_MINUTES", 0.0)
    with pytest.warns(DlbiWarning, match="3b of 32×32 px and 120 frames takes some 0 minutes"):
        run(movie, "3b")
    # Twice the side is four times the spots: four to sixteen times the time.
    small, large = (threeb.expected_minutes(n, 200, ThreeBOptions()) for n in (900, 3600))
    assert 4 < large / small < 16


def test_3b_of_a_movie_that_shows_nothing_is_refused():
    even = ImageStack(np.full((6, 16, 16), 100.0, np.float32), PixelGrid((16, 16), 160.0))
    with pytest.raises(InputError, match="3b needs a movie that shows something"):
        reconstruct(even, method="3b", psf=GaussianPSF(422.0))


def test_bayes_is_closer_to_the_fluorophores_than_richardson_lucy(movie):
    truth = movie.truth(8)
    bayes, rl = (score_truth(run(movie, m), truth).image for m in ("bayes", "rl"))
    assert bayes.corr_2px > rl.corr_2px
    assert bayes.corr_4px > rl.corr_4px


@pytest.mark.parametrize("method", ["bayes", *LEARNED])
def test_same_seed_same_bits_at_any_number_of_workers(movie, method, compact):
    # Dropout must show, so that the seed matters to the network too.
    network = compact(lambda guide: guide)
    network._session.run = _with_dropout(network._session.run)
    one, two, other = (
        run(movie, method, model=network, **o) for o in ({}, {"n_workers": 2}, {"rng": 6})
    )
    for name in ("mean", "std", "p_value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    if method != "network":
        for a, b in zip(
            one.emitters.columns().values(), two.emitters.columns().values(), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert one.provenance == two.provenance
    assert not np.array_equal(one.mean, other.mean)


def _with_dropout(inner):
    def outer(names, inputs):
        (image,) = inner(names, inputs)
        kept = inputs["mask"].mean(axis=1, keepdims=True).repeat(8, axis=-2).repeat(8, axis=-1)
        image[:, :1] *= kept
        return [image]

    return outer


def test_the_network_alone_is_its_prediction_in_counts(movie, compact):
    rl = run(movie, "rl").mean
    doubling = compact(lambda guide: 2 * guide)
    network = run(movie, "network", model=doubling, guide_iterations=0)
    # Twice the amplitude is four times the light: it is the network's own, and stays so.
    np.testing.assert_allclose(network.mean, 4 * rl, rtol=1e-3, atol=1e-4)
    recorded = network.provenance["network"]
    # The stub states an amplitude's deviation of 0.1; a count is `scale`/64 of a square amplitude.
    scale = _scale(movie)
    variance = 2 * 0.1**4 + 4 * (network.mean * 64 / scale) * 0.1**2
    np.testing.assert_allclose(network.std, np.sqrt(variance) * scale / 64, rtol=1e-2)
    assert network.p_value[network.mean * 64 / scale > 0.05**2].max() < 0.05
    assert recorded["name"] == "stub"
    assert recorded["share_in_disagreement"] < 0.05


def test_nearer_to_the_movie_the_networks_image_is_surer(movie, copying):
    alone, nearer = (run(movie, "network", model=copying, guide_iterations=n).std for n in (0, 20))
    np.testing.assert_allclose(nearer, 0.9 * alone, rtol=1e-5)


def _scale(movie):
    signal = np.maximum(measure(movie.stack).signal, 0)
    return float((signal**2).sum() / signal.sum())


def test_a_network_without_p_value_leaves_it_to_the_sampler(movie, paper):
    network = paper(movie.n_frames)
    alone, refined = (run(movie, m, model=network) for m in ("network", "dlbi"))
    assert alone.p_value is None
    assert alone.std is not None
    occupied = movie.truth(8).density > 0
    assert refined.p_value[occupied].mean() < refined.p_value[~occupied].mean()
    signal = np.maximum(measure(movie.stack).signal, 0)
    assert alone.mean.sum() == pytest.approx(signal.sum(), rel=1e-3)


def test_the_light_that_a_movie_keeps_is_recorded(movie, faded):
    kept = reconstruct(faded, method="rl", psf=GaussianPSF(422.0)).provenance["light_left"]
    assert 0.0 <= kept < 0.2
    assert run(movie, "rl").provenance["light_left"] == 1.0
    assert "light_left" not in run(movie, "3b").provenance  # all frames count alike there


def test_a_movie_unlike_those_of_the_training_is_told_and_recorded(movie, compact):
    network = compact(lambda guide: guide, ranges={"n_frames": (200, 400)})
    for method in LEARNED:
        with pytest.warns(DlbiWarning, match="n_frames 120"):
            result = run(movie, method, model=network)
        (line,) = result.provenance["network"]["out_of_range"]
        assert line.startswith("n_frames 120")


@pytest.mark.parametrize("method", LEARNED)
@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(lambda guide: np.maximum(guide.max() - guide, 0), id="fake"),
        pytest.param(lambda guide: guide * (guide < 0.3 * guide.max()), id="erased"),
        pytest.param(np.zeros_like, id="nothing"),
    ],
)
def test_a_network_that_does_not_explain_the_movie_is_told(movie, compact, method, picture):
    with pytest.warns(DlbiWarning, match="disagree"):
        result = run(movie, method, model=compact(picture))
    assert result.provenance["network"]["share_in_disagreement"] > 0.1
    for image in (result.mean, result.std, result.p_value):
        assert np.isfinite(image).all()


def test_a_network_that_explains_the_movie_is_not_doubted(movie, copying):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        run(movie, "network", model=copying)


def test_a_network_that_knows_the_fluorophores_helps_the_refinement(movie, compact):
    truth = movie.truth(8)
    network = compact(_knowing(gaussian_filter(truth.density, 1.0)))
    informed, bayes = (run(movie, method, model=network) for method in ("dlbi", "bayes"))
    informed, bayes = (score_truth(result, truth).image.corr_2px for result in (informed, bayes))
    assert informed > bayes + 0.01


def test_the_refinement_takes_away_most_of_a_line_that_the_network_invents(movie, compact):
    believed = gaussian_filter(movie.truth(8).density, 1.0)
    line = np.s_[:, 200:203]
    assert believed[line].sum() < 0.01 * believed.sum()
    believed[line] += believed.max() / 3
    network = compact(_knowing(believed))
    with pytest.warns(DlbiWarning, match="disagree"):
        images = [run(movie, method, model=network).mean for method in ("network", "dlbi")]
    invented, guided, left = (image[line].sum() / image.sum() for image in (believed, *images))
    assert invented > 0.1
    assert guided < 0.6 * invented
    assert left < 0.3 * invented


def test_the_networks_own_image_is_brought_nearer_to_the_movie_and_keeps_its_light(movie, compact):
    believed = gaussian_filter(movie.truth(8).density, 1.0)
    left, right = np.s_[:, :96], np.s_[:, 160:]
    true = believed[left].sum() / believed[right].sum()
    believed[:, :128] *= 0.3
    network = compact(_knowing(believed))
    with pytest.warns(DlbiWarning, match="disagree"):
        own, joined = (run(movie, "network", model=network, guide_iterations=n) for n in (0, 20))
    (told, guided) = (r.mean[left].sum() / r.mean[right].sum() for r in (own, joined))
    assert told == pytest.approx(0.3 * true, rel=0.02)
    assert guided / told == pytest.approx((true / told) ** AGREEMENT_WEIGHT, rel=0.1)
    assert joined.mean.sum() == pytest.approx(own.mean.sum(), rel=1e-4)


@pytest.mark.parametrize(("iterations", "agrees"), [(0, False), (20, True)])
def test_guide_iterations_make_the_networks_image_agree_with_the_movie(
    movie, compact, monkeypatch, iterations, agrees
):
    believed = gaussian_filter(movie.truth(8).density, 1.0)
    believed[:, :128] *= 0.3
    guides, sample = [], pipeline.sample

    def spy(measured, guide, projection, **options):
        guides.append((guide, projection))
        return sample(measured, guide, projection, **options)

    monkeypatch.setattr(pipeline, "sample", spy)
    result = run(movie, "dlbi", model=compact(_knowing(believed)), guide_iterations=iterations)
    ((guide, projection),) = guides
    shown = without_margin(guide, projection).ravel()
    assert bool(np.corrcoef(shown, believed.ravel())[0, 1] > 0.9999) is not agrees
    explained = projection.forward(guide).ravel()
    seen = (movie.stack.mean() - result.background).ravel()
    assert bool(np.corrcoef(explained, seen)[0, 1] > 0.99) is agrees
    assert result.provenance["guide_iterations"] == iterations


def test_the_number_of_chains_may_be_chosen(movie):
    records = [run(movie, n_chains=n).provenance for n in (1, 2)]
    assert [r["schedule"]["n_chains"] for r in records] == [1, 2]
    assert ["r_hat_median" in r for r in records] == [False, True]


def _knowing(density):
    """The amplitude of a density, turned as the guide is turned; the first one is upright."""
    amplitude = np.sqrt(density)[None, None]
    upright = []

    def picture(guide):
        upright.append(guide)
        (k,) = (k for k in SYMMETRIES if np.array_equal(apply_image(upright[0], k), guide))
        return apply_image(amplitude, k)

    return picture


def test_tiled_fields_join_without_seams(movie, monkeypatch):
    whole, again = run(movie), run(movie, rng=6)
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 24 * 24 * movie.n_frames)
    tiled = run(movie)
    assert len(tiled.provenance["tiles"]) > 1
    a, b, other = (in_blocks(r.mean) for r in (whole, tiled, again))
    # As alike as two chains are, in the field and along the cut.
    assert np.corrcoef(a, b)[0, 1] > np.corrcoef(a, other)[0, 1] - 0.02
    strip = np.s_[:, 124:132]
    assert tiled.mean[strip].sum() == pytest.approx(whole.mean[strip].sum(), rel=0.15)


@pytest.mark.parametrize("method", ["bayes", "dlbi"])
def test_a_masked_part_of_the_field_stays_empty(movie, monkeypatch, method, copying):
    frames = np.asarray(movie.stack.data)
    masked = np.concatenate([frames, np.zeros_like(frames)], axis=2)
    monkeypatch.setattr(sampling, "MAX_TILE_VOXELS", 32 * 32 * len(frames))
    result = reconstruct(
        ImageStack(masked, PixelGrid((32, 64), 160.0)),
        method=method, psf=movie.scene.microscope.psf, model=copying, quality="preview", rng=5,
    )  # fmt: skip
    assert np.isfinite(result.mean).all()
    assert result.mean[:, 384:].sum() < 1e-3 * result.mean.sum()
    assert result.p_value[:, 384:].min() > 0.05


def test_a_guide_is_used(movie):
    truth = movie.truth(8)
    guide = movie.truth_density(8).density
    for method in ("rl", "bayes"):
        guided, flat = (run(movie, method, guide=g) for g in (guide, None))
        assert guided.provenance["guided"]
        assert not flat.provenance["guided"]
        assert score_truth(guided, truth).image.corr_2px > score_truth(flat, truth).image.corr_2px


@pytest.mark.parametrize("method", ["bayes", *LEARNED])
def test_noise_gives_nothing_and_says_so(noise_only, method, compact):
    # Not even a network that sees structure everywhere.
    network = compact(lambda guide: guide + 1)
    with pytest.warns(DlbiWarning, match="no light"):
        result = reconstruct(noise_only, method=method, model=network, rng=0)
    assert not result.mean.any()
    assert not result.std.any()
    assert (result.p_value == 1).all()
    assert len(result.emitters) == 0


def test_an_unidentified_psf_is_told(noise_only):
    with pytest.warns(DlbiWarning, match="--psf-fwhm"):
        result = reconstruct(noise_only, method="rl")
    assert result.provenance["psf"]["origin"] == "prior"


@pytest.mark.parametrize(
    ("method", "stages"),
    [
        ("rl", {"guide"}),
        ("bayes", {"guide", "sampling"}),
        ("network", {"guide", "network", "guided deconvolution"}),
        ("dlbi", {"guide", "network", "guided deconvolution", "sampling", "leading back"}),
    ],
)
def test_progress_counts_to_its_end(movie, method, stages, copying):
    seen: dict[str, list[tuple[int, int]]] = {}
    run(
        movie, method, model=copying,
        progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)),
    )  # fmt: skip
    if "sampling" in stages:
        assert seen.pop(PREVIEW) == [(0, 0)]
    for steps in seen.values():
        done, total = zip(*steps, strict=True)
        assert list(done) == list(range(1, total[0] + 1))
        assert set(total) == {total[0]}
    assert set(seen) == stages


def test_a_reconstructor_is_movie_and_generator_to_reconstruction(movie):
    rl = reconstructor("rl", psf=movie.scene.microscope.psf)
    result = rl(movie.stack, np.random.default_rng(1))
    np.testing.assert_array_equal(result.mean, run(movie, "rl").mean)


def test_the_network_of_the_package_beats_deconvolution_and_refinement_keeps_it():
    network = load_network()
    structure = draw("filaments", PixelGrid((256, 256), 20.0), np.random.default_rng(31))
    movie = simulate(structure, custom(n_emitters=1500, peak_to_noise=0.8), n_frames=200, rng=31)
    truth = movie.truth(8)
    quality = {
        method: score_truth(run(movie, method, model=network), truth).image.corr_2px
        for method in ("rl", "bayes", "network", "dlbi")
    }
    assert quality["network"] > quality["rl"]
    assert quality["dlbi"] >= min(quality["bayes"], quality["network"])


def broken(stack, x, y) -> np.ndarray:
    frames = stack.load()
    frames[:, y, x] = 6e4
    return frames


@pytest.mark.parametrize("method", ["rl", "bayes", "dlbi", "sofi", "mean"])
def test_a_hot_pixel_changes_its_surroundings_only(movie, method, copying):
    """Without mending one stuck pixel would outshine the field."""
    clean = run(movie, method, model=copying)
    with pytest.warns(DlbiWarning, match=r"^1 camera pixel stands alone, .*: \(9, 20\) \(x, y\)"):
        found = run(replace(movie, data=broken(movie.stack, 9, 20)), method, model=copying)
    assert clean.provenance["defective_pixels"] == ()
    assert found.provenance["defective_pixels"] == ((9, 20),)
    near = np.zeros(movie.stack.grid.shape, bool)
    near[14:27, 3:16] = True
    outside = ~near.repeat(8, axis=0).repeat(8, axis=1)
    blurred = [gaussian_filter(image.mean, 4.0) for image in (clean, found)]
    assert np.corrcoef(blurred[0][outside], blurred[1][outside])[0, 1] > 0.99
    assert found.mean.sum() == pytest.approx(clean.mean.sum(), rel=0.02)


@pytest.mark.parametrize("method", ["bayes", "dlbi"])
def test_the_sampled_density_joins_what_it_was_sampled_under(movie, copying, monkeypatch, method):
    joined, weighed = [], []
    monkeypatch.setattr(refinement, "MAX_EMITTERS_PER_PX", 0.05)

    def spy(join):
        def outer(sampled, *others, **how):
            joined.append((join.__name__, others))
            weighed.append(how)
            return join(sampled, *others, **how)

        return outer

    for join in (joined_with_network, joined_with_deconvolution):
        monkeypatch.setattr(pipeline, join.__name__, spy(join))
    monkeypatch.setattr(pipeline, "led_back", lambda image, *_, **__: 2 * image)
    rl = run(movie, "rl").mean
    record = run(movie, method, model=copying).provenance
    ((name, (given, *guide)),) = joined
    per_fluorophore = record["emitters_per_fluorophore"]
    assert per_fluorophore < 0.5
    assert record["emission_nats"] > SPLITTING_NATS
    splitting = record["emission_nats"] / SPLITTING_NATS
    assert weighed == [{"per_fluorophore": per_fluorophore, "splitting": splitting}]
    # Either the deconvolution from a flat start or a network that copies it, led back.
    np.testing.assert_allclose(given, 2 * rl if method == "dlbi" else rl, rtol=1e-3, atol=1e-4)
    assert name == ("joined_with_network" if method == "dlbi" else "joined_with_deconvolution")
    assert guide == ([] if method == "dlbi" else [None])


def test_a_guide_of_the_user_joins_in_beside_its_deconvolution(movie, monkeypatch):
    joined = []

    def join(sampled, explaining, guide, **how):
        joined.append((explaining, guide))
        return joined_with_deconvolution(sampled, explaining, guide, **how)

    monkeypatch.setattr(pipeline, "joined_with_deconvolution", join)
    guide = gaussian_filter(movie.density.density, 2.0) + np.float32(1e-3)
    run(movie, "bayes", guide=guide)
    ((explaining, told),) = joined
    np.testing.assert_array_equal(explaining, run(movie, "rl", guide=guide).mean)
    assert told is guide


def test_the_p_value_of_bayes_is_the_share_of_empty_pixels_among_those_as_bright(movie):
    found = run(movie, "bayes")
    share = false_discovery_tail(p_empty(found.mean))
    assert (found.p_value >= share).all()
    assert (found.p_value == share).mean() > 0.5


@pytest.mark.parametrize("method", ["rl", "bayes"])
def test_a_halo_is_taken_off_before(method):
    """Beside the same PSF, and no halo, the image is farther from the truth."""
    scope = meos32().microscope
    scene = replace(meos32(), microscope=replace(scope, halo=Halo(0.4, 450.0)))
    movie = simulate(draw("filaments", PixelGrid((384, 384), 20.0), 3), scene, rng=3)
    options = Options(method, quality="preview")
    found = reconstruct_given(movie.stack, Given(psf=scope.psf), options, seed=1)
    assert found.provenance["halo"]["share"] == pytest.approx(0.4, abs=0.08)
    left = reconstruct_given(movie.stack, Given(psf=scope.psf, halo=Halo()), options, seed=1)
    assert left.provenance["halo"]["share"] == 0.0
    truth = gaussian_filter(movie.density.density, 2.0).ravel()
    near, far = (
        np.corrcoef(gaussian_filter(sr.mean, 2.0).ravel(), truth)[0, 1] for sr in (found, left)
    )
    assert near > far + 0.01
