"""One sentence for every outcome."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from dlbi.artefacts import Finding, Severity
from dlbi.report.verdict import verdict


def findings(**severities):
    return [Finding(name, Severity(severity), "…") for name, severity in severities.items()]


def test_no_light_comes_before_all_else():
    assert "nothing to see" in verdict(findings(light="warning", drift="warning"), None)


def test_warnings_are_named():
    one = verdict(findings(light="fine", drift="warning"), None)
    assert one == "Read with care: 1 of 2 checks warns (drift)."
    many = verdict(findings(drift="warning", edge="note", PSF="warning", chains="warning"), None)
    assert many == "Read with care: 3 of 4 checks warn (drift, PSF and chains)."


def test_what_could_not_be_checked_is_named():
    scores = SimpleNamespace(rsp=0.9876)
    said = verdict(findings(light="fine", drift="unknown"), scores)
    assert said == (
        "No sign of an artefact, but drift could not be checked; RSP against the mean frame 0.988."
    )


def test_a_clean_bill_states_how_much_was_checked():
    said = verdict(findings(light="fine", edge="note"), SimpleNamespace(rsp=np.nan))
    assert said == "No sign of an artefact in 2 checks."
