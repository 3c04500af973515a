"""Pixel size and frame interval: where a file states them, and what is not believed."""

from __future__ import annotations

import pytest
import tifffile
import zarr
from tests.io.formats import (
    IMAGEJ_160,
    write_ngff,
    write_ome,
    write_pages,
)

from dlbi.core.errors import FileFormatError, InputError
from dlbi.io.stacks import load_stack


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
