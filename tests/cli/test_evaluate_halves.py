"""Odd and even frames of a movie, reconstructed apart and compared."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread

from dlbi.cli import main
from dlbi.core.grid import PixelGrid
from dlbi.evaluation.halves import score_halves
from dlbi.evaluation.local_resolution import resolution_map
from dlbi.io.images import save_image
from dlbi.io.reconstructions import load_reconstruction
from dlbi.io.scopes import save_scope

GRID = PixelGrid((64, 64), 20.0)


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """A simulated movie and Richardson–Lucy of its even and odd frames."""
    folder = tmp_path_factory.mktemp("halves")
    movie, even, odd = (folder / name for name in ("movie.ome.tif", "even.tif", "odd.tif"))
    size = ["--size", 256, "--frames", 40, "--emitters", 600, "--seed", 4]
    assert main([str(a) for a in ["simulate", "filaments", "--out", movie, *size]]) == 0
    options = ["--method", "rl", "--psf-fwhm", 422, "--seed", 1]
    for out, frames in ((even, "::2"), (odd, "1:40:2")):
        command = ["reconstruct", movie, "--out", out, "--frames", frames, *options]
        assert main([str(a) for a in command]) == 0
    return movie, even, odd


@pytest.fixture
def refused(dlbi):
    """The one line of a command that must be refused."""

    def run(*arguments):
        code, _, err = dlbi(*arguments)
        assert code == 2, err
        assert err.count("\n") == 1
        return err

    return run


def picture(path, seed=0, grid=GRID):
    return save_image(path, np.random.default_rng(seed).random(grid.shape), grid)


def test_a_step_is_recorded_with_the_interval_it_makes(halves):
    for path, frames in zip(halves[1:], ([0, 40, 2], [1, 40, 2]), strict=True):
        config = json.loads(path.with_suffix(".provenance.json").read_text())["config"]
        assert config["frames"] == frames
        assert config["frame_interval_s"] == pytest.approx(0.1)


def test_an_image_is_scored_against_the_frames_it_was_made_from(dlbi, halves):
    movie, even, odd = halves
    scores = [
        json.loads(dlbi("evaluate", half, "--movie", movie, "--json")[1])["movie"]
        for half in (even, odd)
    ]
    assert [s["n_frames"] for s in scores] == [20, 20]
    whole = tifffile.imread(movie).astype(np.float64)
    for score, start in zip(scores, (0, 1), strict=True):
        mean = whole[start::2].mean(axis=0)[4:-4, 4:-4]
        assert score["rse"] == pytest.approx(mean.std() * np.sqrt(1 - score["rsp"] ** 2), rel=1e-3)


def test_halves_are_compared_as_json_and_in_words(dlbi, halves):
    _, even, odd = halves
    code, text, err = dlbi("evaluate", even, "--half", odd, "--json")
    assert (code, err) == (0, "")
    expected = score_halves(load_reconstruction(even), load_reconstruction(odd))
    assert json.loads(text)["half"] == {"file": str(odd), **expected.row()}
    assert expected.correlations[0] > 0.5
    code, text, err = dlbi("evaluate", even, "--half", odd)
    assert (code, err) == (0, "")
    assert str(expected) in text


def test_a_resolution_map_is_written_in_nanometres(tmp_path, dlbi, halves):
    _, even, odd = halves
    out = tmp_path / "map.tif"
    code, text, err = dlbi("evaluate", even, "--half", odd, "--resolution-map", out, "--json")
    assert (code, err) == (0, "")
    first, second = load_reconstruction(even), load_reconstruction(odd)
    expected = resolution_map(first.mean, second.mean, first.grid)
    np.testing.assert_array_equal(tifffile.imread(out), expected.resolution_nm)
    assert json.loads(text)["resolution_map"] == {"file": str(out), **expected.row()}
    picture = tmp_path / "map.png"
    code, text, _ = dlbi("evaluate", even, "--half", odd, "--resolution-map", picture)
    assert code == 0
    assert text.splitlines()[-1] == f"wrote {picture}"
    assert imread(picture).ndim == 3
    assert dlbi("evaluate", even, "--half", odd, "--resolution-map", picture)[0] == 2
    assert dlbi("evaluate", even, "--half", odd, "--resolution-map", picture, "--overwrite")[0] == 0


def test_pictures_without_a_pixel_size_take_that_of_the_other(tmp_path, dlbi):
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, np.random.default_rng(3).random((64, 64)).astype(np.float32))
    sized = picture(tmp_path / "sized.tif", 4)
    for pair in ((plain, sized), (sized, plain)):
        code, text, _ = dlbi("evaluate", pair[0], "--half", pair[1], "--json")
        assert code == 0
        assert json.loads(text)["half"]["pixel_size_nm"] == 20.0


def test_halves_of_the_same_frames_are_no_halves(tmp_path, dlbi, halves):
    movie, even, _ = halves
    again = tmp_path / "again.tif"
    options = ["--frames", "0:40:2", "--method", "mean", "--psf-fwhm", 422]
    assert dlbi("reconstruct", movie, "--out", again, *options)[0] == 0
    code, _, err = dlbi("evaluate", even, "--half", again)
    assert code == 0
    assert "the same frames of the same movie" in err


def test_a_scope_must_know_of_the_step(tmp_path, dlbi, halves, scope):
    movie = halves[0]
    save_scope(tmp_path / "scope.toml", scope)
    options = ["--method", "rl", "--psf-fwhm", 422, "--scope", tmp_path / "scope.toml"]
    for frames, warns in (("0:40:2", True), ("0:20", False)):
        out = tmp_path / f"{len(frames)}.tif"
        code, _, err = dlbi("reconstruct", movie, "--out", out, "--frames", frames, *options)
        assert code == 0
        assert ("make it from the same choice of frames" in err) == warns


def test_what_cannot_be_compared(tmp_path, refused, halves):
    movie, even, _ = halves
    small = picture(tmp_path / "small.tif", grid=PixelGrid((64, 60), 20.0))
    tiny_grid = PixelGrid((20, 20), 20.0)
    tiny = picture(tmp_path / "tiny.tif", grid=tiny_grid)
    tinier = picture(tmp_path / "tinier.tif", 1, tiny_grid)
    coarse = picture(tmp_path / "coarse.tif", grid=PixelGrid((32, 32), 40.0))
    fine = picture(tmp_path / "fine.tif")
    out = tmp_path / "out.png"
    assert "cannot be compared" in refused("evaluate", fine, "--half", small)
    assert "one grid" in refused("evaluate", fine, "--half", coarse)
    assert "at least 32×32" in refused("evaluate", tiny, "--half", tinier)
    assert "the image itself" in refused("evaluate", fine, "--half", fine)
    assert "no such file" in refused("evaluate", fine, "--half", tmp_path / "none.tif")
    assert "give --half too" in refused("evaluate", fine, "--truth", fine, "--resolution-map", out)
    assert "is an input" in refused("evaluate", fine, "--half", small, "--resolution-map", small)
    assert "for both maps" in refused(
        "evaluate", even, "--half", fine, "--movie", movie, "--resolution-map", out,
        "--error-map", out,
    )  # fmt: skip
    error_map = tmp_path / "error.tif"
    refused("evaluate", even, "--movie", movie, "--half", fine, "--error-map", error_map)
    assert not error_map.exists()
    assert "single image" in refused("evaluate", even, "--half", movie)
