"""The demo: everything it promises is written, in a set that belongs together."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from dlbi import demo
from dlbi.cli import main
from dlbi.core.errors import OutputError
from dlbi.io.images import load_grid_image
from dlbi.io.stacks import load_stack
from dlbi.reconstruction import prior


@pytest.fixture(scope="module")
def small():
    """A demo of a field and a movie small enough for tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "FIELD_PX", 20)
        patch.setattr(demo, "N_FRAMES", 30)
        yield demo


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """A finished demo and what it reported."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    stages = []
    result = small.run(folder, seed=3, progress=lambda *step: stages.append(step))
    return folder, result, stages


def test_all_files_are_there(finished):
    folder, _, _ = finished
    images = [f"{method}.ome.tif" for method in demo.METHODS]
    siblings = ["background.ome.tif", "provenance.json"]
    uncertain = ["std.ome.tif", "p_value.ome.tif"]
    assert {p.name for p in folder.iterdir()} == {
        "movie.ome.tif", "movie.truth.tif", "movie.truth_x2.tif", "movie.truth_x4.tif",
        "movie.emitters.csv", "movie.provenance.json", "scores.json", "panel.png", *images,
        *(f"{method}.{name}" for method in demo.METHODS for name in siblings),
        *(f"{method}.{name}" for method in ("network", "dlbi") for name in uncertain),
        "dlbi.emitters.csv", "dlbi.occupancy.ome.tif", "dlbi.report.html",
    }  # fmt: skip
    movie = load_stack(folder / "movie.ome.tif")
    for name in [*images, "movie.truth.tif"]:
        assert load_grid_image(folder / name)[1] == movie.grid.refine(8)


def test_scores_have_a_row_for_each_method_and_the_null_image(finished):
    folder, result, _ = finished
    rows = json.loads((folder / "scores.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["mean", "rl", "network", "dlbi", "null"]
    by_name = {row["name"]: row for row in rows}
    assert by_name["dlbi"]["corr_2px"] > by_name["mean"]["corr_2px"]
    assert by_name["null"]["corr_2px"] is None
    text = str(result)
    assert str(folder / "panel.png") in text
    assert all(line in text for line in ("null ", "ls: ", "p999: "))


def test_the_report_shows_the_truth_and_tells_how_to_repeat_it(finished):
    folder, result, _ = finished
    page = (folder / "dlbi.report.html").read_text(encoding="utf-8")
    assert "<b>Truth</b>" in page
    assert "against the truth" in page
    assert "dlbi demo --seed 3" in re.sub(r"<[^>]+>", "", page)
    assert str(folder / "dlbi.report.html") in str(result)


def test_what_two_methods_warn_of_is_told_once(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(prior, "LARGE_SHARE", -1.0)
    for n in range(2):
        assert main(["demo", "--out", str(tmp_path / str(n)), "--seed", "3"]) == 0
        assert capsys.readouterr().err.count("network and movie disagree") == 1


def test_panel_shows_four_pictures_side_by_side(finished):
    folder, _, _ = finished
    image = imread(folder / "panel.png")
    height, width = image.shape[:2]
    assert 3 < width / height < 4.5
    middle = image[height // 2, :, :3].mean(axis=1)
    gaps = np.flatnonzero(np.diff((middle > 0.999).astype(int)) == 1)
    assert len(gaps) == 4


def test_every_stage_is_reported_to_its_end(finished):
    _, _, stages = finished
    last = {stage: (done, total) for stage, done, total in stages}
    assert "frames" in last
    assert all(done == total for done, total in last.values())


def test_nothing_is_replaced_unasked(finished, small, tmp_path):
    folder, _, _ = finished
    before = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    with pytest.raises(OutputError, match="exists already; use --overwrite"):
        small.run(folder, seed=3)
    assert {p: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_folders_that_cannot_be_used(small, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        small.run(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot be made"):
        small.run(tmp_path / "no" / "where")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_interrupted_demo_leaves_no_empty_folder(small, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small.run(tmp_path / "out", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_command_prints_the_table(small, tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path / "d"), "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n{method} " in out for method in demo.METHODS)
    assert "panel.png" in out
    assert main(["demo", "--out", str(tmp_path / "d")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
