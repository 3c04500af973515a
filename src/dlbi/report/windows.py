"""The windows of a time-lapse as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dlbi.artefacts.record import Record, record_of
from dlbi.report.numbers import number
from dlbi.report.scores import Table

NOTHING = "–"


def window_table(record: Record) -> Table | None:
    """One row for each window; None where the movie was reconstructed at once.

    Parameters
    ----------
    record : mapping
        What was recorded of the reconstruction.
    """
    windows = record.get("windows")
    if not windows:
        return None
    headings = ["window", "frames", "light / counts", "fluorophores", "R-hat", "checks that warn"]
    rows = [_row(n, window) for n, window in enumerate(windows, start=1)]
    if all(window.get("start_s") is not None for window in windows):
        headings.insert(2, "starts at / s")
        for row, window in zip(rows, windows, strict=True):
            row.insert(2, f"{window['start_s']:.4g}")
    notes = ["Light is that of the whole image in one frame; it falls where fluorophores bleach."]
    return Table(headings, rows, notes)


def _row(n: int, window: Mapping[str, Any]) -> list[str]:
    start, stop, step = window["frames"]
    inner = record_of(window)
    n_emitters, r_hat = window.get("n_emitters"), inner.get("r_hat_median")
    warned = [f["name"] for f in window.get("artefacts", ()) if f["severity"] == "warning"]
    return [
        str(n),
        f"{start}:{stop}" + ("" if step == 1 else f":{step}"),
        number(window["light"]),
        NOTHING if n_emitters is None else str(n_emitters),
        NOTHING if r_hat is None else f"{r_hat:.2f}",
        ", ".join(warned) or NOTHING,
    ]
