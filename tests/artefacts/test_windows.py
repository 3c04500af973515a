"""Findings of many windows become one for each check, as bad as the worst."""

from __future__ import annotations

from dlbi.artefacts import Finding, Severity, over_windows

FINE, WARNING = Severity.FINE, Severity.WARNING


def drift(severity, sentence, told=False):
    return Finding("drift", severity, sentence, told=told)


def test_the_worst_window_speaks_and_says_how_many_are_like_it():
    light = Finding("light", FINE, "light stands out")
    windows = [
        [light, drift(FINE, "still")],
        [light, drift(WARNING, "moved by 3", told=True)],
        [light, drift(WARNING, "moved by 4")],
    ]
    first, second = over_windows(windows)
    assert first.name == "light"
    assert str(first) == "light: in all 3 windows, first in window 1: light stands out"
    assert second.severity is WARNING
    assert str(second) == "drift: in 2 of 3 windows, first in window 2: moved by 3"
    assert not second.told
    assert over_windows(windows[:2])[1].told


def test_a_check_of_some_windows_is_not_lost():
    unknown = Finding("PSF", Severity.UNKNOWN, "not shown")
    (only,) = over_windows([[], [unknown], []])
    assert str(only) == "PSF: in 1 of 3 windows, first in window 2: not shown"


def test_one_window_speaks_for_itself():
    finding = drift(WARNING, "moved by 3")
    assert over_windows([[finding]]) == [finding]
