"""Calibrations as TOML files of one fixed form, readable and editable by hand.

A file has the figures of the movie at its head and one table for each estimate with the keys
``value``, ``low``, ``high`` and ``origin``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from dlbi import __version__
from dlbi.core.errors import FileFormatError, InputError
from dlbi.core.scope import UNITS, Estimate, Scope
from dlbi.io.files import PathLike, check_writable, pending_outputs, reading, writing

SCOPE_SUFFIXES = (".toml",)
FORMAT = 3

_HEAD = tuple(field.name for field in fields(Scope) if field.name not in UNITS)
_KEYS = tuple(field.name for field in fields(Estimate))


def save_scope(path: PathLike, scope: Scope, *, overwrite: bool = False) -> Path:
    """Write a calibration; it appears under its name when complete.

    Raises
    ------
    OutputError
        If the file cannot be written or exists already.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, suffixes=SCOPE_SUFFIXES)
    with pending_outputs(path, overwrite=overwrite) as parts, writing(path):
        parts[path].write_text(scope_text(scope), encoding="utf-8")
    return path


def scope_text(scope: Scope) -> str:
    """The content of the file."""
    lines = [
        f"# Calibration by dlbi {__version__}: value and 95 % interval of each figure.",
        "# origin: movie (identified), bounds (narrowed, not identified), prior (not identified).",
        f"format = {FORMAT}",
    ]
    lines += [f"{name} = {getattr(scope, name)!r}" for name in _HEAD]
    for name, estimate in scope.estimates():
        lines += ["", f"[{name}]  # {UNITS[name]}"]
        lines += [f"{key} = {_toml(getattr(estimate, key))}" for key in _KEYS]
    return "\n".join(lines) + "\n"


def _toml(value: float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(float(value))


def load_scope(path: PathLike) -> Scope:
    """Read a calibration.

    Parameters
    ----------
    path : path
        TOML file of `dlbi calibrate` or `save`, edited by hand or not.

    Returns
    -------
    Scope

    Raises
    ------
    InputError
        If the file cannot be read, or holds an impossible figure.
    FileFormatError
        If it is not TOML of this form; the message names the key at fault.
    """
    path = Path(path)
    with reading(path, "TOML file"):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        return _scope(content)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error


def _scope(content: Mapping[str, Any]) -> Scope:
    version = content.get("format")
    if version != FORMAT:
        raise FileFormatError(
            f"needs format = {FORMAT}, got {version!r}; write the file with dlbi calibrate"
        )
    _expect_keys(content, ("format", *_HEAD, *UNITS), where="")
    head = {name: _real(content[name], name) for name in _HEAD}
    n_frames = content["n_frames"]
    if not isinstance(n_frames, int):
        raise FileFormatError(f"n_frames must be a whole number, got {n_frames!r}")
    estimates = {name: _estimate(content[name], name) for name in UNITS}
    return Scope(**{**head, "n_frames": n_frames}, **estimates)  # type: ignore[arg-type]


def _estimate(table: Any, name: str) -> Estimate:
    if not isinstance(table, Mapping):
        raise FileFormatError(f"{name} must be a table with {', '.join(_KEYS)}, got {table!r}")
    _expect_keys(table, _KEYS, where=f" in [{name}]")
    value, low, high = (_real(table[key], f"{key} in [{name}]") for key in _KEYS[:3])
    try:
        return Estimate(value, low, high, table["origin"])
    except InputError as error:
        raise InputError(f"[{name}]: {error}") from error


def _real(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FileFormatError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except OverflowError as error:
        raise FileFormatError(f"{name} is too large for a number") from error


def _expect_keys(table: Mapping[str, Any], known: tuple[str, ...], *, where: str) -> None:
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise FileFormatError(f"unknown key {unknown[0]!r}{where}; known are {', '.join(known)}")
    missing = [key for key in known if key not in table]
    if missing:
        raise FileFormatError(f"the key {missing[0]!r}{where} is missing")
