"""A folder of single-frame TIFF files as one movie, in natural order of their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from dlbi.core.errors import FileFormatError
from dlbi.io.frames import Block, LazyFrames
from dlbi.io.metadata import Metadata
from dlbi.io.tiff import check_page, decode_page, opened_tiff, read_tiff_metadata


def open_folder(path: Path) -> tuple[LazyFrames, Metadata]:
    """Frames of a folder, undecoded, and what the first file says about them.

    Only ``.tif`` and ``.tiff`` files count; hidden ones and sub-folders are left out. Each file
    is compared with the first when it is read.

    Raises
    ------
    FileFormatError
        If there are no such files, or the first is not a single grey frame.
    """
    files = tiff_files(path)
    if not files:
        raise FileFormatError(
            f"{path}: is a folder without TIFF files and not an OME-Zarr; give a movie, or a "
            "folder with one TIFF for each frame"
        )
    if len(files) == 1:
        raise FileFormatError(
            f"{path}: holds one TIFF only; give that file, or a folder with one for each frame"
        )
    with opened_tiff(files[0]) as tif:
        first = _single_page(tif, files[0])
        return FolderFrames(path, files, first.shape, first.dtype), read_tiff_metadata(tif)


def tiff_files(path: Path) -> list[Path]:
    """TIFF files of a folder, so that ``frame2`` comes before ``frame10``."""
    files = (
        file
        for file in path.iterdir()
        if file.suffix.lower() in (".tif", ".tiff") and not file.name.startswith(".")
    )
    return sorted((file for file in files if file.is_file()), key=_natural)


def _natural(file: Path) -> tuple[list[int | str], str]:
    parts = re.split(r"(\d+)", file.name.lower())  # text and digits take turns
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], file.name


def _single_page(tif: Any, file: Path) -> Any:
    """The only page of a file, if that is one grey frame."""
    if len(tif.pages) > 1 or len(tif.pages[0].shape) != 2:
        what = (
            f"{len(tif.pages)} images" if len(tif.pages) > 1 else "a colour (RGB) or layered image"
        )
        raise FileFormatError(
            f"{file}: holds {what}, and a folder is read as one grey frame for each file; give "
            "the file itself if it is the movie, or split it"
        )
    check_page(tif.pages[0], file)
    return tif.pages[0]


class FolderFrames(LazyFrames):
    """One file for each frame.

    Parameters
    ----------
    path : Path
        Folder.
    files : list of Path
        One for each frame, in order.
    frame_shape : tuple of int
        (Y, X) of every frame.
    dtype : dtype
        Pixel type of every frame.
    """

    def __init__(
        self,
        path: Path,
        files: list[Path],
        frame_shape: tuple[int, int],
        dtype: np.dtype[Any],
    ) -> None:
        super().__init__(path, (len(files), *frame_shape), dtype)
        self.files = files

    def _read(self, frames: slice, rows: slice, columns: slice) -> Block:
        n_rows, n_columns = rows.stop - rows.start, columns.stop - columns.start
        files = self.files[frames]
        block = np.empty((len(files), n_rows, n_columns), self.dtype)
        for target, file in zip(block, files, strict=True):
            target[...] = self._decode(file)[rows, columns]
        return block

    def _decode(self, file: Path) -> Block:
        with opened_tiff(file) as tif:
            page = _single_page(tif, file)
            if page.shape != self.shape[1:] or page.dtype != self.dtype:
                raise FileFormatError(
                    f"{file}: is {page.shape} {page.dtype}, but {self.files[0].name} is "
                    f"{self.shape[1:]} {self.dtype}; keep the frames of one movie in a folder"
                )
            return decode_page(page, file)
