"""Opening movies: any format the package reads becomes an `ImageStack` that is read lazily."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlbi.core.errors import FileFormatError, InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io.axes import frame_axes
from dlbi.io.files import PathLike, reading
from dlbi.io.folders import open_folder
from dlbi.io.frames import LazyFrames, MappedFrames
from dlbi.io.kinds import file_kind
from dlbi.io.metadata import Metadata, choose_frame_interval, choose_pixel_size
from dlbi.io.tiff import open_tiff_movie

_SCAN_BYTES = 2**26
_LARGEST = 1e9
"""Counts beyond which a value is none: no camera gives them, and their cube leaves float32."""


def load_stack(
    path: PathLike,
    *,
    pixel_size_nm: float | None = None,
    frame_interval_s: float | None = None,
    axes: str | None = None,
    unit: Literal["adu", "photon"] | None = None,
    check: bool = True,
) -> ImageStack:
    """Open a movie; pixels are read only when they are sliced.

    Read are TIFF of any kind (ImageJ, OME, Micro-Manager, BigTIFF, compressed, plain pages), a
    folder with one TIFF for each frame, ``.npy`` with axes (T, Y, X), and OME-Zarr. The content
    decides, not the name.

    Parameters
    ----------
    path : path
        File or folder.
    pixel_size_nm : float, optional
        Camera pixel in the sample plane; overrides that of the file.
    frame_interval_s : float, optional
        Time from frame to frame; overrides that of the file.
    axes : str, optional
        Names of the stored axes, such as ``"TYX"`` or ``"YXT"``, if the file names them wrongly
        or not at all.
    unit : {"adu", "photon"}, optional
        What one count stands for; as recorded by `save_stack`, else ``"adu"``.
    check : bool
        Refuse movies with NaN, infinities or without any change (`check_stack`). Integer movies
        need a few frames for it, floating-point ones are read once.

    Returns
    -------
    ImageStack
        (T, Y, X), read lazily from the file.

    Raises
    ------
    InputError
        If the path is missing, the pixel size is unknown or absurd, or the content is unusable.
    FileFormatError
        If it is not a movie, is ambiguous, truncated or damaged.

    Warns
    -----
    DlbiWarning
        If slices (Z) are read as frames, or further images in the file are left out.
    """
    path = Path(path)
    data, metadata = _open(path, axes)
    size_nm = choose_pixel_size(metadata, path, given_nm=pixel_size_nm)
    stack = ImageStack(
        data,
        PixelGrid((data.shape[1], data.shape[2]), size_nm, metadata.origin_nm),
        choose_frame_interval(metadata, path, given_s=frame_interval_s),
        unit or metadata.unit,
    )
    if check:
        check_stack(stack, name=str(path))
    return stack


def _open(path: Path, axes: str | None) -> tuple[LazyFrames, Metadata]:
    kind = file_kind(path)
    match kind:
        case "tiff":
            return open_tiff_movie(path, axes=axes)
        case "npy":
            return open_npy(path, axes=axes), Metadata()
        case "folder":
            return open_folder(path)
        case "ome-zarr":
            from dlbi.io.ngff import open_ome_zarr  # zarr takes half a second to import

            return open_ome_zarr(path, axes=axes)
    raise FileFormatError(
        f"{path}: is a {kind.upper()} picture, not a movie; give a TIFF, .npy, OME-Zarr, or a "
        "folder with one TIFF for each frame"
    )


def open_npy(path: Path, *, axes: str | None = None) -> LazyFrames:
    """Frames of a NumPy file, memory-mapped; axes are (T, Y, X) unless named otherwise.

    Raises
    ------
    FileFormatError
        If it is truncated, holds objects, or is not three-dimensional.
    """
    with reading(path, ".npy array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        names = ("Q" * array.ndim + "YX")[-array.ndim :]
        return MappedFrames(
            path,
            offset=array.offset,
            stored_shape=array.shape,
            dtype=array.dtype,
            axes=frame_axes(array.shape, names, path, requested=axes),
            order="C" if array.flags.c_contiguous else "F",
        )


def check_stack(stack: ImageStack, *, name: str = "the movie") -> None:
    """Refuse movies without information, reading as few frames as that takes.

    Parameters
    ----------
    stack : ImageStack
        Movie; floating-point movies are read once in bounded memory, integer ones up to the
        first change.
    name : str
        For messages.

    Raises
    ------
    InputError
        If a pixel is NaN, infinite or beyond a thousand million, or all frames are identical.
    """
    n_chunk = max(1, _SCAN_BYTES // (8 * math.prod(stack.grid.shape)))
    first = np.asarray(stack.data[0:1])
    changes = False
    for start in range(0, stack.n_frames, n_chunk):
        frames = np.asarray(stack.data[start : min(start + n_chunk, stack.n_frames)])
        if frames.dtype.kind == "f":
            _check_finite(frames, start, name)
        changes = changes or bool((frames != first).any())
        if changes and frames.dtype.kind != "f":
            return
    if not changes:
        level = first.ravel()[0]
        what = f"every pixel is {level:g}" if (first == level).all() else "a still image"
        raise InputError(
            f"{name}: all {stack.n_frames} frames are identical ({what}); a movie of blinking "
            "emitters is needed"
        )


def _check_finite(frames: np.ndarray[Any, Any], start: int, name: str) -> None:
    usable = np.abs(frames) <= min(_LARGEST, float(np.finfo(frames.dtype).max))
    if usable.all():
        return
    t, y, x = (int(i) for i in np.argwhere(~usable)[0])
    raise InputError(
        f"{name}: pixel x={x}, y={y} of frame {start + t} is {frames[t, y, x]}; replace "
        "NaN, infinite and impossible values before the reconstruction"
    )
