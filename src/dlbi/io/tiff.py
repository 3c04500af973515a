"""TIFF movies: ImageJ, OME, Micro-Manager, BigTIFF, plain pages, with any compression.

Uncompressed pixels in one run are memory-mapped; other files are decoded page by page. A header
is believed only as far as the file has bytes for it.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.io.axes import frame_axes
from dlbi.io.files import reading
from dlbi.io.frames import (
    Block,
    LazyFrames,
    MappedFrames,
    check_file_size,
    check_frame_size,
    check_pixel_type,
)
from dlbi.io.metadata import (
    CAMERA_PIXEL_NM,
    Metadata,
    duration_s,
    length_nm,
    number,
    pair_nm,
)
from dlbi.io.ome import count_planes, read_ome_metadata

# tifffile logs each oddity of a file. What matters is checked here and raised as one line, so
# nothing should reach the terminal of a program that has not configured logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_MAX_PLANES = 10_000_000
_MAX_EXPANSION = {1: 1, 5: 2000, 8: 1100, 32946: 1100, 32773: 64}
_COUNTED_KINDS = ("ome", "imagej", "mmstack", "ndtiff", "lsm", "stk")
_CENTIMETRE_NM, _INCH_NM = 1e7, 2.54e7


def open_tiff_movie(path: Path, *, axes: str | None = None) -> tuple[LazyFrames, Metadata]:
    """Frames of a TIFF movie, undecoded, and what the file says about them.

    Parameters
    ----------
    path : Path
        File; further files of an OME or Micro-Manager set are found beside it.
    axes : str, optional
        Names of the stored axes, if the file's are wrong.

    Raises
    ------
    FileFormatError
        If it is no movie, ambiguous, truncated or damaged.
    """
    with opened_tiff(path) as tif:
        series = _movie_series(tif, path)
        check_series(series, tif, path)
        positions = frame_axes(
            series.get_shape(False), series.get_axes(False), path, requested=axes
        )
        return _lazy_frames(tif, series, positions, path), read_tiff_metadata(tif)


@contextmanager
def opened_tiff(path: Path) -> Iterator[Any]:
    """A parsed ``tifffile.TiffFile`` with at least one page and no impossible declaration."""
    with reading(path, "TIFF"), TiffFile(path) as tif:
        if len(tif.pages) == 0:
            raise FileFormatError(f"{path}: holds no image; it is truncated or not a movie")
        xml = tif.ome_metadata
        if xml and count_planes(xml) > _MAX_PLANES:
            raise FileFormatError(
                f"{path}: declares {count_planes(xml)} planes in its OME header; the file is "
                "damaged, save it again from its source"
            )
        yield tif


def _movie_series(tif: Any, path: Path) -> Any:
    """The one series of the file that can be a movie."""
    every = tif.series
    movies = [series for series in every if _n_planes(series) > 1]
    if len(every) == 1:
        return every[0]
    if len(movies) != 1:
        shapes = ", ".join("×".join(map(str, series.shape)) for series in every[:4])
        raise FileFormatError(
            f"{path}: holds {len(every)} images of different kinds ({shapes}"
            f"{', …' if len(every) > 4 else ''}), and which is the movie is ambiguous; save the "
            "one you need as a file of its own"
        )
    warnings.warn(
        f"{path}: only its movie of {_n_planes(movies[0])} frames is read; "
        f"{len(every) - 1} further images in the file are not",
        DlbiWarning,
        stacklevel=2,
    )
    return movies[0]


def _n_planes(series: Any) -> int:
    lengths = zip(series.get_axes(False), series.get_shape(False), strict=True)
    return math.prod(length for axis, length in lengths if axis not in "YXS")


def check_series(series: Any, tif: Any, path: Path) -> None:
    """Refuse a series whose pages or pixels are not all in the file.

    Raises
    ------
    FileFormatError
        If the file declares more than it holds.
    """
    keyframe = series.keyframe
    check_pixel_type(np.dtype(series.dtype), path)
    check_frame_size((keyframe.imagelength, keyframe.imagewidth), path)
    n_held, n_declared = _n_planes(series), _declared_planes(tif)
    if n_held < n_declared:
        raise FileFormatError(
            f"{path}: declares {n_declared} images but holds {n_held}; it is truncated or a "
            "file of its set is missing, copy it again from its source"
        )
    if series.kind not in _COUNTED_KINDS:
        _check_page_chain(tif, path)
    offset = _offset_of_run(series, tif)
    if offset is not None:
        n_bytes = math.prod(series.get_shape(False)) * series.dtype.itemsize
        check_file_size(path, offset + n_bytes, tif.filehandle.size)
        return
    if any(page is None for page in series):
        missing = sum(page is None for page in series)
        raise FileFormatError(
            f"{path}: {missing} of its {len(series)} images are missing; keep all files of the "
            "set in one folder, or save the movie again from Fiji"
        )
    check_page(series[0], path)
    check_page(series[-1], path)


def _offset_of_run(series: Any, tif: Any) -> int | None:
    """Where the pixels begin, if they lie uncompressed in one run of this very file."""
    if series.is_multifile or series.keyframe.parent is not tif:
        return None
    offset: int | None = series.dataoffset
    return offset


def _declared_planes(tif: Any) -> int:
    imagej = tif.imagej_metadata
    if not imagej:
        return 0
    counts = (int(imagej.get(name, 1)) for name in ("frames", "slices", "channels"))
    n_samples = tif.pages[0].samplesperpixel
    return int(max(int(imagej.get("images", 1)), math.prod(counts)) // n_samples)


def _check_page_chain(tif: Any, path: Path) -> None:
    """Each page points to the next one; the last pointer must be 0."""
    tif.filehandle.seek(tif.pages.next_page_offset)
    pointer = tif.filehandle.read(tif.tiff.offsetsize)
    if len(pointer) < tif.tiff.offsetsize or any(pointer):
        raise FileFormatError(
            f"{path}: its list of images breaks off after {len(tif.pages)}; it is truncated or "
            "damaged, copy it again from its source"
        )


def check_page(page: Any, path: Path) -> None:
    """Refuse a page whose stored bytes are missing or cannot hold its pixels.

    Raises
    ------
    FileFormatError
        If so.
    """
    keyframe = page.keyframe
    ends = [a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    check_file_size(path, max(ends, default=0), page.parent.filehandle.size)
    expansion = _MAX_EXPANSION.get(int(keyframe.compression))
    if expansion is None:
        return
    n_pixels = keyframe.imagelength * keyframe.imagewidth * keyframe.samplesperpixel
    needed = n_pixels * keyframe.bitspersample // 8 // expansion
    check_file_size(path, needed, sum(page.databytecounts))


def _lazy_frames(tif: Any, series: Any, positions: tuple[int, int, int], path: Path) -> LazyFrames:
    shape = series.get_shape(False)
    offset = _offset_of_run(series, tif)
    if offset is not None:
        return MappedFrames(
            path,
            offset=offset,
            stored_shape=shape,
            dtype=np.dtype(series.dtype).newbyteorder(tif.byteorder),
            axes=positions,
        )
    t, y, x = (shape[i] for i in positions)
    if len(series) != t or series.keyframe.shape != (y, x):
        raise InputError(
            f"{path}: its {len(series)} images of {series.keyframe.shape} do not hold the frames "
            "as named by axes; leave axes out, or save the movie uncompressed"
        )
    return TiffFrames(path, series, index=tif.series.index(series))


class TiffFrames(LazyFrames):
    """Frames decoded page by page, one page in memory beyond the result.

    Parameters
    ----------
    path : Path
        File.
    series : tifffile.TiffPageSeries
        One page for each frame; its file may be closed.
    index : int
        Which series of the file it is.
    """

    def __init__(self, path: Path, series: Any, *, index: int) -> None:
        height, width = series.keyframe.shape
        super().__init__(path, (len(series), height, width), series.dtype)
        self._series = series
        self._index = index
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as a path; the file is parsed again there."""
        return _reopen, (self.path, self._index)

    def _read(self, frames: slice, rows: slice, columns: slice) -> Block:
        n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
        indices = range(frames.start, frames.stop, frames.step)
        block = np.empty((len(indices), n_rows, n_columns), self.dtype)
        with self._lock, reading(self.path, "TIFF"):
            for target, index in zip(block, indices, strict=True):
                target[...] = decode_page(self._series[index], self.path)[rows, columns]
        return block


def _reopen(path: Path, index: int) -> TiffFrames:
    with opened_tiff(path) as tif:
        return TiffFrames(path, tif.series[index], index=index)


def decode_page(page: Any, path: Path) -> Block:
    """Pixels of one page, opening its file for that time if it is closed."""
    check_page(page, path)
    handle = page.parent.filehandle
    was_closed = handle.closed
    if was_closed:
        handle.open()
    try:
        pixels: Block = page.asarray(maxworkers=1)
    finally:
        if was_closed:
            handle.close()
    return pixels


def read_tiff_metadata(tif: Any, believable_nm: tuple[float, float] = CAMERA_PIXEL_NM) -> Metadata:
    """Pixel size and frame interval from OME-XML, the ImageJ header or the resolution tags.

    Resolution tags without an ImageJ header are mostly a printer's default (72 dpi), so they
    count only if they give a pixel size within `believable_nm`.
    """
    metadata = read_ome_metadata(tif.ome_metadata) if tif.ome_metadata else Metadata()
    if tif.imagej_metadata:
        metadata = metadata.or_else(_imagej_metadata(tif))
    return metadata.or_else(_tag_metadata(tif, believable_nm))


def _imagej_metadata(tif: Any) -> Metadata:
    header = tif.imagej_metadata
    unit = str(header.get("unit", ""))
    interval_s = duration_s(number(header.get("finterval")), str(header.get("tunit", "s")))
    rate_hz = number(header.get("fps"))
    if interval_s is None and rate_hz > 0:
        interval_s = 1 / rate_hz
    return Metadata(_resolution_nm(tif, length_nm(1.0, unit)), interval_s)


def _tag_metadata(tif: Any, believable_nm: tuple[float, float]) -> Metadata:
    unit = int(tif.pages[0].tags.valueof("ResolutionUnit", 2))
    size_nm = _resolution_nm(tif, {2: _INCH_NM, 3: _CENTIMETRE_NM}.get(unit))
    low, high = believable_nm
    if size_nm is None or not all(low <= side <= high for side in size_nm):
        return Metadata()
    return Metadata(size_nm)


def _resolution_nm(tif: Any, unit_nm: float | None) -> tuple[float, float] | None:
    """Pixel size (y, x) from the resolution tags, pixels per unit."""
    if unit_nm is None:
        return None
    sides: list[float | None] = []
    for name in ("YResolution", "XResolution"):
        numerator, denominator = tif.pages[0].tags.valueof(name, (0, 1))
        sides.append(unit_nm * denominator / numerator if numerator else None)
    return pair_nm(*sides)
