"""`dlbi calibrate`: figures of a movie, printed and written."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from dlbi.cli import main
from dlbi.core.scope import UNITS
from dlbi.io.scopes import load_scope


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """60 simulated frames: enough for a calibration."""
    folder = tmp_path_factory.mktemp("calibrated")
    path = folder / "movie.ome.tif"
    arguments = ["--size", 192, "--frames", 60, "--emitters", 400, "--seed", 4]
    assert main([str(a) for a in ["simulate", "filaments", "--out", path, *arguments]]) == 0
    return path


@pytest.fixture
def noise(tmp_path):
    counts = np.random.default_rng(5).poisson(400.0, (30, 20, 24)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noise.tif", counts)
    return tmp_path / "noise.tif"


def test_figures_are_printed_and_written(tmp_path, dlbi, movie):
    out = tmp_path / "scope.toml"
    code, text, err = dlbi("calibrate", movie, "--out", out, "--seed", 3)
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
    assert dlbi("calibrate", movie, "--out", again, "--seed", 3)[0] == 0
    assert again.read_bytes() == out.read_bytes()


def test_noise_is_told_to_tell_nothing(tmp_path, dlbi, noise):
    out = tmp_path / "scope.toml"
    code, text, _ = dlbi("calibrate", noise, "--out", out, "--pixel-size", 100)
    assert code == 0
    for name in ("psf_fwhm_nm", "memory", "flux", "n_emitters"):
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} "))
        assert line.endswith("not identified, prior")


def test_part_of_a_movie_is_calibrated(tmp_path, dlbi, movie):
    out = tmp_path / "scope.toml"
    options = ["--roi", "2,3,20,16", "--frames", "10:50"]
    code, text, _ = dlbi("calibrate", movie, "--out", out, *options)
    assert code == 0
    assert "40 frames of 20×16 px" in text
    assert load_scope(out).n_frames == 40


def test_what_cannot_be_calibrated_or_written(tmp_path, dlbi, refused, noise):
    out = tmp_path / "scope.toml"
    assert "does not state its pixel size" in refused("calibrate", noise, "--out", out)
    size = ["--pixel-size", 100]
    short = refused("calibrate", noise, "--out", out, *size, "--frames", "0:20")
    assert "needs at least 24 frames of 12×12 pixels, got 20" in short
    assert str(noise) in short
    assert "reaches outside" in refused(
        "calibrate", noise, "--out", out, *size, "--roi", "0,0,99,9"
    )
    assert "end it in one of .toml" in refused(
        "calibrate", noise, "--out", tmp_path / "scope.json", *size
    )
    missing = refused("calibrate", tmp_path / "no.tif", "--out", tmp_path / "no" / "s.toml")
    assert "the folder" in missing
    assert not out.exists()
    out.write_text("precious")
    assert "exists already; use --overwrite" in refused("calibrate", noise, "--out", out, *size)
    assert out.read_text() == "precious"
    assert dlbi("calibrate", noise, "--out", out, *size, "--overwrite")[0] == 0
    assert load_scope(out).pixel_size_nm == 100.0


def test_the_gain_of_a_saturated_movie_is_not_to_be_trusted(tmp_path, dlbi, movie):
    frames = tifffile.imread(movie).astype(np.uint16)
    flat = tmp_path / "flat.tif"
    tifffile.imwrite(flat, np.minimum(frames, np.uint16(np.percentile(frames, 80))))
    for file, told in ((movie, False), (flat, True)):
        options = ["--out", tmp_path / f"{told}.toml", "--pixel-size", 160]
        code, _, err = dlbi("calibrate", file, *options, "--frames", "0:30")
        assert code == 0
        assert ("saturated" in err and "not to be trusted" in err) == told
