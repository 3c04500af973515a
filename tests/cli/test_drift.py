"""`--correct-drift`: what the commands make of a movie whose sample moves."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from tests.cli.movies import counts, write_movie

from dlbi.core.grid import PixelGrid
from dlbi.io.scopes import load_scope
from dlbi.io.stacks import load_stack
from dlbi.reconstruction.drift import correct_drift
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import meos32
from dlbi.simulation.structures import draw

ROI = (2, 3, 24, 20)


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """60 frames of 28×28 px whose sample moves by 400 nm."""
    structure = draw("filaments", PixelGrid((224, 224), 20.0), np.random.default_rng(3))
    scene = replace(meos32(), drift_nm=(240.0, 320.0))
    frames = simulate(structure, scene, n_frames=60, rng=4).stack.load()
    return write_movie(tmp_path_factory.mktemp("moving") / "movie.tif", frames)


def reconstruct(dlbi, movie, out, *options):
    arguments = ["--method", "rl", "--pixel-size", 160, "--seed", 1, *options]
    code, text, err = dlbi("reconstruct", movie, "--out", out, *arguments)
    assert code == 0, err
    return text, json.loads(out.with_name("sr.provenance.json").read_text())


def test_drift_is_taken_off_told_recorded_and_shown(tmp_path, dlbi, moving):
    out = tmp_path / "sr.tif"
    text, record = reconstruct(dlbi, moving, out, "--correct-drift", "--roi", "2,3,24,20")
    steady = correct_drift(load_stack(moving, pixel_size_nm=160.0))
    assert str(steady) in text.splitlines()
    assert record["config"]["correct_drift"] is True
    assert record["reconstruction"]["drift"] == steady.record()
    shift = np.array(record["reconstruction"]["drift"]["shift_nm"])
    np.testing.assert_allclose(shift, (240.0, 320.0), atol=60.0)
    (drift,) = (f for f in record["artefacts"] if f["name"] == "drift")
    assert drift["severity"] == "fine"
    page = out.with_name("sr.report.html").read_text()
    assert f"{np.hypot(*shift):.0f} nm" in page
    assert "taken off; what is left scatters by" in page


def test_without_the_option_it_is_left_and_told(tmp_path, dlbi, moving):
    text, record = reconstruct(dlbi, moving, tmp_path / "sr.tif")
    assert "drift" not in text
    assert record["config"]["correct_drift"] is False
    assert "drift" not in record["reconstruction"]
    (drift,) = (f for f in record["artefacts"] if f["name"] == "drift")
    assert drift["severity"] == "warning"
    assert "--correct-drift" in drift["advice"]


def test_the_image_is_compared_with_the_movie_at_rest(tmp_path, dlbi, moving):
    def rsp():
        _, text, _ = dlbi("evaluate", out, "--movie", moving, "--pixel-size", 160, "--json")
        return json.loads(text)["movie"]["rsp"]

    out = tmp_path / "sr.tif"
    _, record = reconstruct(dlbi, moving, out, "--correct-drift")
    at_rest = rsp()
    del record["reconstruction"]["drift"]
    out.with_name("sr.provenance.json").write_text(json.dumps(record))
    assert 1 - at_rest < 0.8 * (1 - rsp())


def test_windows_lie_on_each_other(tmp_path, dlbi, moving):
    """The first and the last third of the movie show the same place."""

    def distance_nm(*options):
        out = tmp_path / f"sr{len(options)}.tif"
        arguments = ["--method", "rl", "--pixel-size", 160, "--window", 20, *options]
        assert dlbi("reconstruct", moving, "--out", out, *arguments)[0] == 0
        images = tifffile.imread(out)
        spectra = np.fft.fft2(images[[0, -1]])
        peak = np.abs(np.fft.ifft2(spectra[0] * spectra[1].conj())).argmax()
        place = np.array(np.unravel_index(peak, images.shape[1:]))
        return 20.0 * np.hypot(*np.minimum(place, images.shape[1:] - place))

    assert distance_nm() > 180.0
    assert distance_nm("--correct-drift") < 60.0


def test_calibration_of_a_movie_at_rest(tmp_path, dlbi, moving):
    out = tmp_path / "scope.toml"
    options = ["--pixel-size", 160, "--correct-drift", "--roi", "2,3,24,20"]
    code, text, _ = dlbi("calibrate", moving, "--out", out, *options)
    assert code == 0
    assert any(line.startswith("drift: ") for line in text.splitlines())
    assert load_scope(out).n_frames == 60


@pytest.mark.parametrize("command", ["reconstruct", "calibrate"])
def test_movies_that_show_no_drift_are_refused(tmp_path, refusal, command):
    movie = write_movie(tmp_path / "short.tif", counts((12, 24, 24)))
    out = tmp_path / ("sr.tif" if command == "reconstruct" else "scope.toml")
    options = ["--pixel-size", 160, "--correct-drift"]
    line = refusal(tmp_path, command, movie, "--out", out, *options)
    assert f"{movie}: 12 frames of 24×24 px do not show drift" in line
    assert not out.exists()
