"""OME-Zarr (NGFF 0.4 and 0.5) movies, full resolution.

References
----------
https://ngff.openmicroscopy.org/0.5/, sections "multiscales" and "axes".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr

from dlbi.core.errors import FileFormatError
from dlbi.io.axes import frame_axes
from dlbi.io.files import reading
from dlbi.io.frames import Block, LazyFrames, take_block
from dlbi.io.metadata import Metadata, duration_s, length_nm, number, pair_nm

_MAX_CHUNK_BYTES = 2**30


def open_ome_zarr(path: Path, *, axes: str | None = None) -> tuple[LazyFrames, Metadata]:
    """Frames of an OME-Zarr image, undecoded, and what its metadata say about them.

    Parameters
    ----------
    path : Path
        Folder of the image group.
    axes : str, optional
        Names of the stored axes, if the file's are wrong.

    Raises
    ------
    FileFormatError
        If it is no multiscale image, is not a movie, or holds no pixels.
    """
    with reading(path, "OME-Zarr"):
        multiscale = _multiscale(path)
        dataset = multiscale["datasets"][0]
        array = zarr.open_array(path / dataset["path"], mode="r")
        named = [
            axis if isinstance(axis, Mapping) else {"name": axis} for axis in multiscale["axes"]
        ]
        letters = "".join(_letter(axis) for axis in named)
        if len(letters) != array.ndim:
            raise FileFormatError(
                f"{path}: names {len(letters)} axes ({letters}) but its array has {array.ndim}; "
                "write its metadata again"
            )
        _check_chunks(array, path)
        frames = ZarrFrames(path, array, frame_axes(array.shape, letters, path, requested=axes))
        scales = [_scale(part, array.ndim) for part in (multiscale, dataset)]
        return frames, _metadata(named, letters, [a * b for a, b in zip(*scales, strict=True)])


def _multiscale(path: Path) -> Mapping[str, Any]:
    node = zarr.open(path, mode="r")
    attributes: dict[str, Any] = dict(node.attrs)
    if "bioformats2raw.layout" in attributes:
        raise FileFormatError(
            f"{path}: is a collection of images (bioformats2raw); give one of them, such as "
            f"{path / '0'}"
        )
    ome = attributes.get("ome")
    multiscales = (ome if isinstance(ome, Mapping) else attributes).get("multiscales")
    if isinstance(node, zarr.Array) or not multiscales:
        raise FileFormatError(
            f"{path}: is a Zarr without the OME 'multiscales' metadata that name its axes; give "
            "the folder of an OME-Zarr image (NGFF 0.4 or 0.5)"
        )
    multiscale: Mapping[str, Any] = multiscales[0]
    return multiscale


def _letter(axis: Mapping[str, str]) -> str:
    named = {"time": "T", "channel": "C"}
    return named.get(axis.get("type", ""), axis["name"][:1].upper())


def _check_chunks(array: Any, path: Path) -> None:
    chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize
    if chunk_bytes > _MAX_CHUNK_BYTES:
        raise FileFormatError(
            f"{path}: stores chunks of {chunk_bytes / 1e9:.3g} GB, which must be decoded whole; "
            "write it again with chunks of a few frames"
        )
    if array.nchunks_initialized == 0:
        raise FileFormatError(
            f"{path}: declares {'×'.join(map(str, array.shape))} pixels but holds none of them; "
            "copy it again from its source"
        )


def _scale(part: Mapping[str, Any], n_axes: int) -> Sequence[float]:
    for transformation in part.get("coordinateTransformations", ()):
        if transformation.get("type") == "scale":
            return [number(value) for value in transformation["scale"]]
    return [1.0] * n_axes


def _metadata(named: Sequence[Mapping[str, str]], letters: str, scale: Sequence[float]) -> Metadata:
    """Sizes along axes that have a unit; a scale without one means nothing."""
    along = {
        letter: (value, axis.get("unit"))
        for letter, axis, value in zip(letters, named, scale, strict=True)
    }
    interval_s = duration_s(*along["T"]) if "T" in along else None
    return Metadata(pair_nm(length_nm(*along["Y"]), length_nm(*along["X"])), interval_s)


class ZarrFrames(LazyFrames):
    """Frames of a Zarr array; only the chunks that a read touches are decoded.

    Parameters
    ----------
    path : Path
        Folder of the image.
    array : zarr.Array
        Stored array.
    axes : tuple of int
        Positions of time, rows and columns; other axes have length 1.
    """

    def __init__(self, path: Path, array: Any, axes: tuple[int, int, int]) -> None:
        t, y, x = (array.shape[axis] for axis in axes)
        super().__init__(path, (t, y, x), array.dtype)
        self._array = array
        self._axes = axes

    def _read(self, frames: slice, rows: slice, columns: slice) -> Block:
        with reading(self.path, "OME-Zarr"):
            return take_block(self._array, self._axes, frames, rows, columns)
