"""What a reconstruction recorded becomes findings, and nothing is made of what it did not."""

from __future__ import annotations

import pytest

from dlbi.artefacts.finding import Severity
from dlbi.artefacts.record import LARGE_R_HAT_95, check_record, record_of
from dlbi.inference.hmm.chains import LARGE_R_HAT
from dlbi.reconstruction.prior import LARGE_SHARE

ONE = {"emitters_per_fluorophore": 1.0}
TILES = [{"chains": [ONE, ONE]}]
NETWORK = {"out_of_range": [], "share_in_disagreement": 0.02}


def only(record):
    (finding,) = check_record(record)
    return finding


def severities(record):
    return {finding.name: finding.severity.value for finding in check_record(record)}


def test_the_record_is_found_at_either_place():
    assert record_of({"method": "rl"}) == {"method": "rl"}
    assert record_of({"seed": 1, "reconstruction": {"method": "rl"}}) == {"method": "rl"}
    assert record_of({"reconstruction": "other program"}) == {}


def test_a_method_without_a_check_has_no_finding():
    assert check_record({}) == []
    assert check_record({"method": "rl", "psf": {"fwhm_nm": 400.0}}) == []
    assert check_record({"network": {"name": "paper's kind"}}) == []


def test_all_is_well():
    record = {"tiles": TILES, "network": NETWORK, "r_hat_median": 1.02}
    assert severities(record) == dict.fromkeys(
        ["chains", "training", "network", "fluorophores"], "fine"
    )


@pytest.mark.parametrize(
    ("median", "severity"), [(LARGE_R_HAT, "fine"), (LARGE_R_HAT + 0.01, "warning")]
)
def test_chains_are_judged_by_the_limit_of_the_sampler(median, severity):
    record = {"tiles": [{"chains": []}], "r_hat_median": median}
    assert severities(record) == {"chains": severity}
    assert only(record).told == (severity == "warning")


@pytest.mark.parametrize(
    ("worst", "severity"), [(LARGE_R_HAT_95, "fine"), (LARGE_R_HAT_95 + 0.1, "warning")]
)
def test_chains_that_differ_in_places_are_news(worst, severity):
    finding = only({"tiles": [{"chains": []}], "r_hat_median": 1.0, "r_hat_95": worst})
    assert (finding.severity, finding.told) == (severity, False)
    assert f"{worst:.2f} at 95 %" in finding.sentence


def test_one_chain_tells_nothing():
    assert only({"tiles": [{"chains": []}]}).severity is Severity.UNKNOWN


@pytest.mark.parametrize(("share", "severity"), [(LARGE_SHARE, "fine"), (0.3, "warning")])
def test_the_network_is_judged_by_the_limit_of_the_pipeline(share, severity):
    finding = only({"network": {"share_in_disagreement": share}})
    assert finding.severity == severity
    assert finding.told
    assert f"{share:.0%}" in finding.sentence


def test_a_movie_unlike_the_training():
    finding = only({"network": {"out_of_range": ["haze 9 (trained on 0 to 1)", "n_frames 3"]}})
    assert finding.severity is Severity.WARNING
    assert finding.sentence.endswith("haze 9 (trained on 0 to 1); n_frames 3")


@pytest.mark.parametrize(
    ("per_fluorophore", "severity", "sentence"),
    [
        (1.0, "fine", "no more fluorophores than can be told apart"),
        (0.5, "note", "stands for several"),
        (4.0, "note", "several entries"),
    ],
)
def test_one_chain_of_one_tile_tells_what_entries_stand_for(per_fluorophore, severity, sentence):
    tiles = [*TILES, {"chains": [ONE, {"emitters_per_fluorophore": per_fluorophore}]}]
    found = {f.name: f for f in check_record({"tiles": tiles, "r_hat_median": 1.0})}
    assert found["fluorophores"].severity == severity
    assert sentence in found["fluorophores"].sentence
