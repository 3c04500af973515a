"""`dlbi calibrate`, and `dlbi reconstruct` with what it wrote."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from dlbi.cli import main
from dlbi.core.scope import UNITS
from dlbi.io.scopes import load_scope, save_scope


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    movie = folder / "movie.ome.tif"
    arguments = ["--size", 192, "--frames", 60, "--emitters", 400, "--seed", 4]
    assert main([str(a) for a in ["simulate", "filaments", "--out", movie, *arguments]]) == 0
    return movie


@pytest.fixture
def noise(tmp_path):
    counts = np.random.default_rng(5).poisson(400.0, (30, 20, 24)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noise.tif", counts)
    return tmp_path / "noise.tif"


def refused(dlbi, *arguments):
    """The one line of a command that must be refused."""
    code, _, err = dlbi(*arguments)
    assert code == 2, err
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    return err


def test_figures_are_printed_and_written(tmp_path, dlbi, simulated):
    out = tmp_path / "scope.toml"
    code, text, err = dlbi("calibrate", simulated, "--out", out, "--seed", 3)
    assert (code, err) == (0, "")
    scope = load_scope(out)
    assert scope.pixel_size_nm == 160.0
    assert scope.n_frames == 60
    assert str(scope) in text
    lines = text.splitlines()
    assert "60 frames of 24×24 px of 160 nm; seed 3" in lines[0]
    assert lines[-1] == f"wrote {out}"
    assert set(UNITS) <= {line.split()[0] for line in lines}
    assert [p.name for p in tmp_path.iterdir()] == ["scope.toml"]
    again = tmp_path / "again.toml"
    assert dlbi("calibrate", simulated, "--out", again, "--seed", 3)[0] == 0
    assert again.read_bytes() == out.read_bytes()


def test_noise_is_told_to_tell_nothing(tmp_path, dlbi, noise):
    out = tmp_path / "scope.toml"
    code, text, _ = dlbi("calibrate", noise, "--out", out, "--pixel-size", 100)
    assert code == 0
    for name in ("psf_fwhm_nm", "memory", "flux", "n_emitters"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        assert line.endswith("not identified, prior")


def test_part_of_a_movie_is_calibrated(tmp_path, dlbi, simulated):
    out = tmp_path / "scope.toml"
    options = ["--roi", "2,3,20,16", "--frames", "10:50"]
    code, text, _ = dlbi("calibrate", simulated, "--out", out, *options)
    assert code == 0
    assert "40 frames of 20×16 px" in text
    assert load_scope(out).n_frames == 40


def test_what_cannot_be_calibrated_or_written(tmp_path, dlbi, simulated, noise):
    out = tmp_path / "scope.toml"
    assert "does not state its pixel size" in refused(dlbi, "calibrate", noise, "--out", out)
    size = ["--pixel-size", 100]
    short = refused(dlbi, "calibrate", noise, "--out", out, *size, "--frames", "0:20")
    assert "needs at least 24 frames of 12×12 pixels, got 20" in short
    assert str(noise) in short
    assert "reaches outside" in refused(
        dlbi, "calibrate", noise, "--out", out, *size, "--roi", "0,0,99,9"
    )
    assert "end it in one of .toml" in refused(
        dlbi, "calibrate", noise, "--out", tmp_path / "scope.json", *size
    )
    missing = refused(dlbi, "calibrate", tmp_path / "no.tif", "--out", tmp_path / "no" / "s.toml")
    assert "the folder" in missing
    assert not out.exists()
    out.write_text("precious")
    assert "exists already; use --overwrite" in refused(
        dlbi, "calibrate", noise, "--out", out, *size
    )
    assert out.read_text() == "precious"
    assert dlbi("calibrate", noise, "--out", out, *size, "--overwrite")[0] == 0
    assert load_scope(out).pixel_size_nm == 100.0


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


def test_scopes_that_do_not_fit_are_refused(tmp_path, dlbi, simulated, scope):
    path, out = save_scope(tmp_path / "s.toml", scope), tmp_path / "sr.tif"
    options = ["--method", "rl", "--scope", path]
    line = refused(dlbi, "reconstruct", simulated, "--out", out, *options, "--pixel-size", 100)
    assert "the scope is for camera pixels of 160 nm but the movie has 100 nm" in line
    path.write_text(path.read_text(encoding="utf-8") + "\n[lens]\n", encoding="utf-8")
    line = refused(dlbi, "reconstruct", simulated, "--out", out, *options)
    assert f"{path}: unknown key 'lens'" in line
    assert "cannot be read" in refused(
        dlbi, "reconstruct", simulated, "--out", out, "--scope", tmp_path / "none.toml"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["s.toml"]
