"""Finished windows wait in a folder, and become the stacks of one reconstruction."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from dlbi.core.emitters import Emitters
from dlbi.core.errors import FileFormatError, OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction
from dlbi.io import windows
from dlbi.io.images import load_image
from dlbi.io.reconstructions import load_reconstruction, reconstruction_paths
from dlbi.io.stacks import load_stack
from dlbi.io.windows import FinishedWindows, check_space

GRID = PixelGrid((24, 16), 20.0, (160.0, 320.0))


def make(seed, n_emitters=3):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 300, (2, n_emitters))
    return Reconstruction(
        rng.random((24, 16), np.float32),
        GRID,
        std=rng.random((24, 16), np.float32),
        p_value=rng.random((24, 16), np.float32),
        emitters=Emitters(*positions),
        occupancy=rng.random((24, 16), np.float32),
        background=rng.random((3, 2), np.float32),
        provenance={"seed": seed},
    )


def finished(tmp_path, parts):
    run = FinishedWindows(tmp_path / "SR.ome.tif", len(parts))
    run.start({"seed": 1})
    for part in parts:
        run.append(part)
    return run


def test_windows_become_stacks(tmp_path):
    parts = [make(seed) for seed in range(3)]
    run = finished(tmp_path, parts)
    assert [p.name for p in tmp_path.iterdir()] == [".SR.ome.tif.partial"]
    assert run.records() == [{"seed": seed} for seed in range(3)]
    written = run.save(interval_s=1.5, provenance={"seed": 1}, report="<html>")
    assert set(written) == set(tmp_path.iterdir()) == set(reconstruction_paths(run.output).every())
    names = reconstruction_paths(run.output)
    for name in ("mean", "std", "p_value", "occupancy", "background"):
        with tifffile.TiffFile(getattr(names, name)) as tif:
            (series,) = tif.series
            assert series.axes == "TYX"
            assert series.dtype == np.float32
            np.testing.assert_array_equal(
                series.asarray(), np.stack([getattr(part, name) for part in parts])
            )
            xml = tif.ome_metadata
        assert 'SizeT="3"' in xml
        assert 'TimeIncrement="1.5" TimeIncrementUnit="s"' in xml
    movie = load_stack(names.mean)
    assert (movie.grid, movie.frame_interval_s) == (GRID, 1.5)
    assert json.loads(names.provenance.read_text()) == {"seed": 1}
    assert names.report.read_text() == "<html>"


def test_the_frame_of_an_emitter_is_its_window(tmp_path):
    run = finished(tmp_path, [make(0), make(1, n_emitters=0), make(2, n_emitters=2)])
    run.save(interval_s=None, provenance={})
    with reconstruction_paths(run.output).emitters.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert [row["frame"] for row in rows] == ["1", "1", "1", "3", "3"]
    x_nm = np.concatenate([make(0).emitters.x_nm, make(2, 2).emitters.x_nm])
    np.testing.assert_allclose([float(row["x [nm]"]) for row in rows], x_nm, rtol=1e-9)


def test_what_a_window_lacks_is_left_out_and_an_old_file_of_it_goes(tmp_path):
    old = finished(tmp_path, [make(5), make(6)])
    old.save(interval_s=None, provenance={}, report="old")
    run = finished(tmp_path, [make(0), replace(make(1), std=None, emitters=None)])
    run.save(interval_s=None, provenance={}, overwrite=True)
    names = reconstruction_paths(run.output)
    left = {
        names.mean, names.p_value, names.occupancy, names.background, names.provenance
    }  # fmt: skip
    assert set(tmp_path.iterdir()) == left
    with tifffile.TiffFile(names.mean) as tif:
        assert "TimeIncrement" not in tif.ome_metadata


def test_a_single_window_is_a_single_image(tmp_path):
    run = finished(tmp_path, [make(4)])
    run.save(interval_s=2.0, provenance={})
    again = load_reconstruction(run.output)
    np.testing.assert_array_equal(again.mean, make(4).mean)
    assert again.grid == GRID


def test_a_stack_is_no_single_reconstruction(tmp_path):
    run = finished(tmp_path, [make(0), make(1)])
    run.save(interval_s=None, provenance={})
    with pytest.raises(FileFormatError, match=r"holds 2×24×16 \(axes TYX\), and a single image"):
        load_reconstruction(run.output)


def test_the_mean_is_that_of_all_windows(tmp_path):
    parts = [make(seed) for seed in range(3)]
    mean = finished(tmp_path, parts).mean()
    assert mean.grid == GRID
    np.testing.assert_allclose(mean.mean, np.mean([p.mean for p in parts], axis=0), rtol=1e-6)
    backgrounds = [p.background for p in parts]
    np.testing.assert_allclose(mean.background, np.mean(backgrounds, axis=0), rtol=1e-6)


def test_a_window_counts_when_it_is_complete(tmp_path, monkeypatch):
    run = FinishedWindows(tmp_path / "SR.tif", 3)
    assert run.settings() == {}
    run.start({"seed": 1})
    run.append(make(0))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dlbi.io.reconstructions.write_json", full)
        with pytest.raises(OutputError, match="No space left"):
            run.append(make(1))
    assert len(run) == 1
    run.paths(1).std.write_bytes(b"left by a killed run")
    run.append(make(1))
    assert len(run) == 2
    np.testing.assert_array_equal(load_image(run.paths(1).std)[0], make(1).std)
    assert run.settings() == {"seed": 1}
    run.start({"seed": 2})
    assert (len(run), run.settings()) == (0, {"seed": 2})


@pytest.mark.parametrize("step", ["write_image_series", "write_emitter_series", "write_json"])
def test_a_failure_leaves_no_file_and_all_windows(tmp_path, monkeypatch, step):
    run = finished(tmp_path, [make(0), make(1)])

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(windows, step, fail)
    with pytest.raises(OutputError, match=r"SR\..*cannot be written \(No space left"):
        run.save(interval_s=None, provenance={})
    assert list(tmp_path.iterdir()) == [run.folder]
    assert len(run) == 2


def test_a_disk_without_room_is_refused(tmp_path, monkeypatch):
    # Twice (window and stack) three images of four bytes.
    needed = 2 * 3 * 4 * 24 * 16 * 5
    free = type("Usage", (), {"free": needed})
    monkeypatch.setattr(windows.shutil, "disk_usage", lambda _: free)
    check_space(tmp_path / "SR.tif", GRID, n_windows=5, n_images=3)
    with pytest.raises(OutputError, match=r"6 windows need 5\.53e-05 GB and 4\.61e-05 GB are"):
        check_space(tmp_path / "SR.tif", GRID, n_windows=6, n_images=3)
