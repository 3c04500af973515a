"""Simulated movies repeat, and differ only in what their settings say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dlbi.bench.subjects import area_seed


def test_a_movie_repeats_and_another_seed_is_another_movie(tiny):
    first, again = tiny.load().stack.load(), tiny.load().stack.load()
    np.testing.assert_array_equal(first, again)
    assert (replace(tiny, seed=6).load().stack.load() != first).any()


def test_fewer_frames_are_the_first_of_the_same_movie(tiny):
    whole, part = tiny.load(), replace(tiny, shown=9).load()
    np.testing.assert_array_equal(part.stack.load(), whole.stack.load(slice(0, 9)))
    np.testing.assert_array_equal(part.truth.density.density, whole.truth.density.density)


def test_light_scales_the_photons_and_nothing_else(tiny):
    bright, dim = tiny.load().truth, replace(tiny, light=0.25).load().truth
    scene = dim.scene.microscope
    assert scene.photons.mean == 0.25 * bright.scene.microscope.photons.mean
    assert scene.blinking == bright.scene.microscope.blinking
    np.testing.assert_array_equal(dim.emitters.x_nm, bright.emitters.x_nm)


def test_another_labelling_puts_other_fluorophores_on_one_structure(tiny):
    first, second = tiny.load().truth, replace(tiny, labelling=1).load().truth
    np.testing.assert_array_equal(first.density.density, second.density.density)
    assert first.emitters.x_nm[:5].tolist() != second.emitters.x_nm[:5].tolist()
    assert tiny.title != replace(tiny, labelling=1).title


def test_the_psf_is_that_of_the_scene(tiny):
    subject = tiny.load()
    assert subject.psf.fwhm_nm == subject.truth.scene.microscope.psf.fwhm_nm


def test_areas_never_share_a_seed():
    seeds = {
        area_seed(23_000, structure, preset, n)
        for structure in ("filaments", "bundles")
        for preset in ("paper", "meos3.2")
        for n in range(4)
    }
    assert len(seeds) == 16
    assert area_seed(23_000, "filaments", "meos3.2") == 23_929  # published tables depend on it
