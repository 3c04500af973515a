"""`dlbi reconstruct`: options, files, start, guides and scopes."""

from __future__ import annotations

import html
import json
import os
import re

import numpy as np
import pytest
import tifffile
from tests.cli.movies import counts, write_movie

from dlbi import __version__
from dlbi.cli.job import N_IMAGES
from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF
from dlbi.io.images import load_grid_image, load_image, save_image
from dlbi.io.provenance import load_json
from dlbi.io.scopes import save_scope
from dlbi.io.stacks import load_stack
from dlbi.learning.network import load_network
from dlbi.reconstruction import reconstruct


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--roi", "10,0,24,24"], "reaches outside the 24×24 field"),
        (["--roi", "0,0,0,5"], "reaches outside"),
        (["--frames", "3:4"], "fewer than 2"),
        (["--frames", "0:31"], "beyond its 30 frames"),
        (["--frames", "40:"], "fewer than 2"),
        (["--pixel-size", "0"], "--pixel-size 0 nm is absurd"),
        (["--pixel-size", "nan"], "absurd"),
        (["--pixel-size", "1e9"], "absurd"),
    ],
)
def test_options_that_do_not_fit_the_movie(tmp_path, refusal, options, says):
    movie = write_movie(tmp_path / "movie.tif", counts(), resolution=(6.25, 6.25))
    options = ["--pixel-size", "160", "--method", "rl", *options]
    line = refusal(tmp_path, "reconstruct", movie, "--out", tmp_path / "sr.tif", *options)
    assert line.startswith(f"error: {movie}: ")
    assert says in line


def test_unknown_pixel_size(tmp_path, refusal):
    movie = write_movie(tmp_path / "movie.tif", counts())
    line = refusal(tmp_path, "reconstruct", movie, "--out", tmp_path / "sr.tif", "--method", "rl")
    assert f"{movie}: does not state its pixel size; give it with --pixel-size NM" in line


@pytest.mark.parametrize("value", ["0", "-3", "inf", "nan", "0.42", "1e9"])
def test_impossible_psf(tmp_path, refusal, value):
    movie = write_movie(tmp_path / "movie.tif", counts())
    arguments = ["--out", tmp_path / "sr.tif", "--pixel-size", 160, f"--psf-fwhm={value}"]
    line = refusal(tmp_path, "reconstruct", movie, *arguments, "--method", "rl")
    assert "--psf-fwhm" in line


def test_a_result_does_not_go_into_the_folder_that_is_the_movie(tmp_path, refusal):
    folder = tmp_path / "frames"
    folder.mkdir()
    for n, frame in enumerate(counts((4, 24, 24))):
        tifffile.imwrite(folder / f"{n}.tif", frame)
    line = refusal(folder, "reconstruct", folder, "--out", folder / "sr.tif", "--pixel-size", 160)
    assert "lies in the folder of the movie" in line


def test_a_part_in_which_nothing_changes_is_refused(tmp_path, refusal):
    frames = counts()
    frames[20:] = 0
    movie = write_movie(tmp_path / "stopped.tif", frames)
    options = ["--out", tmp_path / "sr.tif", "--pixel-size", 160, "--frames", "20:30"]
    line = refusal(tmp_path, "reconstruct", movie, *options)
    assert "all 10 frames are identical" in line


def test_names_that_are_no_utf8_are_recorded(tmp_path, dlbi):
    movie = write_movie(tmp_path / os.fsdecode(b"caf\xe9.tif"), counts())
    out = tmp_path / os.fsdecode(b"sr-\xe9.tif")
    options = ["--pixel-size", 160, "--method", "rl", "--psf-fwhm", 422, "--seed", 1]
    code, _, err = dlbi("reconstruct", movie, "--out", out, *options)
    assert code == 0, err
    record = load_json(out.with_name(os.fsdecode(b"sr-\xe9.provenance.json")))
    assert record["inputs"][0]["name"] == movie.name


def test_reconstruction_is_written_with_its_siblings(reconstructed):
    out, method = reconstructed
    siblings = {"sr.ome.tif", "sr.background.ome.tif", "sr.report.html", "sr.provenance.json"}
    if method != "rl":
        siblings |= {"sr.std.ome.tif", "sr.p_value.ome.tif"}
    if method in ("bayes", "dlbi"):
        siblings |= {"sr.emitters.csv", "sr.occupancy.ome.tif"}
    assert {p.name for p in out.parent.iterdir()} == siblings
    fine = {name for name in siblings if name.endswith(".tif") and "background" not in name}
    assert len(fine) == N_IMAGES.get(method, 1)
    _, grid = load_grid_image(out)
    assert grid == PixelGrid((192, 192), 20.0)


def test_reconstruction_records_where_it_comes_from(reconstructed, simulated):
    out, method = reconstructed
    record = json.loads((out.parent / "sr.provenance.json").read_text())
    assert record["seed"] == 9
    assert record["inputs"][0]["name"] == simulated.name
    assert len(record["inputs"][0]["sha256"]) == 64
    assert record["config"]["method"] == method
    assert record["config"]["frames"] == [0, 30, 1]
    assert record["config"]["psf_fwhm_nm"] == 422
    assert record["config"]["start"] == "guide"
    assert record["config"]["model"] is None
    assert record["reconstruction"]["method"] == method
    network = record["reconstruction"].get("network", {}).get("sha256")
    assert network == (load_network().sha256 if method in ("network", "dlbi") else None)
    assert record["software"]["dlbi"] == __version__
    assert record["command"][:2] == ["dlbi", "reconstruct"]
    assert record["seconds"] > 0


def test_the_report_agrees_with_the_provenance(reconstructed, simulated):
    out, method = reconstructed
    page = html.unescape((out.parent / "sr.report.html").read_text(encoding="utf-8"))
    record = json.loads((out.parent / "sr.provenance.json").read_text())
    assert f"<h1>{simulated.name}</h1>" in page
    assert f"method {method}" in page
    assert record["inputs"][0]["sha256"] in page
    command = f"dlbi reconstruct {simulated.name} --out sr.ome.tif --method {method}"
    assert command in re.sub(r"<[^>]+>", "", page)
    for finding in record["artefacts"]:
        assert finding["severity"] in ("fine", "note", "warning", "unknown")
        assert finding["sentence"][1:12] in page
    names = {finding["name"] for finding in record["artefacts"]}
    assert {"light", "drift", "background", "edge", "PSF", "saturation"} <= names
    assert ("chains" in names) == (method in ("bayes", "dlbi"))
    assert ("training" in names) == (method in ("network", "dlbi"))


def test_the_report_can_be_left_out_and_an_old_one_goes(tmp_path, dlbi, simulated):
    out = tmp_path / "sr.tif"
    command = ["reconstruct", simulated, "--out", out, "--method", "mean", "--seed", 1]
    assert dlbi(*command)[0] == 0
    assert (tmp_path / "sr.report.html").exists()
    code, text, _ = dlbi(*command, "--overwrite", "--no-report")
    assert code == 0
    assert "sr.report.html" not in text
    assert not (tmp_path / "sr.report.html").exists()


def test_each_artefact_is_told_once(tmp_path, dlbi):
    """A movie without light: `rl` does not look for it, `bayes` does and says so itself."""
    dark = np.random.default_rng(1).poisson(90, (30, 16, 16)).astype(np.uint16)
    movie = write_movie(tmp_path / "m.tif", dark)
    for method in ("rl", "bayes"):
        options = ["--pixel-size", 100, "--method", method, "--psf-fwhm", 300, "--workers", 1]
        code, _, err = dlbi("reconstruct", movie, "--out", tmp_path / f"{method}.tif", *options)
        assert code == 0
        assert err.count("\n") == err.count("no light stands out") == 1
        assert err.startswith("warning: ")


def test_a_moving_sample_is_told(tmp_path, dlbi, simulated):
    frames = tifffile.imread(simulated)
    moved = np.stack([np.roll(f, n * 3 // len(frames), axis=1) for n, f in enumerate(frames)])
    movie = write_movie(tmp_path / "m.tif", moved)
    options = ["--pixel-size", 160, "--method", "rl", "--psf-fwhm", 422]
    code, _, err = dlbi("reconstruct", movie, "--out", tmp_path / "sr.tif", *options)
    assert code == 0
    assert "warning: drift: the sample moved by " in err


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "bayes", "--roi", "4,4,12,12"],
        ["--method", "bayes", "--roi", "4,4,12,12", "--start", "resampled"],
        ["--method", "dlbi", "--roi", "4,4,16,16"],
    ],
    ids=["bayes", "resampled", "dlbi"],
)
def test_the_same_seed_gives_the_same_files_at_any_number_of_workers(
    tmp_path, dlbi, simulated, options
):
    def files(name, workers):
        folder = tmp_path / name
        folder.mkdir()
        quick = ["--psf-fwhm", 422, "--quality", "preview", "--seed", 2, "--workers", workers]
        assert dlbi("reconstruct", simulated, "--out", folder / "sr.tif", *options, *quick)[0] == 0
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".json"}

    assert files("one", 1) == files("two", 2)


def test_the_paper_start_is_another_start(tmp_path, dlbi, simulated):
    common = ["--method", "bayes", "--roi", "4,4,12,12", "--psf-fwhm", 422, "--quality", "preview"]
    images = []
    for start in ("guide", "resampled"):
        out = tmp_path / f"{start}.tif"
        options = ["--out", out, *common, "--seed", 2, "--start", start]
        assert dlbi("reconstruct", simulated, *options)[0] == 0
        record = json.loads((tmp_path / f"{start}.provenance.json").read_text())
        assert record["config"]["start"] == record["reconstruction"]["schedule"]["start"] == start
        images.append(load_image(out)[0])
    assert not np.array_equal(*images)


def test_a_psf_that_the_movie_does_not_show_is_told(tmp_path, dlbi, simulated):
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--frames", "0:4"]
    code, text, err = dlbi("reconstruct", simulated, "--out", out, *options)
    assert code == 0
    assert err.count("\n") == 1
    assert err.startswith("warning: ")
    assert "--psf-fwhm" in err
    assert "PSF 422 ± 106 nm FWHM, from: prior" in text
    assert dlbi("reconstruct", simulated, "--out", out, *options)[0] == 2
    options += ["--psf-fwhm", 300, "--overwrite"]
    code, text, err = dlbi("reconstruct", simulated, "--out", out, *options)
    assert (code, err) == (0, "")
    assert "PSF 300 nm FWHM, from: given" in text


@pytest.mark.parametrize("scale", [8, 4, 1])
def test_guides_of_the_field_fit_any_region(tmp_path, dlbi, simulated, scale):
    guide = np.random.default_rng(1).random((24 * scale, 24 * scale), dtype=np.float32)
    save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 160.0 / scale))
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--guide", tmp_path / "g.tif", "--psf-fwhm", 422]
    assert dlbi("reconstruct", simulated, "--out", out, *options, "--roi", "6,4,12,16")[0] == 0
    fine = guide.repeat(8 // scale, axis=0).repeat(8 // scale, axis=1) * (scale / 8) ** 2
    expected = reconstruct(
        load_stack(simulated).select(roi=(6, 4, 12, 16)),
        method="rl",
        psf=GaussianPSF(422),
        guide=fine[32:160, 48:144],
    )
    np.testing.assert_array_equal(load_image(out)[0], expected.mean)
    record = json.loads((tmp_path / "sr.provenance.json").read_text())
    assert [i["name"] for i in record["inputs"]] == ["movie.ome.tif", "g.tif"]


def test_a_guide_of_just_the_region_is_taken_as_it_is(tmp_path, dlbi, simulated):
    whole = np.random.default_rng(1).random((192, 192), dtype=np.float32)
    images = []
    for guide in (whole, whole[32:160, 48:144]):
        save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 20.0), overwrite=True)
        options = ["--method", "rl", "--guide", tmp_path / "g.tif", "--roi", "6,4,12,16"]
        out = tmp_path / f"sr{len(images)}.tif"
        assert dlbi("reconstruct", simulated, "--out", out, "--psf-fwhm", 422, *options)[0] == 0
        images.append(load_image(out)[0])
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(
    ("guide", "says"),
    [
        (np.ones((100, 192), "f4"), "192×192 px are needed"),
        (-np.eye(192, dtype="f4"), "non-negative"),
        (np.zeros((192, 192), "f4"), "not all zero"),
    ],
)
def test_guides_that_do_not_fit(tmp_path, refusal, simulated, guide, says):
    path = save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 20.0))
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--guide", path]
    line = refusal(tmp_path, "reconstruct", simulated, "--out", out, *options)
    assert f"{path}: " in line
    assert says in line


def test_a_reconstruction_takes_the_scope(tmp_path, dlbi, simulated, scope):
    path, out = save_scope(tmp_path / "s.toml", scope), tmp_path / "sr.tif"
    options = ["--method", "rl", "--scope", path, "--seed", 1]
    code, text, err = dlbi("reconstruct", simulated, "--out", out, *options)
    assert (code, err) == (0, "")
    assert "PSF 400 nm FWHM, from: scope" in text
    record = json.loads((tmp_path / "sr.provenance.json").read_text())
    assert record["config"]["scope"] == "s.toml"
    assert [entry["name"] for entry in record["inputs"]] == [simulated.name, "s.toml"]
    assert record["reconstruction"]["scope"]["noise"]["gain"] == 2.0


def test_scopes_that_do_not_fit_are_refused(tmp_path, refused, simulated, scope):
    path, out = save_scope(tmp_path / "s.toml", scope), tmp_path / "sr.tif"
    options = ["--method", "rl", "--scope", path]
    line = refused("reconstruct", simulated, "--out", out, *options, "--pixel-size", 100)
    assert "the scope is for camera pixels of 160 nm but the movie has 100 nm" in line
    path.write_text(path.read_text(encoding="utf-8") + "\n[lens]\n", encoding="utf-8")
    line = refused("reconstruct", simulated, "--out", out, *options)
    assert f"{path}: unknown key 'lens'" in line
    assert "cannot be read" in refused(
        "reconstruct", simulated, "--out", out, "--scope", tmp_path / "none.toml"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["s.toml"]


def test_a_halo_that_is_taken_off_is_told(tmp_path, dlbi, simulated, scope):
    save_scope(tmp_path / "scope.toml", scope)
    options = ["--out", tmp_path / "sr.tif", "--method", "rl", "--scope", tmp_path / "scope.toml"]
    code, text, _ = dlbi("reconstruct", simulated, *options)
    assert code == 0
    assert "halo of the PSF: 20% of the light, spread by 450 nm; taken off" in text


@pytest.mark.parametrize(("preset", "fades"), [("bleaching", True), ("sparse", False)])
def test_that_late_frames_count_less_is_told(tmp_path, dlbi, preset, fades):
    movie, out = tmp_path / "movie.tif", tmp_path / "sr.tif"
    size = ["--size", 160, "--frames", 100, "--emitters", 600, "--seed", 4, "--preset", preset]
    assert dlbi("simulate", "filaments", "--out", movie, *size)[0] == 0
    code, text, _ = dlbi("reconstruct", movie, "--out", out, "--method", "rl", "--psf-fwhm", 422)
    assert code == 0
    page = tmp_path.joinpath("sr.report.html").read_text("utf-8")
    assert ("of that at the start: late frames count less" in text) is fades
    assert ("late frames count less in the mean" in page) is fades
    assert ("shows, late frames counting less." in page) is fades


def test_a_network_that_sees_blocks_of_pixels_is_told(tmp_path, dlbi):
    movie, out = tmp_path / "movie.tif", tmp_path / "sr.tif"
    code, _, _ = dlbi(
        "simulate", "filaments", "--out", movie, "--size", 272, "--frames", 20, "--seed", 4
    )
    assert code == 0
    for width, told in ((420, None), (800, "the network sees blocks of 2×2 pixels")):
        options = ["--method", "network", "--psf-fwhm", width, "--overwrite"]
        code, text, _ = dlbi("reconstruct", movie, "--out", out, *options)
        assert code == 0
        page = tmp_path.joinpath("sr.report.html").read_text("utf-8")
        if told is None:
            assert "sees blocks" not in text + page
        else:
            assert told in text
            assert "sees blocks of 2×2 camera pixels" in page
