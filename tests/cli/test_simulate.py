"""`dlbi simulate`: the movie, its truths and where they come from."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile

from dlbi.core.grid import PixelGrid, block_sum
from dlbi.io.images import load_grid_image, save_image
from dlbi.io.stacks import load_stack
from dlbi.io.tables import load_emitters


def test_simulation_writes_the_movie_and_its_truth(simulated):
    folder = simulated.parent
    names = sorted(p.name for p in folder.iterdir())
    truths = ["movie.truth.tif", "movie.truth_x2.tif", "movie.truth_x4.tif"]
    assert names == sorted(
        ["movie.ome.tif", "movie.emitters.csv", "movie.provenance.json", *truths]
    )
    stack = load_stack(simulated)
    assert stack.data.shape == (30, 24, 24)
    assert stack.grid.pixel_size_nm == 160.0
    fine, grid = load_grid_image(folder / "movie.truth.tif")
    assert grid == stack.grid.refine(8)
    assert fine.sum() == pytest.approx(400, rel=1e-4)
    for factor in (2, 4):
        coarse, grid = load_grid_image(folder / f"movie.truth_x{factor}.tif")
        assert grid == stack.grid.refine(factor)
        np.testing.assert_allclose(coarse, block_sum(fine, 8 // factor), rtol=1e-5)
    emitters = load_emitters(folder / "movie.emitters.csv")
    assert abs(len(emitters) - 400) < 5 * 20


def test_simulation_records_where_it_comes_from(simulated):
    record = json.loads((simulated.parent / "movie.provenance.json").read_text())
    assert record["seed"] == 4
    assert record["command"][:3] == ["dlbi", "simulate", "filaments"]
    assert record["config"]["preset"] == "meos3.2"
    assert record["config"]["scene"]["labelling"]["n_emitters"] == 400
    assert record["config"]["scene"]["microscope"]["pixel_size_nm"] == 160


def test_the_same_seed_gives_the_same_movie(tmp_path, dlbi, simulated):
    def movie(name, seed):
        out = tmp_path / name
        options = ["--size", 192, "--frames", 30, "--emitters", 400, "--seed", seed]
        assert dlbi("simulate", "filaments", "--out", out, *options)[0] == 0
        return out.read_bytes()

    assert movie("a.ome.tif", 4) == simulated.read_bytes()
    assert movie("b.ome.tif", 5) != simulated.read_bytes()


def test_a_drawn_seed_is_printed_and_repeats_the_movie(tmp_path, dlbi):
    options = ["simulate", "rings", "--size", 64, "--frames", 4, "--preset", "camera"]
    _, out, _ = dlbi(*options, "--out", tmp_path / "a.tif")
    seed = out.partition("seed ")[2].split()[0]
    assert dlbi(*options, "--out", tmp_path / "b.tif", "--seed", seed)[0] == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_upscaling_chooses_the_truths(tmp_path, dlbi):
    options = ["simulate", "rings", "--frames", 4, "--size", 96, "--seed", 1]
    movie = tmp_path / "m.tif"
    assert dlbi(*options, "--out", movie, "--upscaling", 4)[0] == 0
    assert load_stack(movie).grid.shape == (24, 24)
    assert (tmp_path / "m.truth_x2.tif").exists()
    assert not (tmp_path / "m.truth_x4.tif").exists()
    assert dlbi(*options, "--out", movie, "--upscaling", 6, "--overwrite")[0] == 0
    assert load_stack(movie).grid.shape == (16, 16)
    assert dlbi(*options, "--out", movie, "--upscaling", 3, "--overwrite")[0] == 0
    assert not (tmp_path / "m.truth_x2.tif").exists()


@pytest.mark.parametrize("preparation", ["density", "natural", "sketch"])
def test_a_picture_is_a_structure(tmp_path, dlbi, preparation):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[20:40, 30:70] = 200
    tifffile.imwrite(tmp_path / "picture.tif", picture, photometric="rgb")
    options = ["--frames", 3, "--emitters", 50, "--seed", 2, "--preparation", preparation]
    code, _, err = dlbi("simulate", tmp_path / "picture.tif", "--out", tmp_path / "m.tif", *options)
    assert (code, err) == (0, "")
    truth, grid = load_grid_image(tmp_path / "m.truth.tif")
    assert grid == PixelGrid((64, 96), 20.0)
    inside = truth[25:35, 40:60].sum() / truth.sum()
    assert inside > 0.2 if preparation != "natural" else inside == 0.0
    record = json.loads((tmp_path / "m.provenance.json").read_text())
    assert record["inputs"][0]["name"] == "picture.tif"
    assert record["config"]["preparation"] == preparation


def test_pictures_are_scaled_to_the_size_that_is_asked_for(tmp_path, dlbi):
    save_image(tmp_path / "s.tif", np.ones((50, 100), "f4"), PixelGrid((50, 100), 20.0))
    code, _, err = dlbi(
        "simulate", tmp_path / "s.tif", "--out", tmp_path / "m.tif", "--size", 160, "--frames", 3
    )
    assert code == 0
    assert load_stack(tmp_path / "m.tif").grid.shape == (10, 20)
    assert err.startswith("warning: ")
    assert "states pixels of 20 nm but they are taken as 32 nm" in err


def test_stretching_a_picture_is_told(tmp_path, dlbi):
    save_image(tmp_path / "s.tif", np.ones((70, 75), "f4"), PixelGrid((70, 75), 20.0))
    _, _, err = dlbi("simulate", tmp_path / "s.tif", "--out", tmp_path / "m.tif", "--frames", 3)
    assert err.count("\n") == 1
    assert "75×70 px do not divide by the upscaling 8; the image is stretched to 72×72" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["circles"], "choose one of filaments"),
        (["rings", "--preset", "alexa"], "--preset: no preset is called 'alexa'"),
        (["rings", "--emitters", "0"], "--emitters: "),
        (["rings", "--frames", "1"], "at least 2 frames"),
        (["rings", "--size", "100"], "--size 100"),
        (["rings", "--size", "56"], "--size 56"),
        (["rings", "--pixel-size", "1e6"], "--pixel-size: "),
        (["rings", "--pixel-size", "nan"], "--pixel-size: "),
        (["small.tif"], "at least 8×8"),
        (["black.tif"], "black.tif: the structure is empty"),
        (["negative.tif"], "negative.tif: a density must not be negative"),
        (["text.tif"], "text.tif: is neither an image nor a movie"),
    ],
)
def test_simulations_that_cannot_be(tmp_path, refusal, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    save_image("small.tif", np.ones((20, 20), "f4"), PixelGrid((20, 20), 20.0))
    save_image("black.tif", np.zeros((80, 80), "f4"), PixelGrid((80, 80), 20.0))
    save_image("negative.tif", -np.eye(80, dtype="f4"), PixelGrid((80, 80), 20.0))
    (tmp_path / "text.tif").write_text("text")
    assert says in refusal(tmp_path, "simulate", *arguments, "--out", "movie.tif")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, "SIGTERM"])
def test_an_interrupted_simulation_leaves_nothing(tmp_path, dlbi, monkeypatch, stop):
    @contextmanager
    def interrupted():
        def progress(stage, done, total):
            assert list(tmp_path.iterdir()), "the movie is being written"
            if stop is KeyboardInterrupt:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

        yield progress

    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("dlbi.cli.simulate.progress_report", interrupted)
    code, _, err = dlbi("simulate", "rings", "--out", tmp_path / "m.tif", "--size", 64)
    assert code == 1
    assert err == "error: interrupted; no file is half-written\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == usual
