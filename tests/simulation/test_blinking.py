import numpy as np
import pytest

from dlbi.core.kernels import mix, uniform
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING, BlinkingChain
from dlbi.simulation.blinking import (
    NEVER,
    DwellLaw,
    blink,
    blink_reference,
    mix_reference,
    start_states,
)

KEY = np.uint64(0x1234_5678_9ABC_DEF1)
PAPER = BlinkingChain(0.79, 0.305, 0.015)
CHAINS = [
    PAPER,
    BlinkingChain(0.3, 0.01),
    BlinkingChain(1.0, 1.0),
    BlinkingChain(0.0, 0.2),
    BlinkingChain(0.5, 0.0, 0.1),
    BlinkingChain(0.5, 0.0, 0.0),
    BlinkingChain(0.6, 0.5, 0.5),
]


def test_reference_mixer_is_the_kernel():
    counters = np.array([0, 1, 7, 2**40])
    assert mix_reference(KEY, counters).tolist() == [
        int(mix(KEY, np.uint64(c))) for c in counters.tolist()
    ]


@pytest.mark.parametrize("chain", CHAINS)
def test_kernel_equals_reference(chain):
    law = DwellLaw.of(chain)
    states = start_states(300, law, KEY)
    emitting = blink(states, law, KEY, 0, 120)
    path = blink_reference(300, 120, law, KEY)
    np.testing.assert_array_equal(emitting, path == EMITTING)
    np.testing.assert_array_equal(states.frames_on, (path == EMITTING).sum(axis=1))
    bleached = (path == BLEACHED).any(axis=1)
    first = np.where(bleached, (path == BLEACHED).argmax(axis=1), NEVER)
    np.testing.assert_array_equal(states.bleach_frame, first)


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_chunks_do_not_change_the_history(chunk):
    law = DwellLaw.of(PAPER)
    whole = blink(start_states(200, law, KEY), law, KEY, 0, 100)
    states = start_states(200, law, KEY)
    parts = [blink(states, law, KEY, t, min(t + chunk, 100)) for t in range(0, 100, chunk)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    np.testing.assert_array_equal(states.frames_on, whole.sum(axis=1))


def test_on_fraction_of_every_frame_follows_the_chain():
    n, n_frames = 40_000, 40
    law = DwellLaw.of(PAPER)
    on = blink(start_states(n, law, KEY), law, KEY, 0, n_frames).mean(axis=0)
    p = PAPER.on_fraction(n_frames)
    z = (on - p) / np.sqrt(p * (1 - p) / n)
    assert np.abs(z).max() < 4.5


def test_transition_frequencies_follow_the_matrix():
    path = blink_reference(4000, 200, DwellLaw.of(PAPER), KEY)
    for before in (EMITTING, DARK, BLEACHED):
        left = path[:, :-1] == before
        n = left.sum()
        for after in (EMITTING, DARK, BLEACHED):
            p = PAPER.matrix[before, after]
            seen = (left & (path[:, 1:] == after)).sum()
            assert abs(seen - n * p) <= 4.5 * np.sqrt(n * p * (1 - p))


def test_emitting_dwells_are_geometric():
    chain = BlinkingChain(0.25, 0.3)
    path = blink_reference(3000, 400, DwellLaw.of(chain), KEY) == EMITTING
    edges = np.diff(np.pad(path, ((0, 0), (1, 1))).astype(int), axis=1)
    begin, end = np.nonzero(edges == 1)[1], np.nonzero(edges == -1)[1]
    dwell = (end - begin)[end < 400]
    n = dwell.size
    for length in range(1, 8):
        p = 0.25 * 0.75 ** (length - 1)
        # Runs cut by the end of the movie are left out; they are 1 % and short ones are kept.
        assert abs((dwell == length).mean() - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 0.01 * p


def test_fluorophores_are_independent():
    path = (blink_reference(4000, 60, DwellLaw.of(PAPER), KEY) == EMITTING).astype(float)
    path -= path.mean(axis=0)
    neighbours = (path[:-1] * path[1:]).sum() / (path**2).sum()
    assert abs(neighbours) < 4.5 / np.sqrt(path.size)


def test_uniform_of_the_kernel_is_open():
    values = [uniform(KEY, np.uint64(c)) for c in range(2000)]
    assert 0 < min(values) < max(values) < 1
