"""A case has one key, is stored when complete, and is found again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dlbi.bench import cases
from dlbi.bench.cases import Case, CaseStore
from dlbi.bench.contestants import BICUBIC, RICHARDSON_LUCY, Contestant
from dlbi.core.errors import OutputError


def test_the_key_follows_everything_that_decides_the_result(tiny, monkeypatch):
    case = Case(tiny, BICUBIC)
    assert case.key == Case(tiny, replace(BICUBIC, name="mean")).key
    others = [
        Case(replace(tiny, seed=6), BICUBIC),
        Case(replace(tiny, shown=20), BICUBIC),
        Case(tiny, RICHARDSON_LUCY),
        Case(tiny, replace(RICHARDSON_LUCY, psf_factor=1.0)),
    ]
    assert len({case.key, *(other.key for other in others)}) == 5
    monkeypatch.setattr(cases, "__version__", "9.9.9")
    assert Case(tiny, BICUBIC).key != case.key
    monkeypatch.undo()
    monkeypatch.setattr(cases, "network_sha256", lambda: "another network")
    assert Case(tiny, BICUBIC).key != case.key


def test_a_case_is_found_as_it_was_run(tiny, tmp_path):
    store, case = CaseStore(tmp_path), Case(tiny, RICHARDSON_LUCY)
    assert store.find(case, pictured=False) is None
    run = store.run(case, pictured=True, n_workers=1)
    found = store.find(case, pictured=True)
    assert found == run
    assert run.scores["corr_2px"] > 0.5
    expected = RICHARDSON_LUCY.run(tiny.load(), tiny.seed, 1)
    np.testing.assert_array_equal(found.image().mean, expected.mean)
    assert found.image().grid == expected.grid


def test_an_image_is_kept_only_if_it_is_needed(tiny, tmp_path):
    store, case = CaseStore(tmp_path), Case(tiny, BICUBIC)
    outcome = store.run(case, pictured=False, n_workers=1)
    assert [p.suffix for p in tmp_path.iterdir()] == [".json"]
    assert store.find(case, pictured=False) == outcome
    assert store.find(case, pictured=True) is None
    with pytest.raises(OutputError, match="was not kept"):
        outcome.image()


def test_a_method_that_refuses_the_movie_has_no_scores(tiny, tmp_path):
    store = CaseStore(tmp_path)
    case = Case(tiny, Contestant(name="none", method="none"))
    outcome = store.run(case, pictured=True, n_workers=1)
    assert outcome.scores == {}
    assert outcome.said[0].startswith("failed: method must be one of")
    assert store.find(case, pictured=True) == outcome


def test_warnings_are_kept_and_not_printed(tiny, tmp_path, recwarn):
    case = Case(replace(tiny, shown=2, light=1e-3), RICHARDSON_LUCY)
    outcome = CaseStore(tmp_path).run(case, pictured=False, n_workers=1)
    assert any("PSF" in text or "FWHM" in text for text in outcome.said)
    assert not [w for w in recwarn if "FWHM" in str(w.message)]
    (record,) = tmp_path.iterdir()
    assert json.loads(record.read_text())["warnings"] == outcome.said
