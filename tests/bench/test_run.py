"""Runs: what is stored, what is taken up again, what the report holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dlbi.bench import run as run_module
from dlbi.bench.cases import CaseStore
from dlbi.bench.contestants import BICUBIC, RICHARDSON_LUCY, SOFI, Contestant
from dlbi.bench.experiment import Experiment, Plan, crossed
from dlbi.bench.run import CASES, agenda, check_folder, run
from dlbi.bench.tables import TRUTH_COLUMNS, summary_table
from dlbi.core.errors import InputError, OutputError

PLAN = Plan(seed=5)


def experiment(name, contestants, movie, *, needs=""):
    def tasks(plan):
        return [] if needs else crossed([movie], contestants, n_pictured=1)

    def draw(outcomes, path):
        path.write_text(" ".join(o.case.contestant.name for o in outcomes))

    def report(outcomes):
        return summary_table(outcomes, TRUTH_COLUMNS)

    return Experiment(name, "Fig. 0", f"about {name}", tasks, report, draw, needs)


@pytest.fixture
def small(tiny, monkeypatch):
    """Two experiments that share a case, one that lacks a movie, and one that must be asked for."""
    experiments = [
        experiment("first", [BICUBIC, RICHARDSON_LUCY], tiny),
        experiment("second", [RICHARDSON_LUCY, SOFI], tiny),
        experiment("real", [], tiny, needs="a movie"),
        experiment("extra", [Contestant(name="refused", method="none")], tiny),
    ]
    monkeypatch.setattr(run_module, "EXPERIMENTS", {e.name: e for e in experiments})
    monkeypatch.setattr(run_module, "ASKED_FOR", {"extra"})


def record_of(folder: Path):
    """The record without what differs between runs: times and the command."""
    content = json.loads((folder / "bench.json").read_text())
    for name in ("started_utc", "seconds", "command"):
        del content["environment"][name]
    for found in content["experiments"].values():
        for case in found["cases"]:
            del case["seconds"], case["cpu_seconds"]
    return content


def test_the_agenda_is_what_was_asked_for(small):
    everything = agenda(PLAN)
    assert list(everything.tasks) == ["first", "second"]
    assert everything.left_out == {"real": "needs a movie"}
    assert len(everything.cases()) == 3
    assert list(agenda(PLAN, ["second"]).tasks) == ["second"]
    assert list(agenda(PLAN, ["second"], ablations=True).tasks) == ["second", "extra"]
    assert list(agenda(PLAN, ["extra"]).tasks) == ["extra"]


def test_what_cannot_be_run_is_refused(small):
    with pytest.raises(InputError, match="no experiment is called 'fig7'; choose of first, second"):
        agenda(PLAN, ["fig7"])
    with pytest.raises(InputError, match="experiment real needs a movie"):
        agenda(PLAN, ["real"])


def test_a_killed_run_continues_and_ends_as_if_nothing_had_happened(small, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, PLAN, agenda(PLAN))
    usual, started = CaseStore.run, []

    def run_two(self, case, **options):
        started.append(case)
        if len(started) == 3:
            raise KeyboardInterrupt
        return usual(self, case, **options)

    monkeypatch.setattr(CaseStore, "run", run_two)
    with pytest.raises(KeyboardInterrupt):
        run(killed, PLAN, agenda(PLAN))
    assert {p.name for p in killed.iterdir()} == {CASES}
    before = {p: p.stat().st_mtime_ns for p in (killed / CASES).iterdir()}
    assert len(before) == 4  # record and image of two cases
    with pytest.raises(OutputError, match="continue with --resume"):
        run(killed, PLAN, agenda(PLAN))

    written = run(killed, PLAN, agenda(PLAN), resume=True)
    assert len(started) == 4
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert record_of(killed) == record_of(whole)
    assert [p.name for p in written] == ["bench.json", "bench.md", "first.png", "second.png"]
    run(killed, PLAN, agenda(PLAN), resume=True)
    assert len(started) == 4


def test_the_report_tells_everything(small, tmp_path):
    stages = []
    run(
        tmp_path / "out", PLAN, agenda(PLAN, ablations=True),
        command=["dlbi", "bench"], progress=lambda *step: stages.append(step),
    )  # fmt: skip
    assert stages == [("cases", n, 4) for n in (1, 2, 3, 4)]
    text = (tmp_path / "out" / "bench.md").read_text()
    for words in (
        "## first: Fig. 0", "about second", "| bicubic mean |", "all-zero image", "ls: image ×",
        "![first](first.png)", "- real: needs a movie", "## Not reproduced", "seed 5",
        "- refused on rings, meos3.2: failed: method must be one of",
    ):  # fmt: skip
        assert words in text, words
    assert "![extra]" not in text
    content = json.loads((tmp_path / "out" / "bench.json").read_text())
    environment = content["environment"]
    assert environment["seed"] == 5
    assert environment["command"] == ["dlbi", "bench"]
    assert len(environment["network_sha256"]) == 64
    assert environment["computer"]["cores"] >= 1
    names = [case["name"] for case in content["experiments"]["second"]["cases"]]
    assert names == ["Richardson–Lucy", "SOFI2"]
    assert set(content["not_run"]) == {"real"}
    assert content["not_reproduced"]


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        check_folder(tmp_path / "file", resume=False)
    with pytest.raises(InputError, match="no such folder to continue in"):
        check_folder(tmp_path / "new", resume=True)
    with pytest.raises(OutputError, match="does not exist; create it first"):
        check_folder(tmp_path / "no" / "where", resume=False)


def test_a_run_that_did_nothing_leaves_nothing(small, tmp_path, monkeypatch):
    def interrupt(self, case, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(CaseStore, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", PLAN, agenda(PLAN))
    assert list(tmp_path.iterdir()) == []
