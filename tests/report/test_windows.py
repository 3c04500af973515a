"""The table of windows on the page of a time-lapse."""

from __future__ import annotations

import html
from dataclasses import replace

import pytest

from dlbi.report import page, render_report
from dlbi.report.scores import movie_scores
from dlbi.report.windows import window_table


def window(n, **more):
    warned = [{"name": "drift", "severity": "warning"}, {"name": "light", "severity": "fine"}]
    return {
        "frames": [20 * n, 20 * n + 20, 1], "start_s": n * 1.5, "light": 1234.5 * (n + 1),
        "n_emitters": None, "artefacts": warned if n == 1 else [],
        "reconstruction": {"r_hat_median": 1.057} if n == 1 else {}, **more,
    }  # fmt: skip


def test_one_row_for_each_window():
    table = window_table({"windows": [window(0, n_emitters=37), window(1)]})
    assert table.headings[:3] == ["window", "frames", "starts at / s"]
    assert table.rows == [
        ["1", "0:20", "0", "1230", "37", "–", "–"],
        ["2", "20:40", "1.5", "2470", "–", "1.06", "drift"],
    ]


def test_without_a_frame_interval_there_is_no_time():
    table = window_table({"windows": [window(0, start_s=None, frames=[0, 40, 2])]})
    assert table.headings[:3] == ["window", "frames", "light / counts"]
    assert table.rows[0][:3] == ["1", "0:40:2", "1230"]


def test_the_page_has_the_table_of_a_time_lapse_only(sr, movie):
    assert window_table({}) is None
    once = html.unescape(render_report(sr, movie.stack))
    assert "The windows" not in once
    assert "mean over all" not in once
    record = {"reconstruction": {"method": "rl", "windows": [window(0), window(1)]}}
    page = html.unescape(render_report(replace(sr, provenance=record), movie.stack))
    assert "The windows" in page
    assert "those of the mean over all 2 windows" in page
    assert "<td>20:40</td>" in page


@pytest.mark.parametrize(
    ("record", "by_light"),
    [
        ({"light_left": 0.3}, True),
        ({"method": "3b"}, False),
        ({"light_left": 1.0, "windows": [window(0), window(1)]}, False),
    ],
)
def test_the_page_asks_whether_late_frames_counted_less(sr, movie, monkeypatch, record, by_light):
    asked = []

    def scored(*args, by_light):
        asked.append(by_light)
        return movie_scores(*args, by_light=by_light)

    monkeypatch.setattr(page, "movie_scores", scored)
    render_report(replace(sr, provenance={"reconstruction": record}), movie.stack)
    assert asked == [by_light]
