"""Movies are written in chunks, complete or not at all, and reopen as they were."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import InputError, OutputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io import stack_writer
from dlbi.io.frames import MappedFrames
from dlbi.io.stack_writer import StackWriter, save_stack
from dlbi.io.stacks import load_stack

GRID = PixelGrid((12, 10), 160.0)


@settings(max_examples=40, deadline=None)
@given(
    dtype=st.sampled_from(["u1", "u2", "u4", "i1", "i2", "i4", "f4", "f8"]),
    pixel_size_nm=st.floats(20, 2000),
    interval_s=st.none() | st.floats(1e-6, 1e3),
    origin_nm=st.tuples(st.floats(-1e5, 1e5), st.floats(-1e5, 1e5)),
    unit=st.sampled_from(["adu", "photon"]),
    seed=st.integers(0, 99),
)
def test_round_trip_is_exact(
    tmp_path_factory, dtype, pixel_size_nm, interval_s, origin_nm, unit, seed
):
    frames = np.random.default_rng(seed).integers(0, 100, (4, 5, 6)).astype(dtype)
    grid = PixelGrid((5, 6), pixel_size_nm, origin_nm)
    stack = ImageStack(frames, grid, interval_s, unit)
    path = save_stack(tmp_path_factory.mktemp("m") / "m.ome.tif", stack)
    again = load_stack(path)
    np.testing.assert_array_equal(again.data[:], frames)
    assert again.data.dtype == frames.dtype
    assert again.grid == grid
    assert again.frame_interval_s == interval_s
    assert again.unit == unit


@pytest.mark.parametrize("name", ["m.ome.tif", "m.ome.tiff", "m.tif", "m.TIFF"])
def test_names_of_tiffs(tmp_path, movie, name):
    path = save_stack(tmp_path / name, ImageStack(movie, GRID))
    np.testing.assert_array_equal(load_stack(path).data[:], movie)


def test_chunks_and_single_frames_give_one_movie(tmp_path, movie):
    with StackWriter(tmp_path / "m.ome.tif", GRID, n_frames=7) as writer:
        writer.write(movie[:3])
        writer.write(movie[3])
        writer.write(movie[4:])
    stack = load_stack(tmp_path / "m.ome.tif")
    assert isinstance(stack.data, MappedFrames)
    np.testing.assert_array_equal(stack.data[:], movie)


def test_a_lazy_region_is_copied_in_chunks(tmp_path, movie, monkeypatch):
    monkeypatch.setattr(stack_writer, "_COPY_BYTES", 200)
    source = save_stack(tmp_path / "m.ome.tif", ImageStack(movie, GRID))
    part = load_stack(source).select(slice(1, 6), roi=(2, 3, 5, 4))
    again = load_stack(save_stack(tmp_path / "part.ome.tif", part))
    np.testing.assert_array_equal(again.data[:], movie[1:6, 3:7, 2:7])
    assert again.grid.origin_nm == (480.0, 320.0)


def test_movie_can_replace_itself(tmp_path, movie):
    path = save_stack(tmp_path / "m.tif", ImageStack(movie, GRID))
    save_stack(path, load_stack(path).select(slice(2, 5)), overwrite=True)
    np.testing.assert_array_equal(load_stack(path).data[:], movie[2:5])


def test_other_readers_see_time_and_size(tmp_path, movie):
    path = save_stack(tmp_path / "m.ome.tif", ImageStack(movie, GRID, 0.05))
    with tifffile.TiffFile(path) as tif:
        assert (tif.series[0].kind, tif.series[0].axes) == ("ome", "TYX")
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
        assert pixels["SizeT"] == 7
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.16, "µm")
        assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (0.05, "s")
        for page in (
            tif.pages.first,
            tif.pages.get(6),
        ):  # readers without OME-XML: 62 500 pixels per centimetre
            assert page.tags["XResolution"].value == (62500, 1)
            assert page.tags["YResolution"].value == (62500, 1)
            assert page.tags["ResolutionUnit"].value == tifffile.RESUNIT.CENTIMETER
    np.testing.assert_array_equal(tifffile.imread(path), movie)


def test_equal_content_gives_equal_bytes(tmp_path, movie):
    stack = ImageStack(movie, GRID, 0.05)
    a = save_stack(tmp_path / "a.ome.tif", stack)
    b = save_stack(tmp_path / "b.ome.tif", stack)
    assert a.read_bytes() == b.read_bytes()


def test_beyond_four_gigabytes_it_is_bigtiff(tmp_path, monkeypatch, movie):
    monkeypatch.setattr(stack_writer, "_BIG_TIFF_BYTES", movie.nbytes - 1)
    path = save_stack(tmp_path / "m.ome.tif", ImageStack(movie, GRID))
    with tifffile.TiffFile(path) as tif:
        assert tif.is_bigtiff
    np.testing.assert_array_equal(load_stack(path).data[:], movie)


def test_float_frames_are_rounded_and_must_fit(tmp_path):
    path = tmp_path / "m.tif"
    with StackWriter(path, GRID, n_frames=2, dtype=np.uint16) as writer:
        writer.write(np.full((12, 10), 65535.4))
        writer.write(np.full((12, 10), 2.6, np.float32))
    assert load_stack(path, check=False).data[:, 0, 0].tolist() == [65535, 3]
    for bad in (-0.6, 65535.6, np.nan, np.inf):
        with (
            pytest.raises(InputError, match=r"do not fit uint16; write float32"),
            StackWriter(path, GRID, n_frames=2, overwrite=True) as writer,
        ):
            writer.write(np.full((12, 10), bad))
    with (
        pytest.raises(InputError, match="do not fit uint8"),
        StackWriter(path, GRID, n_frames=2, dtype=np.uint8, overwrite=True) as writer,
    ):
        writer.write(np.full((12, 10), 300, np.uint16))
    assert load_stack(path, check=False).data[:, 0, 0].tolist() == [65535, 3]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_in_the_middle_leaves_nothing(tmp_path, movie, error):
    def fail():
        with StackWriter(tmp_path / "m.ome.tif", GRID, n_frames=7) as writer:
            writer.write(movie[:3])
            assert len(list(tmp_path.iterdir())) == 1
            assert not (tmp_path / "m.ome.tif").exists()
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_incomplete_and_overfull_movies_leave_nothing(tmp_path, movie):
    path = tmp_path / "m.tif"
    with (
        pytest.raises(ShapeError, match="3 of 7 frames were written"),
        StackWriter(path, GRID, n_frames=7) as writer,
    ):
        writer.write(movie[:3])
    with (
        pytest.raises(ShapeError, match=r"0 \+ 8 frames do not fit the 7"),
        StackWriter(path, GRID, n_frames=7) as writer,
    ):
        writer.write(np.concatenate([movie, movie[:1]]))
    with (
        pytest.raises(ShapeError, match="do not fit the grid"),
        StackWriter(path, GRID, n_frames=7) as writer,
    ):
        writer.write(movie[:, :5])
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    def write(self, block):
        raise OSError(28, "No space left on device")


def test_full_disk_is_one_error_and_no_file(tmp_path, movie, monkeypatch):
    def write():
        with StackWriter(tmp_path / "m.tif", GRID, n_frames=7) as writer:
            monkeypatch.setattr(writer, "_file", FullDisk())
            writer.write(movie)

    with pytest.raises(OutputError, match=r"m\.tif: cannot be written \(No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_refusals_come_before_any_frame(tmp_path, movie):
    (tmp_path / "there.tif").write_text("mine")
    with pytest.raises(OutputError, match="exists already; use --overwrite"):
        StackWriter(tmp_path / "there.tif", GRID, n_frames=7)
    with pytest.raises(OutputError, match="cannot tell the format"):
        StackWriter(tmp_path / "m.foo", GRID, n_frames=7)
    with pytest.raises(OutputError, match="int64 pixels"):
        save_stack(tmp_path / "m.tif", ImageStack(movie.astype(np.int64), GRID))
    with pytest.raises(ShapeError, match="at least 2 frames"):
        StackWriter(tmp_path / "m.tif", GRID, n_frames=1)
    assert (tmp_path / "there.tif").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
