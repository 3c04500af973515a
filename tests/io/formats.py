"""Movies written as other programs write them."""

from __future__ import annotations

import numpy as np
import tifffile
import zarr

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
