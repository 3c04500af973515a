"""Provenance in words, and the command that repeats a run."""

from __future__ import annotations

import pytest

from dlbi.report.origin import origin_facts, rerun_command


def command(*words, seed=7):
    return rerun_command({"command": ["dlbi", *words], "seed": seed})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.tif", "--out", "b.tif"], "dlbi a.tif --out b.tif --seed 7"),
        (["a.tif", "--seed", "3"], "dlbi a.tif --seed 3"),
        (["a.tif", "--seed=3"], "dlbi a.tif --seed=3"),
        (["--workers", "8", "a.tif", "--seed", "3"], "dlbi a.tif --seed 3"),
        (["--workers=8", "a.tif", "--overwrite", "--seed", "3"], "dlbi a.tif --seed 3"),
        (["/home/me/a b.tif", "--seed", "3"], "dlbi 'a b.tif' --seed 3"),
        (["x/frames/", "--out=y/b.tif", "--seed", "3"], "dlbi frames --out=b.tif --seed 3"),
        ([r"C:\data\a.tif", "--seed", "3"], "dlbi a.tif --seed 3"),
        (["a.tif", "--roi", "1,2,30,40", "--frames", "0:20", "--seed", "3"],
         "dlbi a.tif --roi 1,2,30,40 --frames 0:20 --seed 3"),
    ],
)  # fmt: skip
def test_command(words, expected):
    assert command(*words) == expected


@pytest.mark.parametrize("provenance", [{}, {"command": None}, {"command": []}, {"command": "x"}])
def test_no_command_was_recorded(provenance):
    assert rerun_command(provenance) is None


def test_facts(sr):
    facts = {f.label: (f.value, f.note) for f in origin_facts(sr.provenance, {"seed": 3})}
    assert facts["Versions"] == ("dlbi 0.1.0, python 3.11.7", "")
    assert facts["Input"] == ("<b>cell & co.tif", "SHA-256 " + "cd" * 32)
    assert facts["Seed"] == ("77", "")
    assert facts["Settings"] == ("quality standard, frames 0–60", "")
    assert "Network" not in facts
    network = {"name": "compact", "sha256": "ab"}
    for record, value in [
        (network, "compact"),
        (network | {"binning": 1}, "compact"),
        (network | {"binning": 2}, "compact, sees blocks of 2×2 camera pixels"),
    ]:
        (fact,) = origin_facts({}, {"network": record})
        assert (fact.label, fact.value, fact.note) == ("Network", value, "SHA-256 ab")
    assert [f.label for f in origin_facts({}, {"seed": 3})] == ["Seed"]
    assert origin_facts({"config": "?", "inputs": "?", "software": "?"}, {}) == []
