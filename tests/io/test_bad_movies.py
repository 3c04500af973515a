"""Every unusable movie is refused with one line that names the file and what to do."""

from __future__ import annotations

import os
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import DlbiError, DlbiWarning, FileFormatError, InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io.stacks import check_stack, load_stack

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def refusal(path, kind=FileFormatError, **options):
    """Message of the error, checked to be one line that names the path."""
    options = {"pixel_size_nm": 100} | options
    with pytest.raises(kind) as caught:
        load_stack(path, **options)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def pixels_or_refusal(path, **options):
    """The whole movie, or the message of the refusal; anything else is an error."""
    try:
        return np.asarray(load_stack(path, pixel_size_nm=100, **options).data)
    except DlbiError as error:
        return str(error)


def plain_tiff(path, movie, **options):
    with tifffile.TiffWriter(path) as writer:
        for frame in movie:
            writer.write(frame, metadata=None, photometric="minisblack", **options)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"x,y\n1,2\n", "unknown content"),
        (PNG, "PNG picture, not a movie"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "JPEG picture, not a movie"),
        (b"PK\x03\x04" + bytes(64), "ZIP archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\xda\xce\xbe\x0a" + bytes(64), "Nikon ND2"),
        (b"II*\x00", "is not a readable TIFF"),
        (b"II*\x00" + bytes(4), "holds no image"),
        (b"MM\x00*\xff\xff\xff\xff", "holds no image"),
        (b"\x93NUMPY", "is not a readable .npy array"),
    ],
)
def test_not_a_movie(tmp_path, content, says):
    path = tmp_path / "movie.tif"
    path.write_bytes(content)
    message = refusal(path)
    assert says in message
    assert any(advice in message for advice in ("Fiji", "give a TIFF", "again", "truncated"))


def test_missing_path(tmp_path):
    assert "no such file" in refusal(tmp_path / "nowhere.tif", InputError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_special_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    assert "not a regular file" in refusal(tmp_path / "pipe.tif", InputError)


def test_folders_that_are_no_movie(tmp_path, movie):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "notes.txt").write_text("none")
    assert "folder without TIFF files" in refusal(folder)
    tifffile.imwrite(folder / "a.tif", movie[0])
    assert "holds one TIFF only" in refusal(folder)


def test_folder_with_a_frame_that_does_not_fit(tmp_path, movie):
    folder = tmp_path / "frames"
    folder.mkdir()
    for i in range(3):
        tifffile.imwrite(folder / f"f{i}.tif", movie[i])
    odd = folder / "f2.tif"
    cases = {
        "but f0.tif is (12, 10) uint16": lambda: tifffile.imwrite(odd, movie[2, :5]),
        "(12, 10) float32, but": lambda: tifffile.imwrite(odd, movie[2].astype("f4")),
        "holds 7 images": lambda: plain_tiff(odd, movie),
        "a colour (RGB)": lambda: tifffile.imwrite(
            odd, np.zeros((12, 10, 3), np.uint8), photometric="rgb"
        ),
    }
    for says, write in cases.items():
        write()
        stack = load_stack(folder, pixel_size_nm=100, check=False)
        np.testing.assert_array_equal(stack.data[:2], movie[:2])
        with pytest.raises(FileFormatError, match=r"f2\.tif") as caught:
            np.asarray(stack.data)
        assert says in str(caught.value)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_single_frame(tmp_path, movie, compression):
    tifffile.imwrite(tmp_path / "one.tif", movie[0], compression=compression)
    assert "single frame" in refusal(tmp_path / "one.tif")
    np.save(tmp_path / "one.npy", movie[:1])
    assert "at least 2 frames" in refusal(tmp_path / "one.npy")


@pytest.mark.parametrize("dtype", [np.complex64, bool])
def test_pixels_that_are_no_intensities(tmp_path, movie, dtype):
    np.save(tmp_path / "m.npy", movie.astype(dtype))
    assert "integers or real numbers" in refusal(tmp_path / "m.npy")
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(dtype), photometric="minisblack")
    assert "integers or real numbers" in refusal(tmp_path / "m.tif")


def test_pickled_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "m.npy", np.array([[["a", {}]]], object), allow_pickle=True)
    assert "is not a readable .npy array" in refusal(tmp_path / "m.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39, -1.1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_no_camera_gives(tmp_path, movie, bad, dtype):
    values = movie.astype(dtype)
    with np.errstate(over="ignore"):
        values[5, 3, 8] = bad
    tifffile.imwrite(tmp_path / "m.tif", values, photometric="minisblack")
    message = refusal(tmp_path / "m.tif", InputError)
    assert "pixel x=8, y=3 of frame 5" in message
    assert load_stack(tmp_path / "m.tif", pixel_size_nm=100, check=False).n_frames == 7


def test_bad_pixel_beyond_the_first_chunk():
    movie = np.random.default_rng(1).random((40, 512, 512)).astype(np.float32)
    movie[-1, -1, -1] = np.nan
    with pytest.raises(InputError, match=r"x=511, y=511 of frame 39"):
        check_stack(ImageStack(movie, PixelGrid((512, 512), 100.0)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize(
    ("movie", "says"),
    [
        (np.zeros((5, 6, 7)), "every pixel is 0"),
        (np.full((5, 6, 7), 100), "every pixel is 100"),
        (np.tile(np.arange(42).reshape(6, 7), (5, 1, 1)), "a still image"),
    ],
)
def test_nothing_changes(tmp_path, movie, says, dtype):
    tifffile.imwrite(tmp_path / "m.tif", movie.astype(dtype), photometric="minisblack")
    message = refusal(tmp_path / "m.tif", InputError)
    assert "all 5 frames are identical" in message
    assert says in message


def test_change_in_the_last_frame_is_enough(tmp_path):
    movie = np.zeros((300, 600, 600), np.uint8)
    movie[-1, 5, 5] = 1
    np.save(tmp_path / "m.npy", movie)
    assert load_stack(tmp_path / "m.npy", pixel_size_nm=100).n_frames == 300


# ------------------------------------------------------- files that declare more than they hold


def giant_plain(path):
    tifffile.imwrite(path, shape=(1000, 1024, 2048), dtype=np.uint16, metadata=None)


def giant_imagej(path):
    tifffile.imwrite(
        path,
        np.zeros((8, 8), np.uint16),
        description="ImageJ=1.54f\nimages=40000000\nframes=40000000\nunit=nm\n",
        metadata=None,
    )


def giant_ome(path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
        'SizeX="8" SizeY="8" SizeC="1" SizeZ="1" SizeT="{}" PhysicalSizeX="0.1">'
        "<TiffData/></Pixels></Image></OME>"
    )
    frame = np.zeros((8, 8), np.uint16)
    tifffile.imwrite(path, frame, description=xml.format(40_000_000_000), metadata=None)


def giant_compressed(path):
    """A frame of 4 GB in a few bytes of deflate."""
    tifffile.imwrite(
        path, np.zeros((2, 8, 8), np.uint16), compression="zlib", photometric="minisblack"
    )
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            for name in ("ImageWidth", "ImageLength", "RowsPerStrip"):
                page.tags[name].overwrite(16_000)


def giant_frame(path):
    tifffile.imwrite(path, np.zeros((2, 8, 8), np.uint8), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page in tif.pages:
            page.tags["ImageWidth"].overwrite(65_000)
            page.tags["ImageLength"].overwrite(65_000)


def giant_npy(path):
    np.lib.format.open_memmap(path, mode="w+", dtype="<u2", shape=(1000, 1024, 2048)).flush()


def giant_zarr(path):
    group = zarr.open_group(path, mode="w")
    group.create_array("0", shape=(1000, 1024, 2048), chunks=(1, 1024, 2048), dtype="uint16")
    axes = [{"name": name} for name in "tyx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (giant_plain, "truncated"),
        (giant_imagej, "declares 40000000 images but holds 1"),
        (giant_ome, "declares 40000000000 planes"),
        (giant_compressed, "truncated"),
        (giant_frame, "no camera has"),
        (giant_npy, "not a readable .npy array"),
        (giant_zarr, "holds none of them"),
    ],
)
def test_four_gigabytes_declared_in_a_kilobyte(tmp_path, write, says):
    path = tmp_path / "giant"
    write(path)
    if path.is_file():
        os.truncate(path, min(1024, path.stat().st_size))
    tracemalloc.start()
    try:
        assert says in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()


def test_oversized_chunks_of_a_zarr(tmp_path):
    group = zarr.open_group(tmp_path / "m.zarr", mode="w")
    shape = (1000, 1024, 2048)
    group.create_array("0", shape=shape, chunks=shape, dtype="uint16")
    axes = [{"name": name} for name in "tyx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    assert "chunks of 4.19 GB" in refusal(tmp_path / "m.zarr")


def test_zarr_that_is_no_image(tmp_path, movie):
    zarr.save_array(tmp_path / "bare.zarr", movie)
    assert "multiscales" in refusal(tmp_path / "bare.zarr")
    group = zarr.open_group(tmp_path / "set.zarr", mode="w")
    group.attrs["bioformats2raw.layout"] = 3
    assert str(tmp_path / "set.zarr" / "0") in refusal(tmp_path / "set.zarr")
    group = zarr.open_group(tmp_path / "axes.zarr", mode="w")
    group.create_array("0", data=movie)
    axes = [{"name": name} for name in "tczyx"]
    group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
    assert "names 5 axes (TCZYX) but its array has 3" in refusal(tmp_path / "axes.zarr")


def write_npy(path, movie):
    with path.open("wb") as file:
        np.save(file, movie)


WRITERS = {
    "imagej": lambda p, m: tifffile.imwrite(p, m, imagej=True, metadata={"axes": "TYX"}),
    "ome": lambda p, m: tifffile.imwrite(p, m, ome=True, metadata={"axes": "TYX"}),
    "ome-deflate": lambda p, m: tifffile.imwrite(
        p, m, ome=True, metadata={"axes": "TYX"}, compression="zlib"
    ),
    "shaped": lambda p, m: tifffile.imwrite(p, m, photometric="minisblack"),
    "pages": plain_tiff,
    "pages-lzw": lambda p, m: plain_tiff(p, m, compression="lzw"),
    "npy": write_npy,
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_truncation_anywhere_is_noticed(tmp_path, movie, write):
    path = tmp_path / "movie"
    write(path, movie)
    content = path.read_bytes()
    for fraction in (0.02, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.97, 1.0):
        path.write_bytes(content[: int(fraction * len(content)) - 1])
        result = pixels_or_refusal(path)
        if isinstance(result, str):
            assert "\n" not in result
        else:  # only a description or a resolution behind the last pixels is lost
            assert fraction > 0.6
            np.testing.assert_array_equal(result, movie)


def test_cut_between_two_pages_is_noticed(tmp_path, movie):
    path = tmp_path / "m.tif"
    plain_tiff(path, movie, compression="lzw")
    with tifffile.TiffFile(path) as tif:
        fifth_page = [page.offset for page in tif.pages][4]
    os.truncate(path, fifth_page)
    assert "list of images breaks off after 4" in refusal(path)


def test_page_in_the_middle_without_its_pixels(tmp_path, movie):
    path = tmp_path / "m.tif"
    plain_tiff(path, movie, rowsperstrip=12)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[3].tags["StripOffsets"].overwrite(10**9)
    stack = load_stack(path, pixel_size_nm=100, check=False)
    np.testing.assert_array_equal(stack.data[4:], movie[4:])
    with pytest.raises(FileFormatError, match=r"m\.tif: declares 1 GB of pixels but holds"):
        stack.data[3]


@settings(max_examples=60, deadline=None)
@given(
    write=st.sampled_from(list(WRITERS.values())),
    changes=st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_headers_give_no_traceback(tmp_path_factory, write, changes):
    path = tmp_path_factory.mktemp("damaged") / "movie"
    write(path, np.arange(420, dtype=np.uint16).reshape(3, 14, 10))
    content = bytearray(path.read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        result = pixels_or_refusal(path, check=False)
    assert isinstance(result, np.ndarray) or "\n" not in result


def test_damaged_frame_is_named_when_it_is_read(tmp_path, movie):
    path = tmp_path / "m.tif"
    plain_tiff(path, movie, compression="zlib")
    with tifffile.TiffFile(path) as tif:
        place = tif.pages[4].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = zlib.compress(b"")[:2] + b"\xff" * 18
    path.write_bytes(content)
    stack = load_stack(path, pixel_size_nm=100, check=False)
    np.testing.assert_array_equal(stack.data[:4], movie[:4])
    with pytest.raises(FileFormatError, match=r"m\.tif: is not a readable TIFF"):
        stack.data[4]
