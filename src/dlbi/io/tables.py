"""Emitters as ThunderSTORM CSV tables.

Coordinates are nanometres from the outer corner of the field, as in ThunderSTORM, where the
centre of the first pixel lies at half a pixel.

References
----------
M. Ovesný et al., Bioinformatics 30, 2389 (2014), doi:10.1093/bioinformatics/btu202
"""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlbi.core.emitters import Emitters
from dlbi.core.errors import FileFormatError, InputError
from dlbi.io.files import PathLike, check_writable, pending_outputs, reading, writing
from dlbi.io.metadata import length_nm

_ROWS_AT_ONCE = 65_536
_MAX_HEADER = 65_536
_HEADING = re.compile(r"\s*([^\[]*?)\s*(?:\[([^\]]*)\])?\s*")

_Table = Mapping[str, NDArray[Any]]


def save_emitters(
    path: PathLike,
    emitters: Emitters,
    *,
    sigma_nm: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write emitters as a ThunderSTORM table, one row for each fluorophore, all in frame 1.

    Columns that are not known are left out. Beside ThunderSTORM's own columns stand ``sd_x``,
    ``sd_y`` (their quadratic mean is ``uncertainty``), ``p_real``, ``frames_on`` and
    ``bleach_frame``. Numbers have ten significant digits.

    Parameters
    ----------
    path : path
        Output, ``.csv``.
    emitters : Emitters
        Fluorophores.
    sigma_nm : float, optional
        Standard deviation of the PSF, for programs that expect the column.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, suffixes=(".csv",))
    with pending_outputs(path, overwrite=overwrite) as parts, writing(path):
        write_emitters(parts[path], emitters, sigma_nm=sigma_nm)
    return path


def write_emitters(path: Path, emitters: Emitters, *, sigma_nm: float | None = None) -> None:
    """Write the file of `save_emitters` under exactly this name, at once."""
    columns = _thunderstorm_columns(emitters, sigma_nm)
    row = ",".join("%d" if c.dtype.kind in "iu" else "%.10g" for c in columns.values()) + "\n"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(f'"{name}"' for name in columns) + "\n")
        for start in range(0, len(emitters), _ROWS_AT_ONCE):
            block = (c[start : start + _ROWS_AT_ONCE].tolist() for c in columns.values())
            text = "".join(map(row.__mod__, zip(*block, strict=True)))
            file.write(text.replace("nan", "NaN"))  # Java's spelling


def _thunderstorm_columns(emitters: Emitters, sigma_nm: float | None) -> _Table:
    known = emitters.columns()
    n = len(emitters)
    columns: dict[str, NDArray[Any] | None] = {
        "id": np.arange(1, n + 1),
        "frame": np.ones(n, np.int64),
        "x [nm]": emitters.x_nm,
        "y [nm]": emitters.y_nm,
        "sigma [nm]": None if sigma_nm is None else np.full(n, sigma_nm),
        "intensity [photon]": known.get("photons"),
        "uncertainty [nm]": None,
        "sd_x [nm]": known.get("sd_x_nm"),
        "sd_y [nm]": known.get("sd_y_nm"),
        "p_real": known.get("p_real"),
        "frames_on": known.get("frames_on"),
        "bleach_frame": known.get("bleach_frame"),
    }
    if "sd_x_nm" in known and "sd_y_nm" in known:
        squares = known["sd_x_nm"] ** 2 + known["sd_y_nm"] ** 2
        columns["uncertainty [nm]"] = np.sqrt(squares / 2)
    return {name: column for name, column in columns.items() if column is not None}


def load_emitters(path: PathLike) -> Emitters:
    """Read a ThunderSTORM table of this or another program; each row becomes one emitter.

    Only numbers are read, and only from the columns that `Emitters` knows. A single
    ``uncertainty`` stands for both axes.

    Parameters
    ----------
    path : path
        CSV with a header naming at least ``x [nm]`` and ``y [nm]`` (any unit of length).

    Returns
    -------
    Emitters
        Lengths in nanometres; columns that the table lacks are None.

    Raises
    ------
    InputError
        If the path is missing, or a position is not finite.
    FileFormatError
        If it is no such table.
    """
    path = Path(path)
    headings = _read_headings(path)
    wanted = {
        "x_nm": _length_column(headings, ("x",)),
        "y_nm": _length_column(headings, ("y",)),
        "photons": _column(headings, ("intensity",)),
        "frames_on": _column(headings, ("frames_on",)),
        "bleach_frame": _column(headings, ("bleach_frame",)),
        "sd_x_nm": _length_column(headings, ("sd_x", "uncertainty", "uncertainty_xy")),
        "sd_y_nm": _length_column(headings, ("sd_y", "uncertainty", "uncertainty_xy")),
        "p_real": _column(headings, ("p_real",)),
    }
    found = {name: place for name, place in wanted.items() if place is not None}
    if "x_nm" not in found or "y_nm" not in found:
        held = ", ".join(f"{name} [{unit}]" for name, unit in headings[:8])
        raise FileFormatError(
            f"{path}: needs the columns 'x [nm]' and 'y [nm]' in a ThunderSTORM header, got "
            f"{held[:160]}; export it in nanometres"
        )
    numbers = _read_numbers(path, [place for place, _ in found.values()])
    columns = {name: numbers[:, i] * factor for i, (name, (_, factor)) in enumerate(found.items())}
    if not (np.isfinite(columns["x_nm"]).all() and np.isfinite(columns["y_nm"]).all()):
        raise InputError(f"{path}: some positions are NaN or infinite; remove those rows")
    return Emitters(**columns)


def _read_headings(path: Path) -> list[tuple[str, str]]:
    """Name and unit of each column."""
    with reading(path, "CSV table"), path.open(encoding="utf-8-sig", newline="") as file:
        cells = next(csv.reader([file.readline(_MAX_HEADER)]), [])
    matches = (_HEADING.fullmatch(cell.lower()) for cell in cells)
    return [(m[1], m[2] or "") if m else ("", "") for m in matches]


def _column(headings: list[tuple[str, str]], names: tuple[str, ...]) -> tuple[int, float] | None:
    """Place of the first of `names` that is there, with factor 1."""
    for name in names:
        for place, (heading, _) in enumerate(headings):
            if heading == name:
                return place, 1.0
    return None


def _length_column(
    headings: list[tuple[str, str]], names: tuple[str, ...]
) -> tuple[int, float] | None:
    """Place and factor to nanometres of the first of `names` that is a length."""
    in_nm = [(name if length_nm(1.0, unit) is not None else "", unit) for name, unit in headings]
    found = _column(in_nm, names)
    if found is None:
        return None
    factor = length_nm(1.0, headings[found[0]][1])
    return None if factor is None else (found[0], factor)


def _read_numbers(path: Path, places: list[int]) -> NDArray[np.float64]:
    with reading(path, "CSV table"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input contained no data")
        numbers = np.loadtxt(
            path,
            delimiter=",",
            skiprows=1,
            usecols=places,
            ndmin=2,
            comments=None,
            quotechar='"',
            encoding="utf-8-sig",
        )
    return numbers.reshape(-1, len(places))
