"""Where a result comes from: versions, input hash, command, configuration, seed and time.

Time stands only here, so all other outputs of the same seed are equal byte for byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from dlbi import __version__
from dlbi.core.errors import FileFormatError
from dlbi.io.files import PathLike, as_paths, check_writable, pending_outputs, reading, writing

IDLE_SETTINGS = ("n_workers",)
"""Settings that change no byte."""

_PACKAGES = ("numpy", "scipy", "numba", "tifffile")


def describe(
    *,
    inputs: PathLike | Iterable[PathLike] = (),
    command: Sequence[str] | None = None,
    config: Any = None,
    seed: int | None = None,
    started: datetime | None = None,
) -> dict[str, Any]:
    """Provenance of a run as plain JSON values.

    Parameters
    ----------
    inputs : path or iterable of path
        Files or folders that were read; recorded by name, size and SHA-256 of their content.
    command : sequence of str, optional
        Command line.
    config : mapping or dataclass, optional
        Settings in force, defaults included.
    seed : int, optional
        Root seed.
    started : datetime, optional
        When the run began; now by default.

    Returns
    -------
    dict
        Keys ``software``, ``platform``, ``inputs``, ``command``, ``config``, ``seed``,
        ``started_utc`` and ``seconds``, how long it took until now.
    """
    now = datetime.now(UTC)
    started = started or now
    return {
        "software": software_versions(),
        "platform": {"system": platform.platform(), "machine": platform.machine()},
        "inputs": [_describe_input(path) for path in as_paths(inputs)],
        "command": None if command is None else list(command),
        "config": plain(config),
        "seed": None if seed is None else int(seed),
        "started_utc": started.astimezone(UTC).isoformat(),
        "seconds": round((now - started).total_seconds(), 2),
    }


def lasted(record: Mapping[str, Any], started: datetime) -> dict[str, Any]:
    """The record of a run that began at `started` and ends now."""
    return {**record, "seconds": round((datetime.now(UTC) - started).total_seconds(), 2)}


def first_difference(record: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Why two runs give different bytes: the first input, setting, seed or version that differs.

    Parameters
    ----------
    record, other : mapping
        As `describe` gives them, `other` perhaps read back from JSON.

    Returns
    -------
    str or None
        Such as ``"quality preview, not best"``; None if they give the same bytes.
    """
    ours, theirs = _deciding(record), _deciding(other)
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            return f"{name} {_shown(theirs.get(name))}, not {_shown(ours.get(name))}"
    return None


def _deciding(record: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the bytes of a result, by name."""
    known = plain(record)
    inputs = known.get("inputs") or ()
    config = known.get("config") or {}
    return {
        "the number of inputs": len(inputs),
        **{f"SHA-256 of {entry['name']}": entry["sha256"] for entry in inputs},
        **{name: value for name, value in config.items() if name not in IDLE_SETTINGS},
        "seed": known.get("seed"),
        **(known.get("software") or {}),
    }


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 32 else f"{text[:12]}…"


def software_versions() -> dict[str, str]:
    """Versions of this package, Python and the packages that decide the numbers."""
    versions = {"dlbi": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _describe_input(path: Path) -> dict[str, Any]:
    files = _content_files(path)
    return {
        "name": path.name,
        "bytes": sum(file.stat().st_size for file in files),
        "sha256": content_sha256(path),
    }


def content_sha256(path: PathLike) -> str:
    """SHA-256 of a file, or of the relative names and contents of all files in a folder.

    Parameters
    ----------
    path : path
        Read as a stream, in bounded memory.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    path = Path(path)
    with reading(path, "file"):
        if not path.is_dir():
            return _file_sha256(path)
        listing = hashlib.sha256()
        for file in _content_files(path):
            name = file.relative_to(path).as_posix()
            listing.update(f"{_file_sha256(file)}  {name}\n".encode())
        return listing.hexdigest()


def _content_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.is_file())
    return sorted(files, key=lambda file: file.relative_to(path).as_posix())


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def plain(value: Any) -> Any:
    """The value in strict JSON types; NaN and infinities become None, unknown types their name.

    Parameters
    ----------
    value : any
        Mappings, dataclasses, sequences, arrays, NumPy scalars, paths and plain values.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return str(value)


def save_json(path: PathLike, content: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Write strict JSON that appears when complete.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, suffixes=(".json",))
    with pending_outputs(path, overwrite=overwrite) as parts, writing(path):
        write_json(parts[path], content)
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the file of `save_json` under exactly this name, at once.

    Bytes of a path that are no UTF-8 become escapes, from which `load_json` makes the same path.
    """
    text = json.dumps(plain(content), indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def load_json(path: PathLike) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    InputError
        If it cannot be read.
    FileFormatError
        If it is not a JSON object.
    """
    path = Path(path)
    with reading(path, "JSON file"):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise FileFormatError(f"{path}: holds a JSON {type(content).__name__}, not an object")
    return content
