"""What a file is, told from its first bytes rather than from its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dlbi.core.errors import FileFormatError, InputError
from dlbi.io.files import reading

FileKind = Literal["tiff", "npy", "png", "jpeg", "folder", "ome-zarr"]

_READABLE: tuple[tuple[bytes, FileKind], ...] = (
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x93NUMPY", "npy"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"PK\x03\x04", "a ZIP archive (or .npz)"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"%PDF", "a PDF document"),
    (b"RIFF", "an AVI or other RIFF file"),
    (b"ZISRAWFILE", "a Zeiss CZI file"),
    (b"\xda\xce\xbe\x0a", "a Nikon ND2 file"),
    (b"\x70\x00\x00\x00", "a Leica LIF file"),
    (b"\x1f\x8b", "a gzip archive"),
)
_ZARR_FILES = ("zarr.json", ".zattrs", ".zgroup", ".zarray")


def file_kind(path: Path) -> FileKind:
    """Format of a file or folder.

    Raises
    ------
    InputError
        If the path is missing or cannot be read.
    FileFormatError
        If the content is of no kind that the package reads.
    """
    with reading(path, "file"):
        if path.is_dir():
            return "ome-zarr" if any((path / name).is_file() for name in _ZARR_FILES) else "folder"
        if not path.exists():
            raise InputError(f"{path}: there is no such file; check the spelling and the folder")
        if not path.is_file():
            raise InputError(f"{path}: is not a regular file; give a TIFF, .npy or OME-Zarr")
        with path.open("rb") as file:
            head = file.read(16)
    for magic, kind in _READABLE:
        if head.startswith(magic):
            return kind
    raise FileFormatError(
        f"{path}: {_foreign_content(head)}; TIFF, .npy, OME-Zarr and folders of TIFF are read, "
        "so open it in Fiji and save it as TIFF"
    )


def _foreign_content(head: bytes) -> str:
    if not head:
        return "is empty"
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            return f"is {name}"
    return "is neither an image nor a movie (unknown content)"
