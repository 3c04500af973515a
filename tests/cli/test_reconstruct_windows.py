"""`dlbi reconstruct --window`: stacks, what is refused, and going on after an interruption."""

from __future__ import annotations

import csv
import html
import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from tests.cli.movies import counts, write_movie

from dlbi.core.errors import InputError, OutputError
from dlbi.core.optics import GaussianPSF
from dlbi.io.stacks import load_stack
from dlbi.io.windows import FinishedWindows
from dlbi.reconstruction import reconstruct_windows

QUICK = ["--method", "bayes", "--quality", "preview", "--roi", "4,4,12,12", "--seed", "2"]
WINDOWS = ["--window", 8, "--step", 6]  # 0:8, 6:14, 12:20, 18:26 of 30 frames
PARTIAL = ".sr.ome.tif.partial"

KILLED = """
import os, signal, sys
from dlbi.cli import main
from dlbi.io.windows import FinishedWindows

keep = FinishedWindows.append
def append(self, window):
    keep(self, window)
    if len(self) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
FinishedWindows.append = append
main(sys.argv[1:])
"""


def command(movie, folder, *more):
    return ["reconstruct", movie, "--out", folder / "sr.ome.tif", *WINDOWS, *QUICK, *more]


def contents(folder):
    """Everything that must repeat: all bytes, and the provenance without time and command."""
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    record = json.loads(files.pop("sr.provenance.json"))
    for changing in ("started_utc", "seconds", "command"):
        del record[changing]
    del record["config"]["n_workers"]
    return files, record


@pytest.fixture(scope="module")
def finished(simulated, tmp_path_factory):
    """An uninterrupted run."""
    from dlbi.cli import main

    folder = tmp_path_factory.mktemp("finished")
    assert main([str(a) for a in command(simulated, folder, "--workers", 1)]) == 0
    return folder


@pytest.fixture
def interrupted(simulated, tmp_path, monkeypatch, dlbi):
    """Ctrl-C after two windows: the folder, and what was printed."""
    keep = FinishedWindows.append

    def append(self, window):
        if len(self) == 2:
            raise KeyboardInterrupt
        keep(self, window)

    with monkeypatch.context() as patch:
        patch.setattr(FinishedWindows, "append", append)
        code, out, err = dlbi(*command(simulated, tmp_path))
    assert code == 1
    assert err.endswith("error: interrupted; no file is half-written\n")
    return tmp_path, out


def test_every_window_is_an_image_of_the_stack(finished, simulated):
    stack = load_stack(simulated)
    expected = list(
        reconstruct_windows(
            stack.select(roi=(4, 4, 12, 12)), window=8, step=6,
            method="bayes", quality="preview", rng=2,
        )
    )  # fmt: skip
    assert [frames.start for frames, _ in expected] == [0, 6, 12, 18]
    for name in ("mean", "std", "p_value", "occupancy", "background"):
        label = "" if name == "mean" else f".{name}"
        with tifffile.TiffFile(finished / f"sr{label}.ome.tif") as tif:
            assert tif.series[0].axes == "TYX"
            interval_s = 6 * stack.frame_interval_s
            assert f'TimeIncrement="{interval_s!r}"' in tif.ome_metadata
            images = tif.asarray()
        np.testing.assert_array_equal(images, [getattr(sr, name) for _, sr in expected])
    with (finished / "sr.emitters.csv").open() as file:
        frames = np.array([int(row["frame"]) for row in csv.DictReader(file)])
    n_emitters = [len(sr.emitters) for _, sr in expected]
    assert np.bincount(frames).tolist() == [0, *n_emitters]


def test_the_record_tells_of_every_window(finished):
    record = json.loads((finished / "sr.provenance.json").read_text())
    assert (record["config"]["window"], record["config"]["step"]) == (8, 6)
    inner = record["reconstruction"]
    assert inner["interval_s"] == pytest.approx(6 * record["config"]["frame_interval_s"])
    assert [w["frames"] for w in inner["windows"]] == [[n, n + 8, 1] for n in (0, 6, 12, 18)]
    assert {json.dumps(w["reconstruction"]["psf"]) for w in inner["windows"]} == {
        json.dumps(inner["psf"])
    }
    images = tifffile.imread(finished / "sr.ome.tif").astype(np.float64)
    light = [w["light"] for w in inner["windows"]]
    np.testing.assert_allclose(light, images.sum(axis=(1, 2)), rtol=1e-6)
    assert all("4 windows, first in window" in f["sentence"] for f in record["artefacts"])
    page = html.unescape((finished / "sr.report.html").read_text(encoding="utf-8"))
    assert page.count('<th scope="row">') > 4
    assert "<td>18:26</td>" in page


def test_a_killed_run_goes_on_to_the_same_bytes(finished, simulated, tmp_path, dlbi):
    arguments = [str(a) for a in command(simulated, tmp_path, "--workers", 2)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -9
    assert [p.name for p in tmp_path.iterdir()] == [PARTIAL]
    code, out, _ = dlbi(*arguments, "--resume")
    assert code == 0
    assert "4 windows of 8 frames, one every 6; the last 4 of 30 frames are left out; 2 are" in out
    assert "window 2 of 4" not in out
    assert "window 3 of 4" in out
    assert contents(tmp_path) == contents(finished)


def test_an_interrupted_run_says_how_to_go_on(interrupted, simulated, refusal, dlbi):
    folder, out = interrupted
    assert "2 of 4 windows are finished; go on with --resume" in out
    again = command(simulated, folder)
    assert "go on with --resume or begin anew with --overwrite" in refusal(folder, *again)
    once = ["reconstruct", simulated, "--out", folder / "sr.ome.tif", *QUICK, "--resume"]
    assert "unfinished run is there with window 8, not nothing" in refusal(folder, *once)
    other = [*command(simulated, folder), "--resume", "--psf-fwhm", 300]
    assert "an unfinished run is there with psf_fwhm_nm nothing, not 300.0" in refusal(
        folder, *other
    )
    code, out, _ = dlbi(*other, "--overwrite")
    assert code == 0
    assert "window 1 of 4" in out
    assert not (folder / PARTIAL).exists()


def test_the_drawn_seed_is_taken_up_again(interrupted, simulated, finished, dlbi):
    folder, _ = interrupted
    seedless = command(simulated, folder, "--resume")
    at = seedless.index("--seed")
    code, out, _ = dlbi(*seedless[:at], *seedless[at + 2 :])
    assert code == 0
    assert "seed 2" in out
    files, record = contents(folder)
    expected = contents(finished)
    files.pop("sr.report.html")  # tells the command, which names the seed elsewhere
    expected[0].pop("sr.report.html")
    assert (files, record) == expected


def test_interrupted_before_the_first_window_nothing_is_left(
    simulated, tmp_path, monkeypatch, dlbi
):
    def append(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FinishedWindows, "append", append)
    assert dlbi(*command(simulated, tmp_path))[0] == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_complete_is_not_done_again(simulated, tmp_path, dlbi, refusal):
    command = ["reconstruct", simulated, "--out", tmp_path / "sr.tif", "--method", "mean"]
    assert dlbi(*command, "--resume")[0] == 0  # with nothing to resume it begins
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    (tmp_path / ".sr.tif.partial").mkdir()  # as if killed before removing it
    code, out, err = dlbi(*command, "--resume", "--workers", 1)
    assert (code, err) == (0, "")
    assert out.endswith("sr.tif: is there already, from the same input with the same settings\n")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
    line = refusal(tmp_path, *command, "--resume", "--frames", "0:20")
    assert "a result is there with frames [0, 30, 1], not [0, 20, 1]" in line
    assert dlbi(*command, "--resume", "--frames", "0:20", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--window", "1"], "'--window'"),
        (["--window", "10", "--step", "0"], "'--step'"),
        (["--step", "5"], "give their length with --window"),
        (["--window", "31"], "a window of 31 frames is longer than the 30 of the movie"),
        (["--window", "20", "--frames", "0:30:2"], "longer than the 15 of the movie"),
    ],
)
def test_windows_that_do_not_fit(simulated, tmp_path, refusal, options, says):
    arguments = ["--out", tmp_path / "sr.tif", "--method", "mean", *options]
    assert says in refusal(tmp_path, "reconstruct", simulated, *arguments)


def test_a_full_disk_is_told_before_any_work(simulated, tmp_path, refusal, monkeypatch):
    nothing = type("Usage", (), {"free": 0})
    monkeypatch.setattr("dlbi.io.windows.shutil.disk_usage", lambda _: nothing)
    assert "and 0 GB are free" in refusal(tmp_path, *command(simulated, tmp_path))


def test_frames_are_those_of_the_file_and_time_is_told_only_if_known(tmp_path, dlbi):
    movie = write_movie(tmp_path / "movie.tif", counts())
    arguments = ["--pixel-size", 160, "--psf-fwhm", 422, "--method", "rl", "--no-report"]
    windows = ["--frames", "4:28:2", "--window", 5]
    out = tmp_path / "sr.tif"
    assert dlbi("reconstruct", movie, "--out", out, *arguments, *windows)[0] == 0
    record = json.loads((tmp_path / "sr.provenance.json").read_text())["reconstruction"]
    assert [w["frames"] for w in record["windows"]] == [[4, 14, 2], [14, 24, 2]]
    assert record["interval_s"] is None
    with tifffile.TiffFile(out) as tif:
        assert "TimeIncrement" not in tif.ome_metadata
    ((_, first), _) = reconstruct_windows(
        load_stack(movie, pixel_size_nm=160).select(slice(4, 28, 2)),
        window=5, method="rl", psf=GaussianPSF(422),
    )  # fmt: skip
    np.testing.assert_array_equal(tifffile.imread(out)[0], first.mean)


def test_scores_ask_for_one_image(finished, simulated, refused):
    line = refused("evaluate", finished / "sr.ome.tif", "--movie", simulated)
    assert "holds 4×96×96 (axes TYX), and a single image (Y, X) is needed; extract one" in line


def test_a_broken_frame_is_told_of_the_movie_and_a_full_disk_of_the_output(
    simulated, tmp_path, refused, monkeypatch
):
    def fail(*_):
        raise OutputError(f"{tmp_path / PARTIAL}: cannot be written")

    monkeypatch.setattr(FinishedWindows, "append", fail)
    line = refused(*command(simulated, tmp_path, "--psf-fwhm", 422))
    assert line == f"error: {tmp_path / PARTIAL}: cannot be written\n"
    assert list(tmp_path.iterdir()) == []

    def broken(*_, **__):
        raise InputError("frame 7 is broken")
        yield

    monkeypatch.setattr("dlbi.cli.job.reconstruct_windows", broken)
    line = refused(*command(simulated, tmp_path))
    assert line == f"error: {simulated}: frame 7 is broken\n"
    assert list(tmp_path.iterdir()) == []
