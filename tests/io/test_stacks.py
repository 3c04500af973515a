"""Every kind of movie that users have opens lazily, with its pixels, pixel size and time."""

from __future__ import annotations

import os
import pickle
import uuid
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io import folders, tiff
from dlbi.io.frames import MappedFrames
from dlbi.io.stacks import check_stack, load_stack
from dlbi.io.tiff import TiffFrames

DATA = Path(__file__).parents[3] / "shared" / "data"
IMAGEJ_160 = {
    "imagej": True,
    "resolution": (6.25, 6.25),
    "metadata": {"unit": "um", "axes": "TYX", "finterval": 0.05},
}


def write_ome(path, movie, **metadata):
    defaults = {"axes": "TYX", "PhysicalSizeX": 0.16, "PhysicalSizeY": 0.16}
    tifffile.imwrite(path, movie, ome=True, metadata=defaults | metadata)


def write_pages(path, movie, **options):
    """Plain multi-page TIFF: no names of axes anywhere."""
    with tifffile.TiffWriter(path, bigtiff=options.pop("bigtiff", False)) as writer:
        for frame in movie:
            writer.write(frame, metadata=None, photometric="minisblack", **options)


def write_imagej_like_fiji(path, movie):
    """One directory for all frames, as ImageJ writes stacks beyond 4 GB."""
    tifffile.imwrite(
        path,
        movie,
        shape=movie.shape,
        metadata=None,
        description=f"ImageJ=1.54f\nimages={len(movie)}\nframes={len(movie)}\nunit=\\u00B5m\n",
        resolution=(6.25, 6.25),
        resolutionunit=1,
    )


def write_folder(path, movie):
    path.mkdir()
    for number, frame in enumerate(movie, start=6):  # 6 … 12: names do not sort as text
        tifffile.imwrite(path / f"frame{number}.tif", frame)
    (path / "notes.txt").write_text("exposure 50 ms")
    (path / "._frame6.tif").write_bytes(b"resource fork")


def write_ngff(path, movie, *, version="0.5", axes=None, scale=(0.05, 0.16, 0.16), **options):
    if axes is None:
        axes = [
            {"name": "t", "type": "time", "unit": "second"},
            {"name": "y", "type": "space", "unit": "micrometer"},
            {"name": "x", "type": "space", "unit": "micrometer"},
        ]
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    array = group.create_array("0", data=movie, **options)
    scaling = {"type": "scale", "scale": list(scale)}
    multiscales = [
        {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [scaling]}]}
    ]
    if version == "0.5":
        group.attrs["ome"] = {"version": "0.5", "multiscales": multiscales}
    else:
        group.attrs["multiscales"] = [multiscales[0] | {"version": "0.4"}]
    return array


def write_npy(path, movie):
    with path.open("wb") as file:
        np.save(file, movie)


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


# ------------------------------------------------------------------------------ pixel size


def test_option_overrides_the_file_both_ways(tmp_path, movie):
    tifffile.imwrite(tmp_path / "m.tif", movie, **IMAGEJ_160)
    assert load_stack(tmp_path / "m.tif").grid.pixel_size_nm == 160
    assert load_stack(tmp_path / "m.tif", pixel_size_nm=65).grid.pixel_size_nm == 65


@pytest.mark.parametrize(
    ("unit", "per_unit"),
    [
        ("um", 10),
        ("micron", 10),
        ("microns", 10),
        ("µm", 10),
        ("\\u00B5m", 10),
        ("nm", 0.01),
        ("cm", 100_000),
    ],
)
def test_imagej_units(tmp_path, movie, unit, per_unit):
    tifffile.imwrite(
        tmp_path / "m.tif",
        movie,
        description=f"ImageJ=1.54f\nimages=7\nframes=7\nunit={unit}\n".encode(),
        metadata=None,
        resolution=(per_unit, per_unit),
        resolutionunit=1,
    )
    assert load_stack(tmp_path / "m.tif").grid.pixel_size_nm == pytest.approx(100, rel=1e-6)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "furlong"])
def test_imagej_without_a_length_unit_has_no_pixel_size(tmp_path, movie, unit):
    tifffile.imwrite(
        tmp_path / "m.tif",
        movie,
        imagej=True,
        resolution=(6.25, 6.25),
        metadata={"axes": "TYX", "unit": unit},
    )
    with pytest.raises(InputError, match="--pixel-size"):
        load_stack(tmp_path / "m.tif")


def test_imagej_time_units(tmp_path, movie):
    metadata = {"axes": "TYX", "unit": "nm", "finterval": 40.0, "tunit": "ms"}
    tifffile.imwrite(
        tmp_path / "m.tif", movie, imagej=True, resolution=(0.01, 0.01), metadata=metadata
    )
    assert load_stack(tmp_path / "m.tif").frame_interval_s == pytest.approx(0.04)
    metadata = {"axes": "TYX", "unit": "nm", "fps": 20.0}
    tifffile.imwrite(
        tmp_path / "f.tif", movie, imagej=True, resolution=(0.01, 0.01), metadata=metadata
    )
    assert load_stack(tmp_path / "f.tif").frame_interval_s == pytest.approx(0.05)


def test_resolution_tags_count_only_if_believable(tmp_path, movie):
    write_pages(tmp_path / "cm.tif", movie, resolution=(1e5, 1e5), resolutionunit=3)
    assert load_stack(tmp_path / "cm.tif").grid.pixel_size_nm == pytest.approx(100)
    write_pages(tmp_path / "inch.tif", movie, resolution=(254e3, 254e3), resolutionunit=2)
    assert load_stack(tmp_path / "inch.tif").grid.pixel_size_nm == pytest.approx(100)
    for unit in (1, 2, 3):
        write_pages(tmp_path / "dpi.tif", movie, resolution=(72, 72), resolutionunit=unit)
        with pytest.raises(InputError, match=r"does not state its pixel size.*--pixel-size"):
            load_stack(tmp_path / "dpi.tif")


@pytest.mark.parametrize("size_um", [0.001, 2.6, 350.0])
def test_absurd_pixel_size_of_the_file(tmp_path, movie, size_um):
    write_ome(tmp_path / "m.tif", movie, PhysicalSizeX=size_um, PhysicalSizeY=size_um)
    with pytest.raises(FileFormatError, match=r"m\.tif: states a pixel size.*absurd.*--pixel-size"):
        load_stack(tmp_path / "m.tif")
    assert load_stack(tmp_path / "m.tif", pixel_size_nm=160).grid.pixel_size_nm == 160


@pytest.mark.parametrize("given_nm", [0.0, -160.0, 0.16, 160_000.0, float("nan"), float("inf")])
def test_absurd_pixel_size_of_the_user(tmp_path, movie, given_nm):
    tifffile.imwrite(tmp_path / "m.tif", movie, **IMAGEJ_160)
    with pytest.raises(InputError, match=r"--pixel-size.*absurd"):
        load_stack(tmp_path / "m.tif", pixel_size_nm=given_nm)


def test_anisotropic_pixels(tmp_path, movie):
    write_ome(tmp_path / "m.tif", movie, PhysicalSizeX=0.16, PhysicalSizeY=0.17)
    with pytest.raises(FileFormatError, match=r"160 × 170 nm.*square"):
        load_stack(tmp_path / "m.tif")
    assert load_stack(tmp_path / "m.tif", pixel_size_nm=160).grid.pixel_size_nm == 160


@pytest.mark.parametrize("interval_s", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_frame_interval(tmp_path, movie, interval_s):
    tifffile.imwrite(tmp_path / "m.tif", movie, **IMAGEJ_160)
    with pytest.raises(InputError, match="frame interval"):
        load_stack(tmp_path / "m.tif", frame_interval_s=interval_s)


def test_ngff_scale_without_unit_means_nothing(tmp_path, movie):
    bare = [{"name": "t", "type": "time"}, {"name": "y", "type": "space"}, {"name": "x"}]
    write_ngff(tmp_path / "m.zar", movie, axes=bare, scale=(1, 1, 1))
    with pytest.raises(InputError, match="--pixel-size"):
        load_stack(tmp_path / "m.zar")
    assert load_stack(tmp_path / "m.zar", pixel_size_nm=100).frame_interval_s is None


def test_ngff_scales_multiply(tmp_path, movie):
    write_ngff(tmp_path / "m.zar", movie, scale=(0.1, 0.04, 0.04))
    group = zarr.open_group(tmp_path / "m.zar", mode="r+")
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["coordinateTransformations"] = [{"type": "scale", "scale": [1, 4, 4]}]
    group.attrs["ome"] = ome
    assert load_stack(tmp_path / "m.zar").grid.pixel_size_nm == pytest.approx(160)


# ------------------------------------------------------------------------------------ axes


def test_five_dimensional_files_with_singletons(tmp_path, movie):
    full = movie[:, None, None]
    write_ome(tmp_path / "m.ome.tif", full, axes="TCZYX")
    np.testing.assert_array_equal(load_stack(tmp_path / "m.ome.tif").data[:], movie)
    names = ("t", "c", "z", "y", "x")
    kinds = ("time", "channel", "space", "space", "space")
    axes = [
        {"name": n, "type": k} | ({"unit": "nanometer"} if k == "space" else {})
        for n, k in zip(names, kinds, strict=True)
    ]
    write_ngff(tmp_path / "m.zar", full, axes=axes, scale=(1, 1, 500, 160, 160))
    stack = load_stack(tmp_path / "m.zar")
    np.testing.assert_array_equal(stack.data[1:4, 2:5], movie[1:4, 2:5])
    assert stack.grid.pixel_size_nm == 160


def test_slices_are_read_as_frames_with_a_warning(tmp_path, movie):
    tifffile.imwrite(
        tmp_path / "m.tif",
        movie,
        imagej=True,
        resolution=(6.25, 6.25),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    with pytest.warns(DlbiWarning, match=r"m\.tif: its 7 images are labelled slices"):
        stack = load_stack(tmp_path / "m.tif")
    np.testing.assert_array_equal(stack.data[:], movie)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_stack(tmp_path / "m.tif", axes="TYX")


def test_slices_beside_frames_are_refused(tmp_path, movie):
    stacked = np.stack([movie, movie + 1], axis=1)
    write_ome(tmp_path / "m.ome.tif", stacked, axes="TZYX")
    with pytest.raises(FileFormatError, match=r"7 frames and 2 slices.*ambiguous.*Duplicate"):
        load_stack(tmp_path / "m.ome.tif")


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_channels_are_refused(tmp_path, movie, compression):
    stacked = np.stack([movie, movie + 1], axis=1)
    tifffile.imwrite(
        tmp_path / "m.ome.tif",
        stacked,
        ome=True,
        compression=compression,
        metadata={"axes": "TCYX"},
    )
    with pytest.raises(FileFormatError, match=r"2 channels and one is needed.*Split Channels"):
        load_stack(tmp_path / "m.ome.tif")


@pytest.mark.parametrize("n_samples", [3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_is_refused(tmp_path, movie, n_samples, planar):
    axis = -1 if planar == "contig" else 1
    colour = np.stack([movie.astype(np.uint8)] * n_samples, axis=axis)
    tifffile.imwrite(
        tmp_path / "rgb.tif",
        colour,
        photometric="rgb",
        planarconfig=planar,
        extrasamples=["unassalpha"] * (n_samples - 3),
    )
    with pytest.raises(FileFormatError, match=r"rgb\.tif: is a colour \(RGB\).*Split Channels"):
        load_stack(tmp_path / "rgb.tif", pixel_size_nm=100)


def test_unnamed_extra_axis_is_ambiguous(tmp_path, movie):
    np.save(tmp_path / "m.npy", np.stack([movie, movie]))
    with pytest.raises(FileFormatError, match="ambiguous"):
        load_stack(tmp_path / "m.npy", pixel_size_nm=100)
    np.save(tmp_path / "line.npy", movie.ravel())
    with pytest.raises(FileFormatError, match="not those of a movie"):
        load_stack(tmp_path / "line.npy", pixel_size_nm=100)


def test_axes_named_by_the_user(tmp_path, movie):
    np.save(tmp_path / "m.npy", np.moveaxis(movie, 0, -1))
    stack = load_stack(tmp_path / "m.npy", pixel_size_nm=100, axes="YXT")
    np.testing.assert_array_equal(stack.data[1:3, 4:8, 2:9], movie[1:3, 4:8, 2:9])
    write_ngff(tmp_path / "m.zar", movie.transpose(2, 0, 1))
    stack = load_stack(tmp_path / "m.zar", pixel_size_nm=100, axes="xty")
    np.testing.assert_array_equal(stack.data[1:3, 4:8, 2:9], movie[1:3, 4:8, 2:9])


@pytest.mark.parametrize("axes", ["TYXCZ", "TY", "TTX", "YX", "", "TYXX", "ZTCYX"])
def test_wrong_axes_of_the_user(tmp_path, movie, axes):
    write_pages(tmp_path / "m.tif", movie)
    with pytest.raises(InputError, match="axes="):
        load_stack(tmp_path / "m.tif", pixel_size_nm=100, axes=axes)


def test_pages_in_another_order_than_named_are_refused(tmp_path, movie):
    write_pages(tmp_path / "m.tif", movie, compression="lzw")
    with pytest.raises(InputError, match="do not hold the frames"):
        load_stack(tmp_path / "m.tif", pixel_size_nm=100, axes="YXT")


def test_thumbnail_beside_the_movie_is_left_out_with_a_warning(tmp_path, movie):
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for frame in movie:
            writer.write(frame, metadata=None)
        writer.write(movie[0, ::2, ::2], metadata=None)
    with pytest.warns(DlbiWarning, match="only its movie of 7 frames"):
        stack = load_stack(tmp_path / "m.tif", pixel_size_nm=100)
    np.testing.assert_array_equal(stack.data[:], movie)


def test_two_movies_in_a_file_are_ambiguous(tmp_path, movie):
    with tifffile.TiffWriter(tmp_path / "m.ome.tif", ome=True) as writer:
        writer.write(movie, metadata={"axes": "TYX"})
        writer.write(movie[:, :8], metadata={"axes": "TYX"})
    with pytest.raises(FileFormatError, match=r"holds 2 images.*ambiguous"):
        load_stack(tmp_path / "m.ome.tif", pixel_size_nm=100)


# --------------------------------------------------------------------------- sets of files


def write_ome_set(folder, movie, starts=(0, 4), compression="zlib"):
    """One movie over several files, as Micro-Manager and Bio-Formats split them."""
    runs = np.split(movie, starts[1:])
    ids = [f"urn:uuid:{uuid.UUID(int=i)}" for i in range(len(runs))]
    blocks = "".join(
        f'<TiffData IFD="0" FirstT="{first}" PlaneCount="{len(runs[i])}">'
        f'<UUID FileName="part{i}.ome.tif">{ids[i]}</UUID></TiffData>'
        for i, first in enumerate(starts)
    )
    for i, frames in enumerate(runs):
        xml = (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{ids[i]}">'
            '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" '
            'SizeX="10" SizeY="12" SizeC="1" SizeZ="1" SizeT="7" PhysicalSizeX="0.1" '
            f'PhysicalSizeY="0.1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{blocks}'
            "</Pixels></Image></OME>"
        )
        tifffile.imwrite(
            folder / f"part{i}.ome.tif",
            frames,
            photometric="minisblack",
            description=xml,
            metadata=None,
            compression=compression,
        )


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("starts", [(0, 4), (0, 1, 2, 3, 4, 5, 6)])
def test_movie_over_several_files(tmp_path, movie, compression, starts):
    write_ome_set(tmp_path, movie, starts, compression)
    stack = load_stack(tmp_path / "part0.ome.tif")
    np.testing.assert_array_equal(stack.data[:], movie)
    assert stack.grid.pixel_size_nm == pytest.approx(100)


def test_index_file_that_names_another_one(tmp_path, movie):
    write_ome_set(tmp_path, movie, starts=(0,), compression=None)
    with tifffile.TiffFile(tmp_path / "part0.ome.tif") as tif:
        own_id = f'UUID="urn:uuid:{uuid.UUID(int=0)}"'
        xml = tif.ome_metadata.replace(own_id, f'UUID="urn:uuid:{uuid.UUID(int=9)}"', 1)
    index = tmp_path / "index.ome.tif"
    frame = np.zeros((12, 10), np.uint16)
    tifffile.imwrite(index, frame, description=xml, metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(load_stack(index).data[:], movie)


def test_missing_file_of_a_set(tmp_path, movie):
    write_ome_set(tmp_path, movie)
    (tmp_path / "part1.ome.tif").unlink()
    with pytest.raises(FileFormatError, match=r"3 of its 7 images are missing.*one folder"):
        load_stack(tmp_path / "part0.ome.tif")


def test_folder_of_an_ome_set_reads_each_file_once(tmp_path, movie, monkeypatch):
    write_ome_set(tmp_path, movie, starts=range(7))
    opened = []
    original = folders.opened_tiff
    monkeypatch.setattr(folders, "opened_tiff", lambda p: opened.append(p.name) or original(p))
    stack = load_stack(tmp_path, check=False)
    np.testing.assert_array_equal(stack.data[2:5], movie[2:5])
    assert stack.grid.pixel_size_nm == pytest.approx(100)
    assert opened == [f"part{i}.ome.tif" for i in (0, 2, 3, 4)]


def test_folder_order_metadata_and_upper_case(tmp_path, movie):
    write_folder(tmp_path / "frames", movie)
    for file in (tmp_path / "frames").glob("frame*.tif"):
        frame = tifffile.imread(file)
        file.unlink()
        tifffile.imwrite(
            file.with_suffix(".TIF"),
            frame,
            imagej=True,
            resolution=(10, 10),
            metadata={"unit": "um"},
        )
    stack = load_stack(tmp_path / "frames")
    np.testing.assert_array_equal(stack.data[:], movie)
    assert stack.grid.pixel_size_nm == pytest.approx(100)


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


def test_axes_chosen_are_logged(tmp_path, movie, caplog):
    write_pages(tmp_path / "m.tif", movie)
    with caplog.at_level("INFO", logger="dlbi"):
        load_stack(tmp_path / "m.tif", pixel_size_nm=100)
    assert "(7×12×10) read as T, Y, X" in caplog.text
