"""A movie over several files: sets of OME-TIFF and folders of frames."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import tifffile
from tests.io.formats import (
    write_folder,
)

from dlbi.core.errors import FileFormatError
from dlbi.io import folders
from dlbi.io.stacks import load_stack


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
