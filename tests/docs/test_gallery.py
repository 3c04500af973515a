"""The scripts of the gallery run as they stand and show what they say."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import dlbi

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def first_reconstruction(names):
    sr, movie = names["sr"], names["movie"]
    assert sr.grid == movie.grid.refine(8)
    assert dlbi.evaluate(sr, truth=movie.truth(8)).image.corr_2px > 0.9


def own_structure(names):
    scores = names["scores"]
    assert scores.image.corr_2px > 0.9
    assert scores.image.psnr_ls_db > scores.null.psnr_ls_db


def compare_methods(names):
    scores = names["scores"]
    assert max(scores["mean"], scores["sofi"]) < scores["rl"] < scores["dlbi"]


def uncertainty(names):
    shares, empty = names["shares"], names["empty"]
    assert (names["sr"].p_value <= 0.05).sum() > 1000
    assert shares[0.05] < 0.08
    assert shares[0.05] < shares[0.1] < shares[0.2] < empty.mean()


def error_map(names):
    good, bad = names["scores"]
    assert good.rsp > 0.98 > bad.rsp
    assert bad.error_map[:, 22:-4].mean() > 3 * bad.error_map[:, 4:18].mean()


def calibrate(names):
    scope = names["scope"]
    for name, true in names["truth"].items():
        figure = getattr(scope, name)
        assert figure.identified, name
        assert figure.low <= true <= figure.high, name


def own_microscope(names):
    measured = names["measured"].provenance["psf"]
    assert measured["origin"] == "movie"
    assert measured["fwhm_nm"] == pytest.approx(280, rel=0.1)
    assert np.corrcoef(names["given"].mean.ravel(), names["measured"].mean.ravel())[0, 1] > 0.9


def save_and_open(names):
    assert {path.name for path in names["written"]} == {
        f"cell-sr.{part}" for part in (
            "ome.tif", "std.ome.tif", "p_value.ome.tif", "occupancy.ome.tif", "background.ome.tif",
            "emitters.csv", "provenance.json",
        )
    }  # fmt: skip
    assert names["image"].shape == (256, 256)
    assert len(names["emitters"]) > 100
    assert names["record"]["seed"] == 7


CHECKS = {
    "01_first_reconstruction": first_reconstruction,
    "02_own_structure": own_structure,
    "03_compare_methods": compare_methods,
    "04_uncertainty": uncertainty,
    "05_error_map": error_map,
    "06_calibrate": calibrate,
    "07_own_microscope": own_microscope,
    "08_save_and_open": save_and_open,
}


def test_every_script_is_checked():
    assert [script.stem for script in SCRIPTS] == sorted(CHECKS)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_runs_draws_and_shows_what_it_says(script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    from matplotlib import pyplot as plt

    plt.close("all")
    with warnings.catch_warnings():
        warnings.simplefilter("error", dlbi.DlbiWarning)
        warnings.filterwarnings("ignore", message=".*non-interactive.*")
        names = runpy.run_path(str(script))
    try:
        (figure,) = (plt.figure(number) for number in plt.get_fignums())
        assert all(axes.has_data() for axes in figure.axes)
        CHECKS[script.stem](names)
    finally:
        plt.close("all")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_is_short(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 45
    assert lines[2] == "=" * len(lines[1])
