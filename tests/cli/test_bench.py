"""`dlbi bench`: what it refuses in one line, what it lists, and a run on a tiny movie."""

from __future__ import annotations

import json

import pytest
from tests.cli.movies import write_movie

from dlbi.bench.experiments import EXPERIMENTS, NOT_REPRODUCED
from dlbi.bench.films import film
from dlbi.bench.subjects import Simulated


@pytest.fixture
def movie(tmp_path):
    source = Simulated(
        structure="mesh", preset="meos3.2", seed=4, field_px=16, n_frames=24, shown=24
    )
    return write_movie(tmp_path / "actin.tif", source.load().stack.data[:])


def test_the_list_names_every_experiment_and_what_cannot_be_repeated(dlbi):
    code, out, err = dlbi("bench", "--list")
    assert (code, err) == (0, "")
    for name, experiment in EXPERIMENTS.items():
        assert f"  {name} " in out
        assert experiment.reproduces in out
    for what, why in NOT_REPRODUCED.items():
        assert f"{what}: {why}" in out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give --out DIR"),
        (["--out", "{}/file"], "exists already"),
        (["--out", "{}/new", "--resume"], "no such folder to continue in"),
        (["--out", "{}/new", "--experiment", "fig7"], "no experiment is called 'fig7'"),
        (["--out", "{}/new", "--experiment", "patches"], "needs real movies; give --movie PATH"),
        (["--out", "{}/new", "--movie", "{}/none.tif"], "none.tif"),
        (["--out", "{}/new", "--movie", "{}/actin.tif"], "--pixel-size"),
        (["--out", "{}/new", "--movie", "{}/actin.tif", "--pixel-size", 160, "--roi", "1,2"],
         "--roi 1,2"),
        (["--out", "{}/new", "--movie", "{}/actin.tif", "--pixel-size", 160, "--roi", "0,0,8,16"],
         "16×16 camera pixels, the region has 8×16"),
        (["--out", "{}/new", "--movie", "{}/actin.tif", "--pixel-size", 160, "--psf-fwhm", -1],
         "--psf-fwhm"),
        (["--out", "{}/new", "--channels", "{}/actin.tif", "{}/none.tif", "--pixel-size", 160],
         "none.tif"),
        (["--out", "{}/new", "--threeb", "long"], "long"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(refusal, tmp_path, movie, arguments, told):
    (tmp_path / "file").write_text("mine")
    assert told in refusal(tmp_path, "bench", *(str(a).format(tmp_path) for a in arguments))


def test_a_real_movie_is_scored_once_and_taken_up_again(dlbi, tmp_path, movie):
    out = tmp_path / "out"
    options = ["bench", "--out", out, "--quick", "--experiment", "patches", "--movie", movie,
               "--pixel-size", 160, "--psf-fwhm", 422, "--seed", 3]  # fmt: skip
    code, printed, err = dlbi(*options)
    assert (code, err) == (0, "")
    assert "cases of patches; seed 3" in printed
    assert {p.name for p in out.iterdir()} == {"bench.json", "bench.md", "patches.png", "cases"}
    record = json.loads((out / "bench.json").read_text())
    assert [entry["name"] for entry in record["environment"]["inputs"]] == ["actin.tif"]
    found = {case["name"]: case["scores"] for case in record["experiments"]["patches"]["cases"]}
    assert set(found) >= {"bicubic mean", "Richardson–Lucy", "SOFI2", "3B, preview", "dlbi"}
    assert found["bicubic mean"]["rsp"] > 0.95
    (patch, whole) = film(movie, seed=3, patch_px=30, pixel_size_nm=160.0)
    assert whole is None
    assert f"{patch.title}:" in (out / "bench.md").read_text()

    before = {p: p.stat().st_mtime_ns for p in (out / "cases").iterdir()}
    code, _, _ = dlbi(*options, "--resume")
    assert code == 0
    assert {p: p.stat().st_mtime_ns for p in (out / "cases").iterdir()} == before
    again = json.loads((out / "bench.json").read_text())
    assert again["experiments"] == record["experiments"]
