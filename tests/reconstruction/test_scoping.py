"""What a calibration changes in a reconstruction, and what it leaves alone."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.core.scope import Estimate
from dlbi.inference.hmm import start
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.scoping import given_by

HALO = Halo(0.2, 450.0)


def test_identified_figures_are_given(movie, scope):
    given = given_by(scope, movie.stack)
    assert given.psf == GaussianPSF(400.0)
    assert given.halo == HALO
    # Noise 90 at 150 counts, 2 per count: −210 at 0, 30 at the background of 120.
    assert given.noise == (-210.0, 2.0, 15.0, 0.15)
    level = np.array([[150.0, 160.0, 100.0]], np.float32)
    np.testing.assert_allclose(given.noise.variance(level), [[90.0, 110.0, 15.0]])
    assert given.blinking == (0.8, 0.3, 0.01, None, 0.25)
    assert given.record["blinking"]["flux"] is None


@pytest.mark.parametrize(
    ("value", "low", "origin", "counted"),
    [(0.15, 0.14, "movie", 0.15), (0.04, 0.03, "movie", 0.0), (0.15, 0.05, "movie", 0.0),
     (0.15, 0.14, "bounds", 0.0)],
    ids=["clear", "small", "unsure", "not identified"],
)  # fmt: skip
def test_noise_is_correlated_only_if_it_stands_out(movie, scope, value, low, origin, counted):
    found = Estimate(value, low, 2 * value - low, origin)
    given = given_by(replace(scope, noise_correlation=found), movie.stack)
    assert given.noise.row_correlation == counted


def test_what_is_not_identified_is_measured(movie, scope):
    vague = {
        name: replace(e, origin="bounds") for name, e in scope.estimates() if name != "light_cv"
    }
    given = given_by(replace(scope, **vague), movie.stack)
    assert given.psf is None
    assert given.halo is None
    assert given.noise is None
    assert given.blinking == (None, None, None, None, 0.25)


def test_a_halo_that_is_known_to_be_none_is_not_measured(movie, scope):
    given = given_by(replace(scope, psf_halo=Estimate(0.0, 0.0, 0.04)), movie.stack)
    assert given.halo == Halo()


def test_without_a_scope_nothing_is_given(movie):
    given = given_by(None, movie.stack)
    assert (given.psf, given.halo, given.noise, given.record) == (None,) * 4
    assert set(given.blinking) == {None}


def test_a_given_psf_overrides_that_of_the_scope_alone(movie, scope):
    given, calibrated = (
        given_by(scope, movie.stack, GaussianPSF(333.0)),
        given_by(scope, movie.stack),
    )
    assert given.psf == GaussianPSF(333.0)
    assert given.psf_record is None
    assert calibrated.psf_record == {"fwhm_nm": 400.0, "origin": "scope"}
    assert (given.noise, given.blinking) == (calibrated.noise, calibrated.blinking)


@pytest.mark.parametrize("name", ["emitting_to_dark", "dark_to_emitting", "light_cv"])
def test_a_scope_with_which_nothing_blinks_is_refused(movie, scope, name):
    table = {"emitting_to_dark": "emitting_to_emitting", "dark_to_emitting": "dark_to_dark"}
    changed = {name: Estimate(0.0, 0.0, 0.1)}
    if name in table:
        rest = 1.0 - (scope.dark_to_bleached.value if name == "dark_to_emitting" else 0.0)
        changed[table[name]] = Estimate(rest, 0.9, 1.0)
    with pytest.raises(InputError, match=f"{name} = 0"):
        given_by(replace(scope, **changed), movie.stack)
    prior = replace(scope, **changed | {name: Estimate(0.0, 0.0, 0.1, "prior")})
    assert getattr(given_by(prior, movie.stack).blinking, name) is None


def test_a_scope_of_other_pixels_is_refused(movie, scope):
    with pytest.raises(InputError, match="for camera pixels of 100 nm but the movie has 160 nm"):
        reconstruct(movie.stack, method="rl", scope=replace(scope, pixel_size_nm=100.0))


def test_a_given_psf_comes_before_the_scope(movie, scope):
    both = reconstruct(movie.stack, method="rl", psf=GaussianPSF(380.0), scope=scope, rng=1)
    assert both.provenance["psf"] == {"fwhm_nm": 380.0, "origin": "given"}
    alone = reconstruct(movie.stack, method="rl", scope=scope, rng=1)
    assert alone.provenance["psf"] == {"fwhm_nm": 400.0, "origin": "scope"}
    assert alone.provenance["noise"] == {
        "read": -210.0, "gain": 2.0, "least": 15.0, "row_correlation": 0.15
    }  # fmt: skip
    assert alone.provenance["scope"]["psf_fwhm_nm"] == 400.0
    assert alone.provenance["halo"] == alone.provenance["scope"]["halo"] == asdict(HALO)
    vague = {n: replace(getattr(scope, n), origin="bounds") for n in ("gain", "psf_halo")}
    measured = replace(scope, **vague)
    own_noise = reconstruct(movie.stack, method="rl", scope=measured, rng=1)
    same = reconstruct(movie.stack, method="rl", psf=GaussianPSF(400.0), rng=1)
    np.testing.assert_array_equal(same.mean, own_noise.mean)
    assert same.provenance["noise"] == own_noise.provenance["noise"]
    assert "scope" not in same.provenance


def test_the_sampler_starts_from_the_scope(movie, scope, monkeypatch):
    """A known flux four times too small asks for many more emitters than the movie's own."""
    monkeypatch.setattr(start, "SPLITTING_NATS", math.inf)
    chain = {
        "gain": replace(scope.gain, origin="bounds"),
        "flux": Estimate(movie.scene.microscope.photons.mean / 4.0, 1.0, 1e4),
    }
    known = replace(scope, **chain)
    options = {"method": "bayes", "quality": "preview", "upscaling": 4, "rng": 1}
    plain, scoped = (
        reconstruct(movie.stack, scope=s, psf=GaussianPSF(422.0), **options) for s in (None, known)
    )
    measured, taken = (r.provenance["tiles"][0]["chains"][0] for r in (plain, scoped))
    assert taken["n_live"][0] > 2.0 * measured["n_live"][0]
    assert taken["flux"] < 0.6 * measured["flux"]
    assert scoped.provenance["blinking_moments"]["light_cv"] == 0.25
