"""Blinking of single fluorophores: the three-state chain run by dwell times (paper Fig. 3).

A dwell of a Markov chain is geometric, so a fluorophore costs two random numbers per switch
instead of one per frame. Every number is keyed by (key, fluorophore, switch): runs of frames may
be simulated in any chunks with the same result.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import kernel, mix, uniform
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING, BlinkingChain

NEVER = 2**53
"""Frame of an event that does not happen."""


class DwellLaw(NamedTuple):
    """What the kernels need to know of a chain.

    Parameters
    ----------
    emitting_scale, dark_scale : float
        1 / log(probability to stay), so that a dwell is 1 + ⌊scale · log(uniform)⌋ frames.
    bleached_share : float
        Probability that leaving the dark state ends in the bleached one.
    """

    emitting_scale: float
    dark_scale: float
    bleached_share: float

    @classmethod
    def of(cls, chain: BlinkingChain) -> DwellLaw:
        """The dwell law of a chain."""
        leave_dark = chain.dark_to_emitting + chain.dark_to_bleached
        share = chain.dark_to_bleached / leave_dark if leave_dark > 0 else 0.0
        return cls(_scale(chain.emitting_to_dark), _scale(leave_dark), share)


def _scale(leave: float) -> float:
    if leave >= 1.0:
        return 0.0
    return 1.0 / math.log1p(-leave) if leave > 0.0 else -math.inf


class ChainStates(NamedTuple):
    """Where each of N fluorophores stands; the kernels update it from chunk to chunk.

    Parameters
    ----------
    state : ndarray, (N,), uint8
        EMITTING, DARK or BLEACHED.
    switch_frame : ndarray, (N,), int64
        First frame of the next state.
    n_switches : ndarray, (N,), int64
        Switches so far; counts the random numbers used.
    frames_on : ndarray, (N,), int64
        Emitting frames so far.
    bleach_frame : ndarray, (N,), int64
        First bleached frame, `NEVER` before that.
    """

    state: NDArray[np.uint8]
    switch_frame: NDArray[np.int64]
    n_switches: NDArray[np.int64]
    frames_on: NDArray[np.int64]
    bleach_frame: NDArray[np.int64]


def start_states(n: int, law: DwellLaw, key: np.uint64) -> ChainStates:
    """All dark in the warm-up frame before frame 0, as `BlinkingChain.start` has it."""
    states = ChainStates(
        state=np.full(n, DARK, np.uint8),
        switch_frame=np.empty(n, np.int64),
        n_switches=np.zeros(n, np.int64),
        frames_on=np.zeros(n, np.int64),
        bleach_frame=np.full(n, NEVER, np.int64),
    )
    _first_switches(key, law.dark_scale, states.switch_frame)
    return states


@kernel
def _dwell(key: np.uint64, switch: int, scale: float) -> int:
    """Frames spent in the state entered by a switch."""
    frames = scale * math.log(uniform(key, np.uint64(2) * np.uint64(switch)))
    return 1 + int(min(frames, float(NEVER)))


@kernel
def _first_switches(key: np.uint64, dark_scale: float, out: NDArray[np.int64]) -> None:
    for i in range(out.size):
        out[i] = _dwell(mix(key, np.uint64(i)), 0, dark_scale) - 1


@kernel
def emitting_frames(
    i: int,
    key: np.uint64,
    law: DwellLaw,
    states: ChainStates,
    start: int,
    stop: int,
    out: NDArray[np.int64],
) -> int:
    """Run fluorophore `i` from frame `start` to `stop`; its emitting frames go into `out`.

    Returns
    -------
    int
        Number of emitting frames written.
    """
    state = states.state[i]
    switch = states.switch_frame[i]
    if switch >= stop and state != EMITTING:
        return 0
    own_key = mix(key, np.uint64(i))
    n_switches = states.n_switches[i]
    n = 0
    frame = start
    while True:
        end = min(switch, stop)
        if state == EMITTING:
            for t in range(frame, end):
                out[n] = t
                n += 1
        frame = end
        if switch >= stop:
            break
        n_switches += 1
        if state == EMITTING:
            state = DARK
            switch += _dwell(own_key, n_switches, law.dark_scale)
        elif law.bleached_share > 0.0 and (
            uniform(own_key, np.uint64(2 * n_switches - 1)) < law.bleached_share
        ):
            state = BLEACHED
            states.bleach_frame[i] = switch
            switch = NEVER
        else:
            state = EMITTING
            switch += _dwell(own_key, n_switches, law.emitting_scale)
    states.state[i] = state
    states.switch_frame[i] = switch
    states.n_switches[i] = n_switches
    states.frames_on[i] += n
    return n


@kernel
def _fill_emitting(
    key: np.uint64, law: DwellLaw, states: ChainStates, start: int, out: NDArray[np.bool_]
) -> None:
    frames = np.empty(out.shape[1], np.int64)
    for i in range(out.shape[0]):
        n = emitting_frames(i, key, law, states, start, start + out.shape[1], frames)
        for k in range(n):
            out[i, frames[k] - start] = True


def blink(
    states: ChainStates, law: DwellLaw, key: np.uint64, start: int, stop: int
) -> NDArray[np.bool_]:
    """Which fluorophores emit in frames start … stop − 1, (N, T); advances `states`."""
    out = np.zeros((states.state.size, stop - start), np.bool_)
    _fill_emitting(key, law, states, start, out)
    return out


def mix_reference(
    key: NDArray[np.uint64] | np.uint64, counter: NDArray[np.integer]
) -> NDArray[np.uint64]:
    """NumPy form of `dlbi.core.kernels.mix` for arrays."""
    z = np.asarray(key) + (counter.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _uniform_reference(key: NDArray[np.uint64], counter: NDArray[np.int64]) -> NDArray[np.float64]:
    bits = mix_reference(key, counter) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) / 2.0**52


def blink_reference(n: int, n_frames: int, law: DwellLaw, key: np.uint64) -> NDArray[np.uint8]:
    """States of n fluorophores from the same random numbers as the kernels, (N, T), NumPy."""
    keys = mix_reference(key, np.arange(n))
    scale = np.array([law.emitting_scale, law.dark_scale, -math.inf])
    state = np.full(n, DARK)
    begin = np.full(n, -1, np.int64)
    out = np.full((n, n_frames), DARK, np.uint8)
    frame = np.arange(n_frames)
    for switch in range(n_frames + 2):
        counter = np.full(n, switch)
        frames = scale[state] * np.log(_uniform_reference(keys, 2 * counter))
        end = np.minimum(begin + 1 + np.minimum(frames, NEVER).astype(np.int64), NEVER)
        stays = (frame >= begin[:, None]) & (frame < end[:, None])
        np.copyto(out, state[:, None].astype(np.uint8), where=stays)
        bleaches = _uniform_reference(keys, 2 * counter + 1) < law.bleached_share
        left_dark = np.where(bleaches, BLEACHED, EMITTING)
        state = np.where(state == DARK, left_dark, np.where(state == EMITTING, DARK, BLEACHED))
        begin = end
        if begin.min() >= n_frames:
            break
    return out
