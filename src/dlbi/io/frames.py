"""Movies on disk that read only the frames and pixels they are asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dlbi.core.errors import FileFormatError
from dlbi.io.files import reading

MAX_FRAME_PX = 2**28
"""Pixels of the largest believable frame; more is a damaged header, not a camera."""

Block = NDArray[Any]


class LazyFrames(ABC):
    """A (T, Y, X) source on disk, sliced like an array.

    Parameters
    ----------
    path : Path
        Where the pixels are.
    shape : tuple of int
        (T, Y, X).
    dtype : dtype
        Real numbers; stored byte order does not matter.

    Raises
    ------
    FileFormatError
        If the values are not real numbers or a frame is larger than any camera's.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: DTypeLike) -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(dtype).newbyteorder("=")
        check_pixel_type(self.dtype, path)
        check_frame_size(shape[1:], path)

    def __len__(self) -> int:
        """Number of frames."""
        return self.shape[0]

    def __getitem__(self, key: Any, /) -> Block:
        """A fresh array of frames, rows and columns, by integers or slices; frames by any step."""
        windows, picked = _windows(key, self.shape)
        block = self._read(*windows)
        return block[tuple(0 if axis in picked else slice(None) for axis in range(3))]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Block:
        """The whole movie in memory."""
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    @abstractmethod
    def _read(self, frames: slice, rows: slice, columns: slice) -> Block:
        """Decode one block, (frames, rows, columns), native byte order.

        All slices have explicit bounds and a positive step, which is 1 for rows and columns.
        """


def _windows(key: Any, shape: tuple[int, ...]) -> tuple[list[slice], set[int]]:
    """Slices with explicit bounds, and the axes that were picked by one integer."""
    keys = key if isinstance(key, tuple) else (key,)
    if len(keys) > len(shape):
        raise IndexError(f"a movie has 3 axes (T, Y, X), got {len(keys)} indices")
    windows: list[slice] = []
    picked: set[int] = set()
    keys += (slice(None),) * (len(shape) - len(keys))
    for axis, (item, length) in enumerate(zip(keys, shape, strict=True)):
        if isinstance(item, slice):
            start, stop, step = item.indices(length)
            if step < 1 or (axis > 0 and step > 1):
                raise IndexError(
                    "movies on disk are sliced forward, rows and columns with step 1; got step "
                    f"{step} along axis {axis}"
                )
            windows.append(slice(start, max(start, stop), step))
        else:
            index = range(length)[item]
            windows.append(slice(index, index + 1, 1))
            picked.add(axis)
    return windows, picked


def check_pixel_type(dtype: np.dtype[Any], path: Path) -> None:
    """Refuse pixels that are not integers or real numbers."""
    if dtype.kind not in "uif":
        raise FileFormatError(
            f"{path}: pixels are {dtype}, but intensities must be integers or real numbers; "
            "convert the movie to 16-bit or 32-bit"
        )


def check_frame_size(shape: tuple[int, ...], path: Path) -> None:
    """Refuse frames without pixels or larger than `MAX_FRAME_PX`."""
    n_pixels = math.prod(shape)
    if not 0 < n_pixels <= MAX_FRAME_PX:
        raise FileFormatError(
            f"{path}: declares frames of {'×'.join(map(str, shape))} pixels, which no camera "
            "has; the file is damaged or is not a movie"
        )


def take_block(
    array: Any, axes: tuple[int, int, int], frames: slice, rows: slice, columns: slice
) -> Block:
    """Copy (T, Y, X) out of an array whose axes `axes` are time, rows and columns.

    Every other axis must have length 1.
    """
    index: list[Any] = [0] * len(array.shape)
    for axis, window in zip(axes, (frames, rows, columns), strict=True):
        index[axis] = window
    block = np.asarray(array[tuple(index)])
    stored = np.argsort(np.argsort(axes))
    return np.array(block.transpose(stored), block.dtype.newbyteorder("="), order="C")


class MappedFrames(LazyFrames):
    """Uncompressed pixels in one run, memory-mapped for the time of each read.

    Parameters
    ----------
    path : Path
        File.
    offset : int
        Position of the first pixel, bytes.
    stored_shape : tuple of int
        Shape of the whole array in the file.
    dtype : dtype
        As stored, with byte order.
    axes : tuple of int
        Positions of time, rows and columns in `stored_shape`; other axes have length 1.
    order : {"C", "F"}
        Memory order in the file.

    Raises
    ------
    FileFormatError
        If the file is shorter than the array it declares.
    """

    def __init__(
        self,
        path: Path,
        *,
        offset: int,
        stored_shape: tuple[int, ...],
        dtype: DTypeLike,
        axes: tuple[int, int, int],
        order: Literal["C", "F"] = "C",
    ) -> None:
        t, y, x = axes
        super().__init__(path, (stored_shape[t], stored_shape[y], stored_shape[x]), dtype)
        self._stored = np.dtype(dtype)
        self._stored_shape = stored_shape
        self._offset = offset
        self._order = order
        self._axes = axes
        needed = offset + math.prod(stored_shape) * np.dtype(dtype).itemsize
        check_file_size(path, needed)

    def _read(self, frames: slice, rows: slice, columns: slice) -> Block:
        with reading(self.path, "movie"):
            array = np.memmap(
                self.path,
                self._stored,
                mode="r",
                offset=self._offset,
                shape=self._stored_shape,
                order=self._order,
            )
            return take_block(array, self._axes, frames, rows, columns)


def check_file_size(path: Path, needed: int, size: int | None = None) -> None:
    """Refuse a file that declares more bytes than it has.

    Parameters
    ----------
    path : Path
        File.
    needed : int
        Bytes the content declares.
    size : int, optional
        Bytes there are; asked from the file system by default.
    """
    size = path.stat().st_size if size is None else size
    if needed > size:
        raise FileFormatError(
            f"{path}: declares {_bytes(needed)} of pixels but holds {_bytes(size)}; it is "
            "truncated or damaged, copy it again from its source"
        )


def _bytes(n: int) -> str:
    size, units = float(n), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while size >= 1000 and unit != "GB":
        size, unit = size / 1000, next(units)
    return f"{size:.4g} {unit}"
