"""Outcomes as Markdown tables: mean and deviation over movies, and how often a method is first."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dlbi.bench.cases import Outcome
from dlbi.evaluation.tables import cell

NULL = "all-zero image"


@dataclass(frozen=True, slots=True)
class Column:
    """A score in a table.

    Parameters
    ----------
    key : str
        In `Outcome.scores`, or "seconds" or "cpu_seconds".
    title : str
    places : int
        Decimal places.
    best : {"high", "low"} or None
        Which end is first; None where being first means nothing.
    """

    key: str
    title: str
    places: int
    best: Literal["high", "low"] | None = "high"


TRUTH_COLUMNS = (
    Column("corr_0px", "corr 0 px", 3),
    Column("corr_2px", "corr 2 px", 3),
    Column("corr_4px", "corr 4 px", 3),
    Column("psnr_ls_db", "PSNR ls / dB", 2),
    Column("ssim_ls", "SSIM ls", 3),
    Column("psnr_p999_db", "PSNR p999 / dB", 2),
    Column("ssim_p999", "SSIM p999", 3),
)
MOVIE_COLUMNS = (
    Column("rsp", "RSP", 4, None),
    Column("rse", "RSE / counts", 2, None),
    Column("rse_paper", "RSE, paper's unit", 0, None),
    Column("rsp_signal", "RSP, background off", 4, None),
    Column("rse_signal", "RSE, background off / counts", 2, None),
    Column("chi2", "reduced χ²", 2, None),
    Column("seconds", "s", 2, None),
    Column("cpu_seconds", "CPU s", 2, None),
)


def value(outcome: Outcome, key: str) -> float:
    """A score or a time; NaN where there is none."""
    if key in ("seconds", "cpu_seconds"):
        return float(getattr(outcome, key)) if outcome.scores else math.nan
    found = outcome.scores.get(key)
    return math.nan if found is None else found


def by_name(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Outcomes of each method, in the order of their first appearance."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.case.contestant.name, []).append(outcome)
    return groups


def grouped(
    outcomes: Iterable[Outcome], title: Callable[[Outcome], str] | None = None
) -> dict[str, list[Outcome]]:
    """Outcomes under each title, or of each movie without one; in the order of appearance."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        key = title(outcome) if title else repr(outcome.case.source)
        groups.setdefault(key, []).append(outcome)
    return groups


def preset_of(outcome: Outcome) -> str:
    """Title of the scene that a simulated movie is of."""
    return str(outcome.movie["preset"])


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of the values that are there; NaN without any."""
    known = [v for v in values if not math.isnan(v)]
    if not known:
        return math.nan, math.nan
    return float(np.mean(known)), float(np.std(known, ddof=1)) if len(known) > 1 else math.nan


def firsts(outcomes: Sequence[Outcome], column: Column) -> dict[str, int]:
    """On how many movies each method has the best value; equals share the place."""
    sign = 1.0 if column.best == "high" else -1.0
    counts = dict.fromkeys(by_name(outcomes), 0)
    for group in grouped(outcomes).values():
        values = {o.case.contestant.name: sign * value(o, column.key) for o in group}
        known = {name: v for name, v in values.items() if not math.isnan(v)}
        for name, v in known.items():
            counts[name] += v == max(known.values())
    return counts


def summary_table(outcomes: Sequence[Outcome], columns: Sequence[Column]) -> str:
    """A row for each method: mean ± standard deviation, and in brackets how often it is first.

    Columns of PSNR and SSIM come with a row of the all-zero image.
    """
    places = {column.key: firsts(outcomes, column) for column in columns if column.best}
    rows = []
    for name, group in by_name(outcomes).items():
        cells = []
        for column in columns:
            text = spread([value(o, column.key) for o in group], column.places)
            count = places.get(column.key, {}).get(name)
            cells.append(f"{text} ({count})" if count else text)
        rows.append([name, *cells])
    null = [
        spread([value(g[0], f"null_{c.key}") for g in grouped(outcomes).values()], c.places)
        for c in columns
    ]
    if any(text != "–" for text in null):
        rows.append([NULL, *null])
    return markdown(["method", *(column.title for column in columns)], rows)


def value_table(
    groups: Mapping[str, Sequence[Outcome]], column: Column, *, heading: str = "movies"
) -> str:
    """A row for each group of outcomes and a column for each method: means of one score."""
    names = list(by_name(o for group in groups.values() for o in group))
    has_null = any(f"null_{column.key}" in o.scores for group in groups.values() for o in group)
    rows = []
    for title, group in groups.items():
        found = by_name(group)
        row = [
            cell(mean_and_sd([value(o, column.key) for o in found.get(n, [])])[0],
                 places=column.places)
            for n in names
        ]  # fmt: skip
        if has_null:
            null = mean_and_sd([value(o, f"null_{column.key}") for o in group])[0]
            row.append(cell(null, places=column.places))
        rows.append([title, *row])
    return markdown([heading, *names, *([NULL] if has_null else [])], rows)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float], places: int) -> str:
    """Mean ± standard deviation as text; the mean alone of one value, a dash of none."""
    mean, sd = mean_and_sd(values)
    text = cell(mean, places=places)
    return text if math.isnan(sd) else f"{text} ± {cell(sd, places=places)}"
