"""Axes of a movie: which are frames, and which are refused."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tifffile
from tests.io.formats import (
    write_ngff,
    write_ome,
    write_pages,
)

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.io.stacks import load_stack


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


def test_axes_chosen_are_logged(tmp_path, movie, caplog):
    write_pages(tmp_path / "m.tif", movie)
    with caplog.at_level("INFO", logger="dlbi"):
        load_stack(tmp_path / "m.tif", pixel_size_nm=100)
    assert "(7×12×10) read as T, Y, X" in caplog.text
