"""Tables of numbers that were chosen."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from dlbi.bench.tables import (
    MOVIE_COLUMNS,
    NULL,
    Column,
    firsts,
    mean_and_sd,
    summary_table,
    value,
    value_table,
)

PSNR = Column("psnr_ls_db", "PSNR", 1)
ERROR = Column("rse", "RSE", 1, "low")


@pytest.fixture
def outcomes(outcome, tiny):
    """Two methods on three movies: 20, 22, 24 dB and 19, 25, 24 dB; 16, 17, 18 dB of nothing."""
    found = []
    for n, (a, b) in enumerate([(20.0, 19.0), (22.0, 25.0), (24.0, 24.0)]):
        for name, psnr in (("a", a), ("b", b)):
            scores = {"psnr_ls_db": psnr, "rse": 100.0 - psnr, "null_psnr_ls_db": 16.0 + n}
            found.append(outcome(name, scores, source=replace(tiny, seed=n)))
    return found


def test_mean_and_sample_deviation_of_what_is_there():
    assert mean_and_sd([1.0, math.nan, 3.0]) == (2.0, pytest.approx(math.sqrt(2)))
    assert mean_and_sd([5.0])[0] == 5.0
    assert all(map(math.isnan, (*mean_and_sd([]), mean_and_sd([5.0])[1])))


def test_equals_share_the_first_place(outcomes):
    assert firsts(outcomes, PSNR) == {"a": 2, "b": 2}
    assert firsts(outcomes, ERROR) == {"a": 2, "b": 2}
    assert firsts(outcomes, replace(ERROR, best="high")) == {"a": 2, "b": 2}
    assert firsts(outcomes[:4], PSNR) == {"a": 1, "b": 1}
    assert firsts(outcomes[:2], ERROR) == {"a": 1, "b": 0}


def test_summary_has_means_deviations_places_and_the_null_row(outcomes):
    assert summary_table(outcomes, [PSNR, replace(ERROR, best=None)]).splitlines() == [
        "| method | PSNR | RSE |",
        "| --- | --- | --- |",
        "| a | 22.0 ± 2.0 (2) | 78.0 ± 2.0 |",
        "| b | 22.7 ± 3.2 (2) | 77.3 ± 3.2 |",
        f"| {NULL} | 17.0 ± 1.0 | – |",
    ]


def test_no_null_row_where_nothing_has_one(outcome):
    table = summary_table([outcome("a", {"rsp": 0.9})], MOVIE_COLUMNS)
    assert NULL not in table
    assert "| a | 0.9000 | – | – | – | – | – | 1.00 | 2.00 |" in table


def test_single_values_by_group(outcomes):
    table = value_table({"one": outcomes[:2], "two": outcomes[2:4]}, PSNR, heading="area")
    assert table.splitlines() == [
        f"| area | a | b | {NULL} |",
        "| --- | --- | --- | --- |",
        "| one | 20.0 | 19.0 | 16.0 |",
        "| two | 22.0 | 25.0 | 17.0 |",
    ]


def test_what_failed_has_neither_scores_nor_times(outcome):
    failed = outcome("a", {})
    assert math.isnan(value(failed, "seconds"))
    assert math.isnan(value(failed, "rsp"))
    assert "| a | – | – | – | – | – | – | – | – |" in summary_table([failed], MOVIE_COLUMNS)
