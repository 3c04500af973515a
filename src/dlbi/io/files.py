"""Files on disk: names of outputs, all-or-nothing writing, and one kind of error for each failure.

Every output of the package is first written under a temporary name in its own folder and renamed
when all files of the set are complete, so an interrupted run leaves nothing behind.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dlbi.core.errors import DlbiError, FileFormatError, InputError, OutputError

PathLike = str | os.PathLike[str]

TIFF_SUFFIXES = (".ome.tif", ".ome.tiff", ".tif", ".tiff")
"""Suffixes under which images and movies are written."""

BIG_TIFF_BYTES = 3.5e9
"""Pixels beyond which a TIFF is written as BigTIFF."""

OUTPUT_SUFFIXES = (*TIFF_SUFFIXES, ".csv", ".html", ".json", ".md", ".png", ".toml")
"""Every suffix the package writes."""


def split_suffix(path: PathLike, suffixes: Iterable[str] = OUTPUT_SUFFIXES) -> tuple[str, str]:
    """File name without its suffix, and the suffix as spelled: ``("SR", ".ome.tif")``.

    Raises
    ------
    OutputError
        If the name has none of the suffixes, or nothing else.
    """
    name = Path(path).name
    found = max((s for s in suffixes if name.lower().endswith(s)), key=len, default="")
    if found and name.lower() != found:
        return name[: -len(found)], name[-len(found) :]
    raise OutputError(
        f"{path}: cannot tell the format to write from this name; "
        f"end it in one of {', '.join(suffixes)}"
    )


def sibling(path: PathLike, label: str, suffix: str | None = None) -> Path:
    """The file that goes with `path`: ``SR.ome.tif`` and ``"std"`` give ``SR.std.ome.tif``.

    Parameters
    ----------
    path : path
        Main output.
    label : str
        What the sibling holds.
    suffix : str, optional
        Suffix of the sibling; that of `path` by default.
    """
    stem, own_suffix = split_suffix(path)
    return Path(path).with_name(f"{stem}.{label}{own_suffix if suffix is None else suffix}")


def check_writable(
    paths: PathLike | Iterable[PathLike],
    *,
    overwrite: bool = False,
    suffixes: Iterable[str] = OUTPUT_SUFFIXES,
) -> None:
    """Refuse outputs that could not be written, before any work is done for them.

    Raises
    ------
    OutputError
        If a name has an unknown suffix, a folder is missing or read-only, a path is a folder,
        a name is too long, or a file exists and `overwrite` is false.
    """
    for path in as_paths(paths):
        split_suffix(path, suffixes)
        with writing(path):
            _check_place(path, overwrite=overwrite)


def _check_place(path: Path, *, overwrite: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: the folder {folder} does not exist; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} is not writable; choose another one")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file inside it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; use --overwrite or choose another name")
    _temporary(path).exists()  # refused here if its name is too long


def as_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """One path or several, as a list."""
    if isinstance(paths, str | os.PathLike):
        return [Path(paths)]
    return [Path(path) for path in paths]


@contextmanager
def pending_outputs(
    paths: PathLike | Iterable[PathLike],
    *,
    overwrite: bool = False,
    obsolete: Iterable[PathLike] = (),
) -> Iterator[dict[Path, Path]]:
    """Temporary names to write to, renamed together when the block ends without an error.

    Parameters
    ----------
    paths : path or iterable of path
        Final names; they are renamed in this order, so put the main file last.
    overwrite : bool
        Replace existing files.
    obsolete : iterable of path
        Files of an earlier output of the same name that this one does not write; removed with
        it, because they would be read as parts of the new one.

    Yields
    ------
    dict
        Temporary name by final name.

    Raises
    ------
    OutputError
        As `check_writable`, at the start and again before renaming.
    """
    finals, leftovers = as_paths(paths), as_paths(obsolete)
    check_writable([*finals, *leftovers], overwrite=overwrite)
    parts = {path: _temporary(path) for path in finals}
    try:
        yield parts
        check_writable([*finals, *leftovers], overwrite=overwrite)
        _rename(parts, leftovers, overwrite=overwrite)
    finally:
        for part in parts.values():
            with suppress(OSError):  # what went wrong before is what must be told
                part.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def _rename(parts: dict[Path, Path], leftovers: list[Path], *, overwrite: bool) -> None:
    placed: list[Path] = []
    try:
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        for final, part in parts.items():
            with writing(final):
                part.replace(final)
            placed.append(final)
    except BaseException:
        if not overwrite:
            for final in placed:
                final.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: PathLike) -> Iterator[None]:
    """Report a failure of the file system as an `OutputError` that names the output."""
    try:
        yield
    except DlbiError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); choose another place") from error


@contextmanager
def reading(path: PathLike, kind: str) -> Iterator[None]:
    """Report whatever a parser of foreign files raises as one line that names the input.

    Raises
    ------
    InputError
        If the operating system refuses the file, or memory runs out.
    FileFormatError
        If the content is not a `kind`, or is broken.
    """
    try:
        yield
    except DlbiError:
        raise
    except OSError as error:
        reason = error.strerror or _one_line(error)
        raise InputError(f"{path}: cannot be read ({reason})") from error
    except MemoryError as error:
        raise InputError(
            f"{path}: needs more memory than there is ({_one_line(error)}); read fewer frames or "
            "a smaller region (--frames, --roi)"
        ) from error
    # Decoders of damaged files raise almost anything: struct.error, IndexError, codec errors.
    except Exception as error:
        raise FileFormatError(
            f"{path}: is not a readable {kind} ({_one_line(error)}); it is damaged or of another "
            "kind, so copy or export it again from its source"
        ) from error


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:160] or type(error).__name__
