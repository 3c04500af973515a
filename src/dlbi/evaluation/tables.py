"""Scores as plain text: one row for each image, columns aligned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Row = Mapping[str, str | float | bool | None]

_HEADINGS = {
    "name": "",
    "corr_0px": "corr 0 px",
    "corr_2px": "corr 2 px",
    "corr_4px": "corr 4 px",
    "psnr_ls_db": "PSNR ls",
    "ssim_ls": "SSIM ls",
    "psnr_p999_db": "PSNR p999",
    "ssim_p999": "SSIM p999",
}


def score_table(rows: Sequence[Row]) -> str:
    """Truth scores of several images as an aligned table.

    Parameters
    ----------
    rows : sequence of mapping
        As `TruthScores.rows` gives them; what is None is shown as a dash.
    """
    lines = [list(_HEADINGS.values())]
    lines += [[cell(row[key], places=_places(key)) for key in _HEADINGS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join(f"  {text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def cell(value: str | float | bool | None, *, places: int) -> str:
    """A value with a number of decimal places; a dash where it is undefined."""
    if isinstance(value, str):
        return value
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{places}f}"


def _places(key: str) -> int:
    return 2 if key.startswith("psnr") else 3
