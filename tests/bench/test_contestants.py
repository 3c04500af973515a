"""Methods get what their handicap says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.bench.contestants import BAYES, DLBI, RICHARDSON_LUCY, Contestant, believing, threeb
from dlbi.bench.subjects import Subject
from dlbi.core.errors import InputError
from dlbi.core.photophysics import BlinkingChain
from dlbi.inference.hmm.start import KnownBlinking
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.scoping import given_by


def test_the_name_changes_no_result():
    assert replace(DLBI, name="another").settings() == DLBI.settings()
    assert replace(DLBI, n_chains=1).settings() != DLBI.settings()
    assert threeb("preview").settings() != threeb("best").settings()


@pytest.mark.parametrize("factor", [1.0, 0.8])
def test_a_method_is_told_a_multiple_of_the_true_width(tiny, factor):
    subject = tiny.load()
    sr = replace(RICHARDSON_LUCY, psf_factor=factor).run(subject, 1, 1)
    assert sr.provenance["psf"] == {"fwhm_nm": factor * subject.psf.fwhm_nm, "origin": "given"}


def test_a_simulated_movie_does_not_tell_its_width_unasked(tiny):
    sr = RICHARDSON_LUCY.run(tiny.load(), 1, 1)
    assert sr.provenance["psf"]["origin"] != "given"


def test_a_real_movie_tells_the_width_its_user_gave(tiny):
    subject = tiny.load()
    real = Subject(subject.stack, None, subject.psf)
    assert RICHARDSON_LUCY.run(real, 1, 1).provenance["psf"]["origin"] == "given"


def test_a_plain_contestant_is_the_method_itself(tiny):
    subject = tiny.load()
    expected = reconstruct(subject.stack, method="bayes", quality="preview", rng=3).mean
    np.testing.assert_array_equal(replace(BAYES, quality="preview").run(subject, 3, 1).mean,
                                  expected)  # fmt: skip


def test_told_kinetics_are_all_that_a_calibration_passes_on(tiny):
    stack = tiny.load().stack
    chain = BlinkingChain(0.4, 0.1, 0.002)
    given = given_by(believing(chain, stack, 1), stack)
    assert given.psf is None
    assert given.noise is None
    assert given.blinking == KnownBlinking(0.4, 0.1, 0.002)


def test_wrong_kinetics_are_multiples_of_the_true_ones(tiny, monkeypatch):
    told = []
    monkeypatch.setattr("dlbi.bench.contestants.believing", lambda chain, *_: told.append(chain))
    subject = tiny.load()
    rl = Contestant(name="", method="mean", kinetics=(0.5, 2.0))
    rl.run(subject, 1, 1)
    true = subject.truth.scene.microscope.blinking
    assert told == [
        BlinkingChain(
            0.5 * true.emitting_to_dark, 2.0 * true.dark_to_emitting, true.dark_to_bleached
        )
    ]


@pytest.mark.parametrize("handicap", [{"psf_factor": 1.0}, {"kinetics": (1.0, 1.0)}])
def test_a_handicap_needs_a_known_truth(tiny, handicap):
    real = Subject(tiny.load().stack)
    with pytest.raises(InputError, match="known"):
        replace(RICHARDSON_LUCY, **handicap).run(real, 1, 1)
