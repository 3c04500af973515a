"""Two emitters exchange emissions.

A bright emission stays with its owner: another emitter takes it only while the owner leaves it
unexplained, which it does less often than once in exp(its nats) visits. Emitters between two places
that light comes from would keep a part of both for good. Here all frames in which exactly one of
two emitters emits are dealt out anew: who of them emits is drawn jointly for all those frames,
given everything else, from their likelihood with the light integrated out and the blinking of both
(forward filter, backward sampling over runs of such frames); then comes the light of the frames
that changed hands. Positions decide who exchanges with whom; they and the frames in which both are
bleached stay, so the move leaves the posterior as it is.
"""

from __future__ import annotations

import math

import numpy as np

from dlbi.core.kernels import F32, F64, I64, fill_profiles, kernel, mix, normal_pair, uniform
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING
from dlbi.inference.hmm.chain import MAX_LOG_RATIO
from dlbi.inference.hmm.emission import Emission, drawn_light, emission, log_ratio
from dlbi.inference.hmm.footprint import (
    Window,
    add_to_frame,
    filter_frames,
    first_pixel,
    shared_energy,
)
from dlbi.inference.hmm.state import Field, Physics, Scratch, Slots

_OWNER, _LIGHT = 0, 1


@kernel
def partner(key: np.uint64, s: int, candidates: I64, slots: Slots, reach: float) -> int:
    """One of the live `candidates` within `reach` of slot s along each axis; −1 if there is none.

    All of them are equally likely.
    """
    n, chosen = 0, -1
    for other in candidates:
        if slots.alive[other] == 0 or other == s:
            continue
        near_y = abs(slots.y[other] - slots.y[s]) < reach
        if near_y and abs(slots.x[other] - slots.x[s]) < reach:
            n += 1
            if n * uniform(key, np.uint64(n)) < 1.0:
                chosen = other
    return chosen


@kernel
def exchange(
    key: np.uint64, a: int, b: int, slots: Slots, field: Field, physics: Physics, scratch: Scratch
) -> None:
    """Deal out anew the frames in which exactly one of the live slots a and b emits.

    Parameters
    ----------
    key : uint64
    a, b : int
        Different slots; their windows must lie in the residual.
    slots, field : Slots, Field
        Changed in place.
    physics : Physics
    scratch : Scratch
        Its profiles are overwritten.
    """
    light_a, light_b = slots.light[a], slots.light[b]
    n = _contested(light_a, light_b, field.n_frames, scratch.frames)
    if n == 0:
        return
    frames, chance = scratch.frames[:n], scratch.chance[:n]
    ours, theirs = scratch.ours[:n], scratch.theirs[:n]
    at_a = _window(a, slots, physics, scratch.gy, scratch.gx, scratch)
    at_b = _window(b, slots, physics, scratch.other_gy, scratch.other_gx, scratch)
    energy_a = filter_frames(field, physics.beta, at_a, frames, ours)
    energy_b = filter_frames(field, physics.beta, at_b, frames, theirs)
    shared = shared_energy(field, physics.beta, at_a, at_b)
    for k in range(n):
        in_a, in_b = light_a[frames[k]], light_b[frames[k]]
        ours[k] += in_a * energy_a + in_b * shared
        theirs[k] += in_a * shared + in_b * energy_b
    from_a = emission(float(slots.flux[a]), energy_a, physics.cv)
    from_b = emission(float(slots.flux[b]), energy_b, physics.cv)
    _filter(frames, ours, theirs, from_a, from_b, a, b, slots, physics, chance)

    owner_key, light_key = mix(key, np.uint64(_OWNER)), mix(key, np.uint64(_LIGHT))
    for k in range(n - 1, -1, -1):
        t = frames[k]
        u = uniform(owner_key, np.uint64(k))
        if _a_emits(u, t, field.n_frames, chance[k], a, b, slots, physics):
            if light_a[t] > 0.0:
                continue
            z, _ = normal_pair(light_key, np.uint64(k))
            new_a = drawn_light(np.float32(ours[k]), np.float32(z), from_a)
            new_b = np.float32(0.0)
        else:
            if light_b[t] > 0.0:
                continue
            z, _ = normal_pair(light_key, np.uint64(k))
            new_a = np.float32(0.0)
            new_b = drawn_light(np.float32(theirs[k]), np.float32(z), from_b)
        add_to_frame(field.residual, at_a, light_a[t] - new_a, t)
        add_to_frame(field.residual, at_b, light_b[t] - new_b, t)
        light_a[t], light_b[t] = new_a, new_b


@kernel
def _window(s: int, slots: Slots, physics: Physics, gy: F64, gx: F64, scratch: Scratch) -> Window:
    """The window of slot s, its profiles written into gy and gx."""
    y0, x0 = first_pixel(slots.y[s], physics.half), first_pixel(slots.x[s], physics.half)
    fill_profiles(slots.y[s], physics.sigma, y0, gy, scratch.dy)
    fill_profiles(slots.x[s], physics.sigma, x0, gx, scratch.dx)
    return Window(y0, x0, gy, gx)


@kernel
def _contested(light_a: F32, light_b: F32, n_frames: int, out: I64) -> int:
    """Frames in which exactly one emits into `out`; returns how many."""
    n = 0
    for t in range(n_frames):
        if (light_a[t] > 0.0) != (light_b[t] > 0.0):
            out[n] = t
            n += 1
    return n


@kernel
def _unlit(t: int, bleach_frame: int) -> int:
    """State of an emitter that does not emit in frame t."""
    return DARK if t < bleach_frame else BLEACHED


@kernel
def _state(t: int, s: int, slots: Slots) -> int:
    return EMITTING if slots.light[s, t] > 0.0 else _unlit(t, slots.bleach_frame[s])


@kernel
def _filter(
    frames: I64,
    ours: F64,
    theirs: F64,
    from_a: Emission,
    from_b: Emission,
    a: int,
    b: int,
    slots: Slots,
    physics: Physics,
    chance: F64,
) -> None:
    """P(a emits) in each contested frame, given the frames before it."""
    step = physics.matrix
    for k in range(frames.size):
        t = frames[k]
        dark_a, dark_b = _unlit(t, slots.bleach_frame[a]), _unlit(t, slots.bleach_frame[b])
        if t == 0:
            to_a = physics.start[EMITTING] * physics.start[dark_b]
            to_b = physics.start[dark_a] * physics.start[EMITTING]
        elif k > 0 and frames[k - 1] == t - 1:
            was_a = _unlit(t - 1, slots.bleach_frame[a])
            was_b = _unlit(t - 1, slots.bleach_frame[b])
            p = chance[k - 1]
            to_a = p * step[EMITTING, EMITTING] * step[was_b, dark_b]
            to_a += (1.0 - p) * step[was_a, EMITTING] * step[EMITTING, dark_b]
            to_b = p * step[EMITTING, dark_a] * step[was_b, EMITTING]
            to_b += (1.0 - p) * step[was_a, dark_a] * step[EMITTING, EMITTING]
        else:
            was_a, was_b = _state(t - 1, a, slots), _state(t - 1, b, slots)
            to_a = step[was_a, EMITTING] * step[was_b, dark_b]
            to_b = step[was_a, dark_a] * step[was_b, EMITTING]
        in_a, in_b = np.float32(ours[k]), np.float32(theirs[k])
        gain = float(log_ratio(in_a, from_a) - log_ratio(in_b, from_b))
        to_a *= math.exp(min(max(gain, -MAX_LOG_RATIO), MAX_LOG_RATIO)) * (dark_a == DARK)
        to_b *= dark_b == DARK
        chance[k] = to_a / (to_a + to_b)


@kernel
def _a_emits(
    u: float, t: int, n_frames: int, chance: float, a: int, b: int, slots: Slots, physics: Physics
) -> bool:
    """Whether a emits in frame t, given the frames before it by `chance` and those after it."""
    to_a, to_b = chance, 1.0 - chance
    if t + 1 < n_frames:
        next_a, next_b = _state(t + 1, a, slots), _state(t + 1, b, slots)
        dark_a, dark_b = _unlit(t, slots.bleach_frame[a]), _unlit(t, slots.bleach_frame[b])
        to_a *= physics.matrix[EMITTING, next_a] * physics.matrix[dark_b, next_b]
        to_b *= physics.matrix[dark_a, next_a] * physics.matrix[EMITTING, next_b]
    return u * (to_a + to_b) < to_a
