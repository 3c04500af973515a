from __future__ import annotations

import numpy as np
import pytest

import dlbi.reconstruction as reconstruction
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.evaluation.image import score_truth
from dlbi.inference.refinement import Schedule
from dlbi.reconstruction import METHODS, reconstruct, reconstructor
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw


@pytest.fixture(scope="module")
def movie() -> SimulatedMovie:
    structure = draw("bundles", PixelGrid((256, 256), 20.0), np.random.default_rng(12))
    return simulate(structure, custom(n_emitters=600, peak_to_noise=2.0), n_frames=120, rng=12)


@pytest.fixture(scope="module", autouse=True)
def short_runs():
    """Fewer sweeps: these tests ask what is wired to what, not how good it is."""
    before = reconstruction.QUALITIES.copy()
    reconstruction.QUALITIES["preview"] = Schedule(n_sweeps=12, n_burn_in=6)
    yield
    reconstruction.QUALITIES.update(before)


def run(movie, **options):
    options = {"quality": "preview", "rng": 5, "psf": movie.scene.microscope.psf, **options}
    return reconstruct(movie.stack, **options)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_returns_a_complete_image(movie, method):
    result = run(movie, method=method)
    assert result.grid == movie.stack.grid.refine(8)
    assert result.mean.dtype == np.float32
    assert np.isfinite(result.mean).all()
    assert result.mean.min() >= 0
    assert result.provenance["method"] == method
    assert result.provenance["seed"] == 5
    assert (result.emitters is not None) == (method == "bayes")


@pytest.mark.parametrize("method", METHODS)
def test_images_carry_the_light_of_the_movie(movie, method):
    light = movie.stack.mean() - np.median(movie.stack.mean())
    assert run(movie, method=method).mean.sum() == pytest.approx(light.sum(), rel=0.25)


def test_bayes_is_closer_to_the_fluorophores_than_richardson_lucy(movie):
    truth = movie.truth(8)
    bayes, rl = (score_truth(run(movie, method=m), truth).image for m in ("bayes", "rl"))
    assert bayes.corr_2px > rl.corr_2px
    assert bayes.corr_4px > rl.corr_4px


def test_same_seed_same_bits_at_any_number_of_workers(movie):
    one, two, other = run(movie), run(movie, n_workers=2), run(movie, rng=6)
    for name in ("mean", "std", "p_value"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    for a, b in zip(one.emitters.columns().values(), two.emitters.columns().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.mean, other.mean)


def test_tiled_fields_join_without_seams(movie, monkeypatch):
    whole = run(movie)
    monkeypatch.setattr(reconstruction, "MAX_TILE_VOXELS", 24 * 24 * movie.stack.n_frames)
    tiled = run(movie)
    assert len(tiled.provenance["tiles"]) > 1
    a, b = (r.mean.reshape(64, 4, 64, 4).sum(axis=(1, 3)).ravel() for r in (whole, tiled))
    other = run(movie, rng=6).mean.reshape(64, 4, 64, 4).sum(axis=(1, 3)).ravel()
    # As alike as two chains are, in the field and along the cut.
    assert np.corrcoef(a, b)[0, 1] > np.corrcoef(a, other)[0, 1] - 0.02
    strip = np.s_[:, 124:132]
    assert tiled.mean[strip].sum() == pytest.approx(whole.mean[strip].sum(), rel=0.15)
    y, x = tiled.emitters.y_nm, tiled.emitters.x_nm
    assert min(y.min(), x.min()) >= 0
    assert max(y.max(), x.max()) < 32 * 160


def test_a_masked_part_of_the_field_stays_empty(movie, monkeypatch):
    frames = np.asarray(movie.stack.data).copy()
    masked = np.concatenate([frames, np.zeros_like(frames)], axis=2)
    grid = PixelGrid((32, 64), 160.0)
    monkeypatch.setattr(reconstruction, "MAX_TILE_VOXELS", 32 * 32 * len(frames))
    psf = movie.scene.microscope.psf
    result = reconstruct(ImageStack(masked, grid), psf=psf, quality="preview", rng=5)
    assert np.isfinite(result.mean).all()
    assert result.mean[:, 384:].sum() < 1e-3 * result.mean.sum()
    assert result.p_value[:, 384:].min() > 0.05


@pytest.mark.parametrize(("brightness", "identifiable"), [(2.0, True), (0.02, False)])
def test_the_record_says_whether_single_fluorophores_are_identifiable(brightness, identifiable):
    structure = draw("bundles", PixelGrid((256, 256), 20.0), np.random.default_rng(12))
    n = 600 if identifiable else 60_000
    dim = simulate(structure, custom(n_emitters=n, peak_to_noise=brightness), n_frames=60, rng=12)
    (tile,) = run(dim).provenance["tiles"]
    assert tile["identifiable"] is identifiable


def test_a_guide_is_used(movie):
    truth = movie.truth(8)
    guide = movie.truth_density(8).density
    for method in ("rl", "bayes"):
        guided, flat = (run(movie, method=method, guide=g) for g in (guide, None))
        assert guided.provenance["guided"]
        assert not flat.provenance["guided"]
        assert score_truth(guided, truth).image.corr_2px > score_truth(flat, truth).image.corr_2px


def test_noise_gives_nothing_and_says_so():
    data = np.random.default_rng(3).normal(100, 5, (60, 32, 32)).astype(np.float32)
    stack = ImageStack(data, PixelGrid((32, 32), 160.0))
    with pytest.warns(DlbiWarning, match="no light"):
        result = reconstruct(stack, psf=None, rng=0)
    assert not result.mean.any()
    assert (result.p_value == 1).all()
    assert len(result.emitters) == 0


def test_an_unidentified_psf_is_told():
    data = np.random.default_rng(3).normal(100, 5, (60, 32, 32)).astype(np.float32)
    stack = ImageStack(data, PixelGrid((32, 32), 160.0))
    with pytest.warns(DlbiWarning, match="--psf-fwhm"):
        result = reconstruct(stack, method="rl")
    assert result.provenance["psf"]["origin"] == "preset"


def test_progress_counts_to_its_end(movie):
    seen: dict[str, list[tuple[int, int]]] = {}
    run(movie, progress=lambda stage, done, total: seen.setdefault(stage, []).append((done, total)))
    for steps in seen.values():
        done, total = zip(*steps, strict=True)
        assert list(done) == list(range(1, total[0] + 1))
    assert set(seen) == {"guide", "sampling"}


def test_a_reconstructor_is_movie_and_generator_to_reconstruction(movie):
    rl = reconstructor("rl", psf=movie.scene.microscope.psf)
    result = rl(movie.stack, np.random.default_rng(1))
    np.testing.assert_array_equal(result.mean, run(movie, method="rl").mean)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "srrf"}, InputError, "bayes, rl, sofi, mean"),
        ({"quality": "ultra"}, InputError, "preview, standard, best"),
        ({"upscaling": 0}, InputError, "1…16"),
        ({"n_workers": 0}, InputError, "at least 1"),
        ({"guide": np.ones((3, 3), np.float32)}, ShapeError, "256×256"),
        ({"guide": -np.ones((256, 256), np.float32)}, InputError, "non-negative"),
        ({"guide": np.zeros((256, 256), np.float32)}, InputError, "not all zero"),
        ({"guide": np.full((256, 256), np.nan, np.float32)}, InputError, "finite"),
    ],
)
def test_wrong_options_are_one_clear_line(movie, options, error, message):
    with pytest.raises(error, match=message) as caught:
        run(movie, **options)
    assert "\n" not in str(caught.value)


def test_a_field_smaller_than_the_noise_estimate_needs_is_refused():
    data = np.random.default_rng(0).normal(100, 5, (20, 7, 30)).astype(np.float32)
    with pytest.raises(ShapeError, match="8×8"):
        reconstruct(ImageStack(data, PixelGrid((7, 30), 160.0)))
