"""Two emitters exchange emissions: who may, who gets which, and what stays."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from dlbi.core.kernels import mix
from dlbi.core.lanes import whole_blocks
from dlbi.core.optics import integrated_profile
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING, BlinkingChain
from dlbi.inference.hmm.emission import log_ratio_reference
from dlbi.inference.hmm.exchange import exchange, partner
from dlbi.inference.hmm.state import Physics, new_field, new_scratch, new_slots
from dlbi.inference.hmm.sweep import subtract_emitters

SIGMA, HALF, SIDE = 1.12, 3, 15
CHAIN = BlinkingChain(0.6, 0.2, 0.03)
PHYSICS = Physics(SIGMA, HALF, 0.7, 100.0, 10.0, 0.3, CHAIN.matrix, CHAIN.start, 1.0)
PLACES = np.array([[7.1, 6.8], [7.6, 7.6]])
FLUX = np.array([100.0, 120.0])
LIGHT = np.array([[90.0, 0, 0, 80, 110, 0, 70, 0], [0, 130.0, 95, 0, 60, 0, 0, 100]])
"""In frame 4 both do, and in frames 0, 1, 2, 3, 6 and 7 one of them."""
CONTESTED = [0, 1, 2, 3, 6, 7]
DRAWS = 8_000
P_MIN = 1e-3


def psf(place):
    """(Y, X) inside the window of the sampler, zero outside."""
    axes = []
    for c in place:
        profile = integrated_profile(np.arange(SIDE), c, SIGMA)
        profile[np.abs(np.arange(SIDE) - np.floor(c + 0.5)) > HALF] = 0.0
        axes.append(profile)
    return np.outer(*axes)


class Pair:
    """Two emitters in a movie of eight frames, in which they explain all but noise."""

    def __init__(self, *, light=LIGHT, bleach_frame=(8, 8), noise=12.0, physics=PHYSICS):
        rng = np.random.default_rng(5)
        self.physics, self.n_frames = physics, light.shape[1]
        movie = np.einsum("kt,kyx->tyx", LIGHT, [psf(p) for p in PLACES])
        movie += noise * rng.standard_normal(movie.shape)
        weight = rng.uniform(0.5, 1.5, (SIDE, SIDE)).astype(np.float32) / np.float32(noise**2)
        self.weight = weight
        self.field = new_field(movie.astype(np.float32), weight, np.s_[:, :], weight.shape)
        self.slots = slots = new_slots(3, self.n_frames)
        slots.alive[:2] = 1
        slots.y[:2], slots.x[:2] = PLACES.T
        slots.flux[:2] = FLUX
        slots.light[:2, : self.n_frames] = light
        slots.bleach_frame[:2] = bleach_frame
        subtract_emitters(slots, self.field, physics)
        self.scratch = new_scratch(HALF, self.n_frames, whole_blocks(self.n_frames))
        self._first = slots.light.copy(), self.field.residual.copy()

    def exchange(self, n, *, first=0):
        """Draw number n, always from the same state; light of both, (2, T)."""
        self.slots.light[:], self.field.residual[:] = self._first
        key = np.uint64(mix(np.uint64(11), np.uint64(n)))
        exchange(key, first, 1 - first, self.slots, self.field, self.physics, self.scratch)
        return self.slots.light[:2, : self.n_frames].copy()

    def rendered(self):
        return np.einsum(
            "kt,kyx->yxt", self.slots.light[:2].astype(float), [psf(p) for p in PLACES]
        )

    def log_ratios(self):
        """ℓ of both emitters in every frame from which the light of both is taken out, (2, T)."""
        bare = self.field.residual[..., : self.n_frames].astype(float)
        bare = bare + self.rendered()[..., : self.n_frames]
        return np.array(
            [
                log_ratio_reference(bare, self.weight, *place, flux, self.physics)
                for place, flux in zip(PLACES, FLUX, strict=True)
            ]
        )


def exact(pair, light, bleach_frame):
    """Probability of every way to deal out the contested frames, by enumeration."""
    ratios, chain = pair.log_ratios(), pair.physics
    found = {}
    for owners in product([0, 1], repeat=len(CONTESTED)):
        on = light > 0
        on[:, CONTESTED] = [np.equal(owners, k) for k in (0, 1)]
        log_p = sum(ratios[k, t] for k, t in zip(owners, CONTESTED, strict=True))
        for k in (0, 1):
            dark = np.where(np.arange(on.shape[1]) < bleach_frame[k], DARK, BLEACHED)
            states = np.where(on[k], EMITTING, dark)
            with np.errstate(divide="ignore"):
                log_p += np.log(chain.start[states[0]])
                log_p += np.log(chain.matrix[states[:-1], states[1:]]).sum()
                log_p += np.log(float(not on[k, bleach_frame[k] :].any()))
        found[owners] = np.exp(log_p)
    total = sum(found.values())
    return {owners: p / total for owners, p in found.items()}


@pytest.mark.parametrize("bleach_frame", [(8, 8), (7, 8)])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("first", [0, 1])
def test_frames_are_dealt_out_as_enumeration_says(bleach_frame, swapped, first):
    """Whoever had them before and is named first; a bleached emitter gets none."""
    light = LIGHT.copy()
    if swapped:
        light[:, CONTESTED[:-1]] = light[::-1, CONTESTED[:-1]]
    pair = Pair(light=light, bleach_frame=bleach_frame, noise=25.0)
    expected = exact(pair, light, bleach_frame)
    seen = dict.fromkeys(expected, 0)
    for n in range(DRAWS):
        after = pair.exchange(n, first=first)
        seen[tuple(int(k) for k in (after[1, CONTESTED] > 0))] += 1
    impossible = [owners for owners, p in expected.items() if p == 0.0]
    assert sum(seen[owners] for owners in impossible) == 0
    assert len(impossible) == (0 if bleach_frame[0] == 8 else 48)
    counts = np.array([[seen[o], DRAWS * p] for o, p in expected.items() if p > 0.0])
    rare = counts[:, 1] < 10
    pooled = np.vstack([counts[~rare], counts[rare].sum(axis=0)])
    pooled = pooled[pooled[:, 1] > 0]
    assert len(pooled) > 8
    assert chisquare(pooled[:, 0], pooled[:, 1]).pvalue > P_MIN


def test_light_of_an_emission_that_changed_hands_is_that_of_its_new_owner():
    """Normal with mean (a + V c)/(1 + V G) and variance V/(1 + V G)."""
    pair = Pair(noise=60.0)
    drawn = np.array([pair.exchange(n) for n in range(4000)])
    pair.slots.light[:], pair.field.residual[:] = pair._first
    bare = pair.field.residual + pair.rendered()
    for t, k in ((0, 1), (1, 0)):  # they were the other one's
        h, a = psf(PLACES[k]), FLUX[k]
        wh = pair.physics.beta * pair.weight * h
        variance, energy = (pair.physics.cv * a) ** 2, (wh * h).sum()
        spread = 1.0 + variance * energy
        mean, sd = (a + variance * (wh * bare[..., t]).sum()) / spread, np.sqrt(variance / spread)
        changed = drawn[:, k, t][drawn[:, k, t] > 0]
        assert len(changed) > 300
        assert kstest(changed, "norm", args=(mean, sd)).pvalue > P_MIN


def test_light_that_stays_is_not_touched_and_the_residual_stays_true():
    pair = Pair(noise=30.0)
    before = LIGHT.astype(np.float32)
    movie = pair._first[1].astype(float) + pair.rendered()
    changed = 0
    for n in range(50):
        after = pair.exchange(n)
        assert np.array_equal(after[:, [4, 5]], before[:, [4, 5]])
        assert np.array_equal((after > 0).sum(axis=0), (before > 0).sum(axis=0))
        same = (after > 0) == (before > 0)
        assert np.array_equal(after[same], before[same])
        changed += int((~same).sum())
        np.testing.assert_allclose(pair.field.residual + pair.rendered(), movie, atol=2e-4)
    assert changed > 50


def test_the_draw_depends_on_the_key_only():
    pair = Pair(noise=60.0)
    first = [pair.exchange(n) for n in range(5)]
    assert all(np.array_equal(pair.exchange(n), light) for n, light in enumerate(first))
    assert len({light.tobytes() for light in first}) > 1


def test_partners_are_live_near_and_equally_likely():
    slots = new_slots(6, 4)
    slots.y[:] = [5.0, 5.4, 5.0, 5.9, 4.6, 5.1]
    slots.x[:] = [5.0, 5.0, 5.6, 5.0, 4.6, 5.1]
    slots.alive[:] = [1, 1, 1, 1, 1, 0]
    order = np.arange(6)
    keys = (np.uint64(mix(np.uint64(3), np.uint64(n))) for n in range(4000))
    chosen = [int(partner(key, 0, order, slots, 0.5)) for key in keys]
    assert set(chosen) == {1, 4}
    assert abs(chosen.count(1) - 2000) < 4 * np.sqrt(1000)
    assert partner(np.uint64(1), 0, order, slots, 0.3) == -1


def test_nothing_happens_where_nobody_else_emits():
    light = LIGHT.copy()
    light[:] = LIGHT.max(axis=0)  # both in all frames but one
    pair = Pair(light=light)
    assert np.array_equal(pair.exchange(0), light.astype(np.float32))
