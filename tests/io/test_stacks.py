"""Every kind of movie that users have opens lazily, with its pixels, pixel size and time."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.io.formats import (
    IMAGEJ_160,
    write_folder,
    write_imagej_like_fiji,
    write_ngff,
    write_npy,
    write_ome,
    write_pages,
)

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io import tiff
from dlbi.io.frames import MappedFrames
from dlbi.io.stacks import check_stack, load_stack
from dlbi.io.tiff import TiffFrames

DATA = Path(__file__).parents[3] / "shared" / "data"

WITH_PIXEL_SIZE = {
    "imagej": lambda p, m: tifffile.imwrite(p, m, **IMAGEJ_160),
    "ome": lambda p, m: write_ome(p, m, TimeIncrement=0.05),
    "ome-nm-ms": lambda p, m: write_ome(
        p,
        m,
        PhysicalSizeX=160.0,
        PhysicalSizeY=160.0,
        PhysicalSizeXUnit="nm",
        PhysicalSizeYUnit="nm",
        TimeIncrement=50.0,
        TimeIncrementUnit="ms",
    ),
    "ngff-0.5": write_ngff,
    "ngff-0.4": lambda p, m: write_ngff(p, m, version="0.4"),
    "ngff-sharded": lambda p, m: write_ngff(p, m, chunks=(1, 12, 10), shards=(4, 12, 10)),
}

WITHOUT_PIXEL_SIZE = {
    "plain": write_pages,
    "lzw": lambda p, m: write_pages(p, m, compression="lzw"),
    "lzw-predictor": lambda p, m: write_pages(p, m, compression="lzw", predictor=2),
    "deflate": lambda p, m: write_pages(p, m, compression="zlib"),
    "zstd": lambda p, m: write_pages(p, m, compression="zstd"),
    "strips": lambda p, m: write_pages(p, m, compression="lzw", rowsperstrip=5),
    "tiles": lambda p, m: write_pages(p, m, tile=(16, 16)),
    "bigtiff": lambda p, m: write_pages(p, m, bigtiff=True),
    "bigtiff-lzw": lambda p, m: write_pages(p, m, bigtiff=True, compression="lzw"),
    "big-endian": lambda p, m: tifffile.imwrite(p, m, byteorder=">"),
    "shaped": lambda p, m: tifffile.imwrite(p, m, photometric="minisblack"),
    "shaped-lzw": lambda p, m: tifffile.imwrite(p, m, photometric="minisblack", compression="lzw"),
    "npy": write_npy,
    "npy-fortran": lambda p, m: write_npy(p, np.asfortranarray(m)),
    "folder": write_folder,
}


@pytest.mark.parametrize("write", WITH_PIXEL_SIZE.values(), ids=WITH_PIXEL_SIZE)
def test_file_with_metadata_gives_pixels_size_and_interval(tmp_path, movie, write):
    path = tmp_path / "movie.data"
    write(path, movie)
    stack = load_stack(path)
    np.testing.assert_array_equal(stack.data[:], movie)
    assert stack.data.dtype == np.uint16
    assert stack.grid.shape == (12, 10)
    assert stack.grid.pixel_size_nm == pytest.approx(160, rel=1e-9)
    assert stack.frame_interval_s == pytest.approx(0.05, rel=1e-9)


@pytest.mark.parametrize("write", WITHOUT_PIXEL_SIZE.values(), ids=WITHOUT_PIXEL_SIZE)
def test_file_without_pixel_size_needs_the_option(tmp_path, movie, write):
    path = tmp_path / "movie.data"
    write(path, movie)
    with pytest.raises(InputError, match=r"movie\.data.*--pixel-size"):
        load_stack(path)
    stack = load_stack(path, pixel_size_nm=107, frame_interval_s=0.02)
    np.testing.assert_array_equal(stack.data[:], movie)
    assert stack.data.dtype.isnative
    assert stack.grid == PixelGrid((12, 10), 107.0)
    assert stack.frame_interval_s == 0.02


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "u4", "f2", "f4", "f8"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_pixel_types(tmp_path, movie, dtype, compression):
    expected = (movie % 200).astype(dtype) - (3 if np.dtype(dtype).kind in "if" else 0)
    expected = expected.astype(dtype)
    write_pages(tmp_path / "m.tif", expected, compression=compression)
    stack = load_stack(tmp_path / "m.tif", pixel_size_nm=100)
    assert stack.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stack.data[:], expected)


@pytest.mark.parametrize(
    "write",
    [*WITH_PIXEL_SIZE.values(), *WITHOUT_PIXEL_SIZE.values()],
    ids=[*WITH_PIXEL_SIZE, *WITHOUT_PIXEL_SIZE],
)
def test_slices_are_those_of_the_array_and_survive_pickling(tmp_path, movie, write):
    path = tmp_path / "movie.data"
    write(path, movie)
    data = load_stack(path, pixel_size_nm=100).data
    for source in (data, pickle.loads(pickle.dumps(data))):
        np.testing.assert_array_equal(source[2:5, 3:9, 1:7], movie[2:5, 3:9, 1:7])
        np.testing.assert_array_equal(source[5:], movie[5:])
        np.testing.assert_array_equal(source[1:6:2, 3:9, 1:7], movie[1:6:2, 3:9, 1:7])
        np.testing.assert_array_equal(source[-1], movie[-1])
        np.testing.assert_array_equal(np.asarray(source), movie)
        assert source[4:4].shape == (0, 12, 10)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_window_equals_numpy(tmp_path_factory, data):
    movie = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)
    path = tmp_path_factory.mktemp("w") / "m.tif"
    write_pages(path, movie, compression="lzw")
    source = load_stack(path, pixel_size_nm=100).data
    bound = st.none() | st.integers(-8, 8)
    index = st.one_of(st.builds(slice, bound, bound), st.integers(-5, 4))
    frames = st.one_of(index, st.builds(slice, bound, bound, st.integers(1, 6)))
    key = (data.draw(frames), *data.draw(st.lists(index, max_size=2)))
    np.testing.assert_array_equal(source[key], movie[key])


def test_skipped_pixels_steps_back_and_too_many_indices_are_refused(tmp_path, movie):
    write_pages(tmp_path / "m.tif", movie)
    source = load_stack(tmp_path / "m.tif", pixel_size_nm=100).data
    with pytest.raises(IndexError, match="step 2 along axis 1"):
        source[:, ::2]
    with pytest.raises(IndexError, match="step -1 along axis 0"):
        source[::-1]
    with pytest.raises(IndexError, match="3 axes"):
        source[0, 0, 0, 0]
    with pytest.raises(IndexError):
        source[7]


def test_blocks_are_fresh_and_writable(tmp_path, movie):
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(np.float32), **IMAGEJ_160)
    stack = load_stack(tmp_path / "m.tif")
    assert isinstance(stack.data, MappedFrames)
    block = stack.load(slice(0, 2))
    block[:] = -1
    np.testing.assert_array_equal(stack.data[0], movie[0])


def test_only_wanted_pages_are_decoded(tmp_path, movie, monkeypatch):
    write_pages(tmp_path / "m.tif", movie, compression="lzw")
    decoded = []
    original = tiff.decode_page
    monkeypatch.setattr(
        tiff, "decode_page", lambda page, path: decoded.append(page.index) or original(page, path)
    )
    stack = load_stack(tmp_path / "m.tif", pixel_size_nm=100, check=False)
    assert decoded == []
    assert isinstance(stack.data, TiffFrames)
    stack.select(slice(2, 5), roi=(1, 2, 4, 3)).load(slice(0, 2))
    assert decoded == [2, 3]


@pytest.mark.skipif(os.name == "nt", reason="needs sparse files")
def test_a_hundred_gigabytes_open_at_once(tmp_path):
    # A sparse file: only directories are on disk, so reading all of it would be noticed.
    path = tmp_path / "huge.tif"
    tifffile.imwrite(
        path,
        shape=(3000, 4096, 4096),
        dtype=np.uint16,
        bigtiff=True,
        metadata=None,
        photometric="minisblack",
    )
    stack = load_stack(path, pixel_size_nm=100, check=False)
    assert stack.n_frames == 3000
    assert stack.data[2998:, 4090:, 4090:].shape == (2, 6, 6)


def test_integer_check_stops_at_the_first_change():
    class Spy:
        shape = (100_000, 64, 64)
        frames_read = 0

        def __getitem__(self, key):
            n = len(range(*key.indices(self.shape[0])))
            Spy.frames_read += n
            return np.arange(n, dtype=np.uint16)[:, None, None] * np.ones((64, 64), np.uint16)

    check_stack(ImageStack(Spy(), PixelGrid((64, 64), 100.0)))
    assert Spy.frames_read < 5000


def test_imagej_hyperstack_with_one_directory(tmp_path, movie):
    path = tmp_path / "m.tif"
    write_imagej_like_fiji(path, movie)
    stack = load_stack(path)
    np.testing.assert_array_equal(stack.data[:], movie)
    assert stack.grid.pixel_size_nm == 160


@pytest.mark.skipif(not DATA.is_dir(), reason="sample data are not here")
@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("authors_test_series.tif", (200, 60, 60), np.uint8),
        ("actin2_crop_128x128.tif", (200, 128, 128), np.uint16),
    ],
)
def test_sample_movies(name, shape, dtype):
    stack = load_stack(DATA / name)
    assert stack.data.shape == shape
    assert stack.data.dtype == dtype
    assert stack.grid.pixel_size_nm == 160
    assert stack.frame_interval_s == 0.05
    np.testing.assert_array_equal(stack.data[17:19], tifffile.imread(DATA / name)[17:19])
