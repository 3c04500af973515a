"""Figures of the movie and of what was learnt, against known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.reconstruction.measurement import measure
from dlbi.report.facts import (
    curve_points,
    learned_chain,
    learned_facts,
    light_curve,
    movie_facts,
    signal_to_noise,
    transition_rows,
)


def values(facts):
    return {fact.label: fact.value for fact in facts}


def fading(n_frames=40):
    """A bright square on 100 counts that fades from 200 to 100 counts."""
    light = np.zeros((24, 24))
    light[6:20, 6:20] = 1.0
    light = gaussian_filter(light, 1.5)
    level = np.linspace(200.0, 100.0, n_frames)
    frames = 100.0 + level[:, None, None] * light
    noise = np.random.default_rng(0).normal(0.0, 5.0, frames.shape)
    return ImageStack((frames + noise).astype(np.float32), PixelGrid((24, 24), 110.0), 0.02)


def test_the_light_of_bright_pixels_is_followed():
    light = light_curve(measure(fading()))
    np.testing.assert_allclose(light, np.linspace(200.0, 100.0, 40), atol=8.0)


def test_facts_of_a_fading_movie(sr):
    movie = measure(fading())
    facts = values(movie_facts(movie, sr, light_curve(movie)))
    assert facts["Frames"] == "40"
    assert facts["Field"] == "2.64 × 2.64 µm"
    assert facts["Pixel"] == "110 nm camera, 20 nm image"
    assert float(facts["Bright signal"].split()[0]) == pytest.approx(150.0, rel=0.06)
    assert float(facts["Light left at the end"].rstrip("%")) == pytest.approx(53.0, abs=3.0)
    assert float(facts["Camera noise"].split()[0]) == pytest.approx(5.0, rel=0.1)
    assert signal_to_noise(movie) == pytest.approx(150.0 / 5.0, rel=0.3)


@pytest.mark.parametrize(("last", "says"), [(40.0, True), (180.0, False)])
def test_that_late_frames_count_less_is_told(sr, last, says):
    bright = fading().load() - 100.0
    course = np.linspace(200.0, last, 40) / np.linspace(200.0, 100.0, 40)
    movie = measure(replace(fading(), data=(100.0 + course[:, None, None] * bright)))
    notes = {f.label: f.note for f in movie_facts(movie, sr, light_curve(movie))}
    assert ("late frames count less" in notes["Light left at the end"]) is says


def test_frame_interval_is_told_only_if_known(sr):
    movie = measure(fading())
    notes = {f.label: f.note for f in movie_facts(movie, sr, light_curve(movie))}
    assert notes["Frames"] == "0.8 s, 20 ms each"
    unknown = measure(replace(fading(), frame_interval_s=None))
    assert movie_facts(unknown, sr, light_curve(unknown))[0].note == ""


def test_a_movie_without_light_has_no_bleaching(sr):
    dark = measure(replace(fading(), data=np.full((40, 24, 24), 9.0, np.float32)))
    assert values(movie_facts(dark, sr, light_curve(dark)))["Light left at the end"] == "–"
    assert "Light left at the end" not in values(movie_facts(dark, sr, None))


def test_the_curve_starts_at_zero_and_fills_its_box():
    points = [p.split(",") for p in curve_points(np.array([0.0, 1.0, 2.0, 4.0]), 30, 8).split()]
    assert [(float(x), float(y)) for x, y in points] == [(0, 8), (10, 6), (20, 4), (30, 0)]


def test_what_the_sampler_learnt_is_averaged_over_chains(sr, movie):
    record = sr.provenance["reconstruction"]
    facts = values(learned_facts(record, sr, movie.stack))
    assert facts["Light of an emitting frame"] == "90.0 counts"
    assert facts["Stays on"] == "1.3 frames"
    assert facts["Stays dark"] == "4.8 frames"
    assert facts["Fluorophores"] == "55"
    assert facts["PSF, full width at half maximum"] == "422 ± 6 nm"
    assert facts["Agreement of the chains"] == "R-hat 1.02"
    lit = learned_chain(record).on_fraction(60).mean()
    assert facts["Time emitting"] == f"{lit:.0%}"
    assert transition_rows(record) == [
        ("emitting", ["0.250", "0.750", "0.000"]),
        ("dark", ["0.200", "0.790", "0.010"]),
    ]


@pytest.mark.parametrize(
    ("per_fluorophore", "note"),
    [
        (1.0, "of one fluorophore"),
        (0.5, "of an emitter, which stands for several"),
        (3.0, "of one fluorophore"),
    ],
)
def test_the_light_of_an_emitter_that_stands_for_several_is_not_that_of_a_fluorophore(
    sr, movie, per_fluorophore, note
):
    record = sr.provenance["reconstruction"]
    ((first, second),) = (tile["chains"] for tile in record["tiles"])
    chains = [first, second | {"emitters_per_fluorophore": per_fluorophore}]
    told = learned_facts(record | {"tiles": [{"chains": chains}]}, sr, movie.stack)
    notes = {fact.label: fact.note for fact in told}
    assert notes["Light of an emitting frame"] == note
    assert ("some 3 emitters share" in notes["Time emitting"]) == (per_fluorophore == 3.0)
    assert ("several entries" in notes["Fluorophores"]) == (per_fluorophore == 3.0)
    assert ("stands for several" in notes["Fluorophores"]) == (per_fluorophore == 0.5)


def test_a_small_share_of_the_frames_is_not_rounded_to_nothing(sr, movie):
    record = sr.provenance["reconstruction"]
    chain = record["tiles"][0]["chains"][0] | {"table_p1_to_p5": [0.1, 0.9, 0.004, 0.996, 0.0]}
    seldom = learned_facts(record | {"tiles": [{"chains": [chain]}]}, sr, movie.stack)
    assert values(seldom)["Time emitting"] == "0.4%"


def test_a_halo_is_told_if_there_is_one(sr, movie):
    record = sr.provenance["reconstruction"] | {"halo": {"share": 0.44, "sigma_nm": 475.2}}
    assert values(learned_facts(record, sr, movie.stack))["Halo of the PSF"] == "44% of the light"
    none = record | {"halo": {"share": 0.0, "sigma_nm": 400.0}}
    assert "Halo of the PSF" not in values(learned_facts(none, sr, movie.stack))


def test_a_method_that_learns_nothing_says_nothing(sr, movie):
    assert learned_facts({"method": "mean"}, replace(sr, emitters=None), movie.stack) == []
    assert transition_rows({"method": "mean"}) == []
