"""The chain that learning starts from, against what was measured, known and drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.grid import PixelGrid
from dlbi.core.optics import GaussianPSF, integrated_profile
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.hmm.start import (
    SPLITTING_NATS,
    KnownBlinking,
    chain_with,
    emission_nats,
    shared_chain,
    splitting,
    starting_chain,
    with_bleaching,
)
from dlbi.inference.measurement.moments import BlinkingMoments, skewness

CV = 0.3


@given(st.floats(0.01, 0.95), st.floats(0.05, 1.0), st.floats(0.0, 0.05))
def test_chain_with_another_on_fraction_keeps_the_rest(q, off, bleaching):
    chain = BlinkingChain(off, 0.3, bleaching)
    found = chain_with(q, chain)
    assert found.emitting_to_dark == off
    assert found.dark_to_bleached == bleaching
    on = off * q / (1.0 - q)
    if on <= 0.95 - bleaching:
        assert found.steady_on_fraction == pytest.approx(q)
    else:
        assert found.dark_to_emitting == pytest.approx(0.95 - bleaching)


@given(st.floats(0.01, 0.9), st.floats(0.05, 0.6), st.floats(0.01, 0.4), st.floats(0.0, 0.05))
def test_shared_emitter_is_on_as_asked_and_forgets_like_one_fluorophore(q, off, on, bleaching):
    chain = BlinkingChain(off, on, bleaching)
    found = shared_chain(chain, q)
    assert found.steady_on_fraction == pytest.approx(q)
    assert found.emitting_to_dark + found.dark_to_emitting == pytest.approx(off + on)
    assert found.dark_to_bleached == bleaching


def test_shared_emitter_of_a_fast_fluorophore_is_still_a_chain():
    found = shared_chain(BlinkingChain(0.9, 0.8, 0.05), 0.9)
    assert found.table == pytest.approx((0.9, 0.1, 0.9, 0.05, 0.05))


@pytest.mark.parametrize("rate", [0.0, 0.005, 0.02])
def test_bleaching_is_read_off_the_decay_of_the_light(rate):
    chain = BlinkingChain(0.79, 0.305, 0.005)
    light = 3.0 * BlinkingChain(0.79, 0.305, rate).on_fraction(200)
    found = with_bleaching(chain, light)
    assert found.dark_to_bleached == pytest.approx(max(rate, 5e-4), abs=2e-4)
    assert found.emitting_to_dark == chain.emitting_to_dark
    assert found.dark_to_emitting == chain.dark_to_emitting


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_decay(seed):
    light = np.random.default_rng(seed).normal(0.0, 1.0, 200)
    assert with_bleaching(BlinkingChain(0.79, 0.305, 0.005), light).dark_to_bleached == 5e-4


def test_what_is_known_takes_the_place_of_what_is_measured():
    preset = BlinkingChain(0.79, 0.305, 0.005)
    moments = BlinkingMoments(50.0, float(skewness(0.1, CV)), 0.01, CV)
    light = BlinkingChain(0.79, 0.305, 0.02).on_fraction(200)
    measured = starting_chain(moments, preset, light)
    assert measured == with_bleaching(chain_with(moments.on_fraction(0.305 / 1.095), preset), light)
    assert starting_chain(moments, preset, light, KnownBlinking(0.4, 0.2, 0.001)) == BlinkingChain(
        0.4, 0.2, 0.001
    )
    off = starting_chain(moments, preset, light, KnownBlinking(emitting_to_dark=0.4))
    assert off.emitting_to_dark == 0.4
    assert off.steady_on_fraction == pytest.approx(measured.steady_on_fraction)
    assert off.dark_to_bleached > 0.005
    steady = starting_chain(moments, preset, light, KnownBlinking(dark_to_bleached=0.0))
    assert steady.dark_to_bleached == 0.0


def test_a_known_row_of_the_table_stays_possible():
    known = KnownBlinking(dark_to_emitting=0.99, dark_to_bleached=0.05)
    assert known.in_place_of(BlinkingChain(0.5, 0.3)).dark_to_emitting == 0.95


def test_the_weight_of_an_emission_is_its_log_likelihood_and_gives_its_error():
    """½ Σ(flux h)² ÷ noise² for a spot in the middle of a pixel's neighbourhood, within 3 %.

    Only the pixels that light comes from count. The Fisher information of the place is N ÷ σ².
    """
    camera = PixelGrid((24, 24), 100.0)
    projection = Projection(camera.refine(4), camera, GaussianPSF(2.3548 * 200.0))
    density = np.zeros((96, 96), np.float32)
    density[30:34, 60:64] = 1.0
    variance = np.full((24, 24), 9.0, np.float32)
    rows = np.arange(24)
    variance[:, :4] = 1e-3
    found = emission_nats(60.0, variance, density, projection)

    def spot(x):
        return 60.0 * np.outer(integrated_profile(rows, 7.5, 2.0), integrated_profile(rows, x, 2.0))

    assert found == pytest.approx(0.5 * (spot(15.0) ** 2).sum() / 9.0, rel=0.03)
    slope = (spot(15.01) - spot(14.99)) / 0.02
    assert found / 2.0**2 == pytest.approx((slope**2).sum() / 9.0, rel=0.05)


@pytest.mark.parametrize(("flux", "level"), [(0.0, 1.0), (-60.0, 1.0), (60.0, 0.0)])
def test_what_does_not_shine_weighs_nothing(flux, level):
    """A movie without blinking may have a negative second cumulant, and so a negative flux."""
    camera = PixelGrid((12, 12), 100.0)
    projection = Projection(camera.refine(4), camera, GaussianPSF(250.0))
    density = np.full((48, 48), level, np.float32)
    assert emission_nats(flux, np.ones((12, 12), np.float32), density, projection) == 0.0


def test_only_emissions_that_weigh_enough_split_a_fluorophore():
    assert splitting(0.0) == splitting(SPLITTING_NATS) == 1.0
    assert splitting(3.0 * SPLITTING_NATS) == pytest.approx(3.0)
