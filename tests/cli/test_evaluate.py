"""`dlbi evaluate`: scores against truth and movie."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from tests.cli.movies import write_movie

from dlbi.core.grid import PixelGrid
from dlbi.io.images import load_grid_image, load_image, save_image
from dlbi.io.stacks import load_stack


def test_reconstruction_scores_above_the_null_image(dlbi, reconstructed, simulated):
    out, _ = reconstructed
    truth = simulated.parent / "movie.truth.tif"
    code, text, err = dlbi("evaluate", out, "--truth", truth, "--movie", simulated, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(text)
    image, null = scores["truth"]["rows"]
    assert (image["name"], null["name"]) == ("image", "null")
    assert image["psnr_ls_db"] > null["psnr_ls_db"]
    assert image["corr_4px"] > 0.6
    assert null["corr_4px"] is None
    assert scores["movie"]["rsp"] > 0.7
    assert scores["movie"]["n_frames"] == 30
    assert scores["movie_without_background"]["rsp"] >= scores["movie"]["rsp"]


def test_table_has_the_null_row_and_names_the_normalisations(dlbi, reconstructed, simulated):
    out, _ = reconstructed
    truth = simulated.parent / "movie.emitters.csv"
    code, text, _ = dlbi("evaluate", out, "--truth", truth, "--movie", simulated)
    assert code == 0
    lines = text.splitlines()
    assert any(line.startswith("image ") for line in lines)
    assert any(line.startswith("null ") and "–" in line for line in lines)
    assert any(line.startswith("ls: ") for line in lines)
    assert any(line.startswith("p999: ") for line in lines)
    assert "RSP" in text


def test_part_of_a_movie_is_scored_against_that_part(tmp_path, dlbi, simulated):
    out = tmp_path / "part.tif"
    options = ["--method", "mean", "--roi", "4,6,16,12", "--frames", "5:25"]
    assert dlbi("reconstruct", simulated, "--out", out, *options)[0] == 0
    _, grid = load_grid_image(out)
    assert grid == PixelGrid((24, 24), 160.0).crop(6, 4, 12, 16).refine(8)
    truth = simulated.parent / "movie.truth.tif"
    code, text, _ = dlbi("evaluate", out, "--truth", truth, "--movie", simulated, "--json")
    assert code == 0
    scores = json.loads(text)
    assert scores["movie"]["n_frames"] == 20
    assert scores["movie"]["rsp"] > 0.98
    (tmp_path / "part.provenance.json").write_text('{"config": {"frames": 20}}')
    _, text, _ = dlbi("evaluate", out, "--movie", simulated, "--json")
    assert json.loads(text)["movie"]["n_frames"] == 30
    part = tmp_path / "truth.tif"
    whole, fine = load_grid_image(truth)
    save_image(part, whole[48:144, 32:160], fine.crop(48, 32, 96, 128))
    _, text, _ = dlbi("evaluate", out, "--truth", part, "--json")
    assert json.loads(text)["truth"]["rows"] == scores["truth"]["rows"]


def test_error_maps(tmp_path, dlbi, refusal, simulated):
    out = tmp_path / "sr.tif"
    assert dlbi("reconstruct", simulated, "--out", out, "--method", "mean")[0] == 0
    scores = ["evaluate", out, "--movie", simulated, "--error-map"]
    assert dlbi(*scores, tmp_path / "error.tif")[0] == 0
    error, grid = load_grid_image(tmp_path / "error.tif")
    assert grid == PixelGrid((24, 24), 160.0)
    assert error.min() >= 0 < error.max()
    assert dlbi(*scores, tmp_path / "error.png")[0] == 0
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")
    assert "exists already" in refusal(tmp_path, *scores, tmp_path / "error.tif")
    assert "give --movie" in refusal(
        tmp_path, "evaluate", out, "--truth", out, "--error-map", tmp_path / "e.tif"
    )


def test_maps_never_replace_what_lies_beside_the_image(tmp_path, refusal, simulated):
    image = save_image(tmp_path / "i.tif", np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0))
    std = save_image(tmp_path / "i.std.tif", np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0))
    options = ["--error-map", std, "--overwrite"]
    line = refusal(tmp_path, "evaluate", image, "--movie", simulated, *options)
    assert "is an input of this command" in line


def test_scores_need_something_to_compare_with(tmp_path, refusal):
    image = save_image(tmp_path / "i.tif", np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0))
    assert "give --truth, --movie, --half or several" in refusal(tmp_path, "evaluate", image)
    other = save_image(tmp_path / "o.tif", np.eye(60, dtype="f4"), PixelGrid((60, 60), 20.0))
    assert "is not a part of" in refusal(tmp_path, "evaluate", image, "--truth", other)
    assert "cannot" in refusal(
        tmp_path,
        "evaluate",
        image,
        "--truth",
        save_image(tmp_path / "n.tif", -np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0)),
    )


def test_images_without_a_pixel_size_take_that_of_the_field(tmp_path, dlbi, refusal, simulated):
    truth = simulated.parent / "movie.truth.tif"
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, load_image(truth)[0], metadata=None)
    for field in (["--movie", simulated], ["--truth", truth]):
        assert dlbi("evaluate", plain, *field)[0] == 0
    line = refusal(tmp_path, "evaluate", plain, "--truth", plain)
    assert "does not state its pixel size" in line
    code, text, _ = dlbi("evaluate", truth, "--truth", plain, "--json")
    assert code == 0
    assert json.loads(text)["truth"]["rows"][0]["corr_0px"] == pytest.approx(1.0)


def test_defective_pixels_do_not_score(tmp_path, dlbi, simulated):
    """Of the movie that `reconstruct` mended, and of one whose image says nothing of it."""
    stack = load_stack(simulated, pixel_size_nm=160.0)
    frames = stack.load()
    frames[:, 5, 7] = 6e4
    broken = write_movie(tmp_path / "broken.tif", frames)
    out = tmp_path / "sr.tif"
    made = dlbi("reconstruct", broken, "--out", out, "--method", "mean", "--pixel-size", "160")
    assert made[0] == 0
    assert "1 camera pixel stands alone, hot or dead: (7, 5) (x, y)" in made[2]
    scores = ["evaluate", out, "--movie", broken, "--pixel-size", "160", "--json"]
    for _ in range(2):
        _, text, told = dlbi(*scores)
        assert json.loads(text)["movie"]["rsp"] > 0.98
        assert "1 camera pixel stands alone, hot or dead: (7, 5) (x, y)" in told
        (tmp_path / "sr.provenance.json").unlink(missing_ok=True)


def test_an_image_is_compared_with_the_mean_that_it_was_made_from(tmp_path, dlbi):
    """Late frames count less only in images that record so, not in those of other programs."""
    movie, out, bare = (tmp_path / name for name in ("movie.tif", "sr.tif", "bare.tif"))
    size = ["--size", 192, "--frames", 400, "--emitters", 400, "--seed", 4]
    code, _, _ = dlbi("simulate", "filaments", "--out", movie, "--preset", "bleaching", *size)
    assert code == 0
    code, _, _ = dlbi("reconstruct", movie, "--out", out, "--method", "rl", "--psf-fwhm", 422)
    assert code == 0
    shutil.copy(out, bare)
    found = [
        json.loads(dlbi("evaluate", image, "--movie", movie, "--json")[1])["movie"]["rsp"]
        for image in (out, bare)
    ]
    assert found[0] > found[1] + 0.001
