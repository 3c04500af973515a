"""A reconstruction is written whole or not at all, and read back as it was."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dlbi.core.emitters import Emitters
from dlbi.core.errors import FileFormatError, InputError, OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction
from dlbi.io import reconstructions
from dlbi.io.images import load_grid_image
from dlbi.io.reconstructions import (
    check_reconstruction_writable,
    load_reconstruction,
    reconstruction_paths,
    save_reconstruction,
)

GRID = PixelGrid((24, 16), 20.0, (160.0, 320.0))


def make(std=True, p_value=True, emitters=True):
    rng = np.random.default_rng(8)
    return Reconstruction(
        rng.random((24, 16), np.float32),
        GRID,
        std=rng.random((24, 16), np.float32) if std else None,
        p_value=rng.random((24, 16), np.float32) if p_value else None,
        occupancy=rng.random((24, 16), np.float32) if emitters else None,
        emitters=Emitters(rng.uniform(0, 300, 5), rng.uniform(0, 400, 5)) if emitters else None,
        provenance={"method": "bayes", "seed": 7, "chi2": np.float64("nan")},
    )


@pytest.mark.parametrize("parts", list(itertools.product([True, False], repeat=3)))
def test_round_trip_of_whatever_is_known(tmp_path, parts):
    result = make(*parts)
    written = save_reconstruction(tmp_path / "SR.ome.tif", result)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert written[0] == tmp_path / "SR.ome.tif"
    again = load_reconstruction(tmp_path / "SR.ome.tif")
    assert again.grid == GRID
    assert again.provenance == {"method": "bayes", "seed": 7, "chi2": None}
    for name in ("mean", "std", "p_value", "occupancy"):
        before, after = getattr(result, name), getattr(again, name)
        assert (before is None) == (after is None)
        if before is not None:
            np.testing.assert_array_equal(after, before)
    assert (again.emitters is None) == (result.emitters is None)
    if result.emitters is not None:
        np.testing.assert_allclose(again.emitters.x_nm, result.emitters.x_nm, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("SR.ome.tif", "SR.std.ome.tif"),
        ("SR.ome.tiff", "SR.std.ome.tiff"),
        ("SR.tif", "SR.std.tif"),
        ("SR.v2.tiff", "SR.v2.std.tiff"),
    ],
)
def test_names(name, std):
    names = reconstruction_paths(Path("d") / name)
    stem = std.partition(".std")[0]
    assert names.std == Path("d") / std
    assert names.p_value == Path("d") / std.replace(".std", ".p_value")
    assert names.emitters == Path("d") / f"{stem}.emitters.csv"
    assert names.provenance == Path("d") / f"{stem}.provenance.json"
    assert names.every()[-1] == names.mean == Path("d") / name


def test_mean_image_is_in_the_named_file(tmp_path):
    result = make()
    save_reconstruction(tmp_path / "SR.ome.tif", result)
    with tifffile.TiffFile(tmp_path / "SR.ome.tif") as tif:
        assert tif.series[0].axes == "YX"
        assert tif.series[0].dtype == np.float32
        np.testing.assert_array_equal(tif.asarray(), result.mean)


def test_equal_results_give_equal_bytes(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_reconstruction(tmp_path / folder / "SR.ome.tif", make())
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("step", ["write_image", "write_emitters", "write_json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_failure_in_the_middle_changes_nothing(tmp_path, monkeypatch, error, step, overwrite):
    path = tmp_path / "SR.ome.tif"
    if overwrite:
        save_reconstruction(path, make(std=False))
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    write, calls = getattr(reconstructions, step), []

    def fail(target, *args, **kwargs):
        calls.append(target)
        if len(calls) == (2 if step == "write_image" else 1):
            target.write_bytes(b"half")
            raise error
        write(target, *args, **kwargs)

    monkeypatch.setattr(reconstructions, step, fail)
    with pytest.raises(error):
        save_reconstruction(path, make(), overwrite=overwrite)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_overwriting_removes_what_the_new_result_does_not_have(tmp_path):
    path = tmp_path / "SR.ome.tif"
    save_reconstruction(path, make())
    save_reconstruction(path, make(std=False, emitters=False), overwrite=True)
    again = load_reconstruction(path)
    assert again.std is None
    assert again.emitters is None
    assert again.p_value is not None


def test_a_report_goes_with_its_image(tmp_path):
    path, page = tmp_path / "SR.ome.tif", tmp_path / "SR.report.html"
    assert page in save_reconstruction(path, make(), report="<p>±\n")
    assert page.read_bytes() == "<p>±\n".encode()
    with pytest.raises(OutputError, match=r"SR.*exists already"):
        save_reconstruction(path, make(), report="<p>new")
    assert page.read_bytes() == "<p>±\n".encode()
    assert page not in save_reconstruction(path, make(), overwrite=True)
    assert not page.exists()


@pytest.mark.parametrize("present", ["SR.ome.tif", "SR.std.ome.tif", "SR.emitters.csv"])
def test_any_existing_file_of_the_set_is_refused_first(tmp_path, present):
    (tmp_path / present).write_text("mine")
    for refuse in (
        lambda: check_reconstruction_writable(tmp_path / "SR.ome.tif"),
        lambda: save_reconstruction(tmp_path / "SR.ome.tif", make(emitters=False)),
    ):
        with pytest.raises(OutputError, match="use --overwrite") as caught:
            refuse()
        assert str(caught.value).startswith(str(tmp_path / present))
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(present, "mine")]


@pytest.mark.parametrize("sibling", ["SR.std.ome.tif", "SR.emitters.csv", "SR.report.html"])
def test_only_what_a_reconstruction_left_is_overwritten_beside_the_image(tmp_path, sibling):
    """What is of another origin would vanish, or be read as a part of the new image."""
    path, other = tmp_path / "SR.ome.tif", tmp_path / sibling
    path.write_text("old")
    check_reconstruction_writable(path, overwrite=True)
    other.write_text("mine")
    with pytest.raises(OutputError, match="not of an earlier reconstruction"):
        check_reconstruction_writable(path, overwrite=True)
    (tmp_path / "SR.provenance.json").write_text("{}")
    check_reconstruction_writable(path, overwrite=True)


def test_unwritable_names(tmp_path):
    for name in ("SR.foo", "SR.csv", "SR", "SR.png"):
        with pytest.raises(OutputError, match="end it in one of"):
            check_reconstruction_writable(tmp_path / name)
    with pytest.raises(OutputError, match="create it first"):
        check_reconstruction_writable(tmp_path / "missing" / "SR.tif")


def test_image_of_another_program(tmp_path):
    image = np.random.default_rng(0).random((6, 5)).astype(np.float32)
    tifffile.imwrite(tmp_path / "other.tif", image)
    with pytest.raises(InputError, match="--pixel-size"):
        load_reconstruction(tmp_path / "other.tif")
    again = load_reconstruction(tmp_path / "other.tif", pixel_size_nm=12.5)
    np.testing.assert_array_equal(again.mean, image)
    assert again.grid == PixelGrid((6, 5), 12.5)
    assert again.provenance == {}


def test_siblings_of_another_image_are_noticed(tmp_path):
    path = tmp_path / "SR.tif"
    save_reconstruction(path, make())
    tifffile.imwrite(tmp_path / "SR.std.tif", np.ones((3, 3), np.float32))
    with pytest.raises(FileFormatError, match=r"SR\.tif: its siblings belong to another image"):
        load_reconstruction(path)
    (tmp_path / "SR.provenance.json").write_text(json.dumps([1]))
    with pytest.raises(FileFormatError, match=r"SR\.provenance\.json: holds a JSON list"):
        load_reconstruction(path)


def test_the_background_travels_on_the_camera_grid(tmp_path):
    grid = PixelGrid((16, 24), 20.0)
    background = np.arange(6, dtype=np.float32).reshape(2, 3)
    sr = Reconstruction(np.ones(grid.shape, np.float32), grid, background=background)
    save_reconstruction(tmp_path / "sr.ome.tif", sr)
    back = load_reconstruction(tmp_path / "sr.ome.tif")
    np.testing.assert_array_equal(back.background, background)
    assert load_grid_image(tmp_path / "sr.background.ome.tif")[1] == PixelGrid((2, 3), 160.0)
