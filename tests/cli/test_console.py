"""What is printed: warnings and progress."""

from __future__ import annotations

import re
import sys
import warnings

from dlbi.cli.console import PlainProgress, progress_report
from dlbi.core.errors import DlbiWarning


def test_warnings_are_single_lines(dlbi, monkeypatch):
    def warn():
        warnings.warn("something\n  happened", DlbiWarning, stacklevel=1)
        warnings.warn("something\n  happened", DlbiWarning, stacklevel=1)

    monkeypatch.setattr("dlbi.cli.doctor._memory", warn)
    _, _, err = dlbi("doctor")
    assert err == "warning: something happened\n" * 2


def test_plain_progress_is_a_line_for_each_stage_and_every_ten_seconds(capsys):
    seconds = iter([0.0, 1.0, 9.9, 10.1, 15.0, 16.0])
    report = PlainProgress(clock=lambda: next(seconds))
    for stage, done in (("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 4)):
        report(stage, done, 4)
    assert capsys.readouterr().out.splitlines() == ["a: 3 of 4", "a: 4 of 4", "b: 4 of 4"]


def test_a_milestone_is_told_with_its_time(monkeypatch, capsys):
    seconds = iter([2.0, 5.5])
    PlainProgress(clock=lambda: next(seconds))("first look", 0, 0)
    assert capsys.readouterr().out == "first look after 3.5 s\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress_report() as report:
        report("first look", 0, 0)
    assert re.search(r"first look after \d+\.\d s", capsys.readouterr().out)


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress_report() as report:
        report("sampling", 1, 4)
        report("sampling", 4, 4)
    out = capsys.readouterr().out
    assert "sampling" in out
    assert "4/4" in out
