"""Many fluorophores: one sweep of the guided factorial-HMM sampler over a tile of the field.

A sweep visits every emitter and a set of birth candidates in random order. Each visit integrates
over the blinking of that fluorophore (forward filter), decides whether it is real against its
prior odds (paper Eq. 10), draws its states (FFBS) and updates position and flux; the residual
movie is kept up to date, so emitters see each other's light (paper Fig. 6B). Where bright
emissions would stick, it then exchanges some with a neighbour (`exchange`). Tiles of one colour
are far enough apart not to touch the same pixels: they may run in parallel, and the result stays
that of an exact Gibbs sweep at any number of threads.

Coordinates are padded camera pixels: integers are pixel centres, and the residual has enough
zero-weight pixels around the field that no PSF window is ever clipped.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import (
    F32,
    F64,
    fill_normal,
    fill_profiles,
    fill_uniform,
    kernel,
    mix,
    normal_pair,
    uniform,
)
from dlbi.inference.hmm.chain import backward, exponentials, forward
from dlbi.inference.hmm.emission import drawn_light, emission, log_ratio
from dlbi.inference.hmm.exchange import exchange, partner
from dlbi.inference.hmm.footprint import (
    Stiffness,
    add_light,
    filter_window,
    first_pixel,
    swap_light,
)
from dlbi.inference.hmm.state import Field, Guide, Physics, Scratch, Slots, new_scratch

MAX_MOVE_PX = 0.4
"""Largest position step of one visit, camera pixels."""

MIN_FLUX_SHARE = 0.15
"""Fluxes below this share of the prior mean are raised to it."""

_PLACE, _PATH, _LIGHT, _MOVE, _FLUX, _DECIDE, _PARTNER, _EXCHANGE = range(8)


@kernel
def sweep_tile(
    key: np.uint64,
    tile: int,
    order: NDArray[np.int64],
    slots: Slots,
    field: Field,
    physics: Physics,
    guide: Guide,
    decide: bool,
    counts: F64,
) -> None:
    """Visit the slots of one tile once, in random order.

    Parameters
    ----------
    key : uint64
        Key of this tile in this sweep.
    tile : int
    order : ndarray, (n,), int64
        Live slots whose rounded position lies in the tile, and free ones for birth candidates;
        shuffled in place.
    slots, field : Slots, Field
        Changed in place.
    physics, guide : Physics, Guide
    decide : bool
        False keeps every emitter and takes no candidates (first sweep from an initial guess).
    counts : ndarray, (8,), float64
        Added to: transitions E→E, E→D, D→E, D→D, D→B and first-frame states E, D, B.
    """
    scratch = new_scratch(physics.half, field.n_frames, field.residual.shape[2])
    for i in range(order.size - 1, 0, -1):
        j = int(uniform(key, np.uint64(i)) * (i + 1))
        order[i], order[j] = order[j], order[i]
    for i in range(order.size):
        s = order[i]
        visit_key = mix(mix(key, np.uint64(order.size)), np.uint64(i))
        born = slots.alive[s] == 0
        if born:
            if not decide:
                continue
            _place_candidate(mix(visit_key, np.uint64(_PLACE)), tile, s, slots, physics, guide)
        _visit(visit_key, s, born, slots, field, physics, guide, decide, counts, scratch)
        if physics.reach > 0.0 and slots.alive[s] == 1:
            partner_key = mix(visit_key, np.uint64(_PARTNER))
            other = partner(partner_key, s, order, slots, physics.reach)
            if other >= 0:
                exchange_key = mix(visit_key, np.uint64(_EXCHANGE))
                exchange(exchange_key, s, other, slots, field, physics, scratch)


@kernel
def sweep_tiles(
    key: np.uint64,
    tiles: NDArray[np.int64],
    order: NDArray[np.int64],
    ends: NDArray[np.int64],
    slots: Slots,
    field: Field,
    physics: Physics,
    guide: Guide,
    decide: bool,
    counts: F64,
) -> None:
    """`sweep_tile` for each of `tiles`, whose slots are order[ends[t] : ends[t + 1]]."""
    for t in tiles:
        own = order[ends[t] : ends[t + 1]]
        sweep_tile(mix(key, np.uint64(t)), t, own, slots, field, physics, guide, decide, counts[t])


@kernel
def _place_candidate(
    key: np.uint64, tile: int, s: int, slots: Slots, physics: Physics, guide: Guide
) -> None:
    side = guide.tile_px * guide.factor
    cell = _search(guide.cumulative[tile], uniform(key, np.uint64(0)))
    fine_y = (tile // guide.n_columns) * side + cell // side + uniform(key, np.uint64(1))
    fine_x = (tile % guide.n_columns) * side + cell % side + uniform(key, np.uint64(2))
    slots.y[s] = fine_y / guide.factor - 0.5
    slots.x[s] = fine_x / guide.factor - 0.5
    z, _ = normal_pair(key, np.uint64(2))
    flux = physics.flux_mean + physics.flux_sd * z
    slots.flux[s] = max(flux, MIN_FLUX_SHARE * physics.flux_mean)


@kernel
def _visit(
    key: np.uint64,
    s: int,
    born: bool,
    slots: Slots,
    field: Field,
    physics: Physics,
    guide: Guide,
    decide: bool,
    counts: F64,
    scratch: Scratch,
) -> None:
    half, residual = physics.half, field.residual
    y, x, a = slots.y[s], slots.x[s], float(slots.flux[s])
    y0, x0 = first_pixel(y, half), first_pixel(x, half)
    gy, gx, old, new = scratch.gy, scratch.gx, slots.light[s], scratch.new
    fill_profiles(y, physics.sigma, y0, gy, scratch.dy)
    fill_profiles(x, physics.sigma, x0, gx, scratch.dx)
    if born:
        old[:] = 0.0

    log_evidence, stiff = _explain(field, physics, y0, x0, a, old, scratch)
    if decide:
        odds = log_evidence + guide.log_odds[_fine(y, guide.factor), _fine(x, guide.factor)]
        p = 1.0 / (1.0 + math.exp(-min(max(odds, -700.0), 700.0)))
        slots.p_real[s] = p
        if uniform(mix(key, np.uint64(_DECIDE)), np.uint64(0)) >= p:
            if not born:
                add_light(residual, y0, x0, gy, gx, np.float32(1.0), old)
                slots.alive[s] = 0
            return

    fill_uniform(mix(key, np.uint64(_PATH)), scratch.u)
    bleached = backward(
        scratch.states, physics.matrix, scratch.u, scratch.after_dark, scratch.differs, scratch.on
    )
    n_on = _count(scratch.on, bleached, counts)
    total = _draw_light(mix(key, np.uint64(_LIGHT)), a, stiff.energy, physics, scratch)

    y_new, x_new = _move(mix(key, np.uint64(_MOVE)), s, y, x, old, stiff, slots, guide, scratch)
    ny0, nx0 = first_pixel(y_new, half), first_pixel(x_new, half)
    top, left = min(y0, ny0), min(x0, nx0)
    n_rows, n_columns = gy.size + abs(ny0 - y0), gx.size + abs(nx0 - x0)
    _widen(gy, y0 - top, scratch.old_gy)
    _widen(gx, x0 - left, scratch.old_gx)
    fill_profiles(y_new, physics.sigma, ny0, gy, scratch.dy)
    fill_profiles(x_new, physics.sigma, nx0, gx, scratch.dx)
    _widen(gy, ny0 - top, scratch.new_gy)
    _widen(gx, nx0 - left, scratch.new_gx)
    swap_light(
        residual, top, left, scratch.old_gy[:n_rows], scratch.old_gx[:n_columns], old,
        scratch.new_gy[:n_rows], scratch.new_gx[:n_columns], new,
    )  # fmt: skip

    slots.alive[s] = 1
    slots.y[s], slots.x[s] = y_new, x_new
    old[:] = new
    slots.bleach_frame[s] = bleached
    slots.flux[s] = _draw_flux(mix(key, np.uint64(_FLUX)), a, total, n_on, physics)


@kernel
def _widen(profile: F64, start: int, out: F64) -> None:
    """`profile` from `start` on, zeros elsewhere."""
    out[:] = 0.0
    out[start : start + profile.size] = profile


@kernel
def _explain(
    field: Field, physics: Physics, y0: int, x0: int, a: float, old: F32, scratch: Scratch
) -> tuple[float, Stiffness]:
    """Evidence log P(R|F)/P(R|N) of a fluorophore, its filtered states and its window sums."""
    stiff = filter_window(field, physics.beta, y0, x0, scratch)
    own, light = np.float32(stiff.energy), emission(a, stiff.energy, physics.cv)
    matched, ratios = scratch.matched, scratch.log_ratio
    for t in range(ratios.size):
        c = matched[t] + own * old[t]
        matched[t] = c
        ratios[t] = log_ratio(c, light)
    exponentials(ratios, scratch.bits, scratch.floats, scratch.ratio)
    return forward(scratch.ratio, physics.matrix, physics.start, scratch.states), stiff


@kernel
def _draw_light(
    key: np.uint64, a: float, energy: float, physics: Physics, scratch: Scratch
) -> float:
    """Light of every emitting frame into `new`; returns its sum."""
    light = emission(a, energy, physics.cv)
    fill_normal(key, scratch.words, scratch.bits, scratch.floats, scratch.ratio, scratch.normal)
    new = scratch.new
    total = np.float32(0.0)
    for t in range(scratch.on.size):
        new[t] = scratch.on[t] * drawn_light(scratch.matched[t], scratch.normal[t], light)
    for t in range(new.size):  # apart: an aliasing check must not decide how the sum is ordered
        total += new[t]
    return float(total)


@kernel
def _draw_flux(key: np.uint64, a: float, total: float, n_on: float, physics: Physics) -> float:
    """Flux given its light: a normal prior and n_on draws of variance (cv · a)²."""
    per_frame = 1.0 / (physics.cv * a) ** 2
    prior = 1.0 / physics.flux_sd**2
    precision = n_on * per_frame + prior
    z, _ = normal_pair(key, np.uint64(0))
    flux = (total * per_frame + physics.flux_mean * prior) / precision + z / math.sqrt(precision)
    return max(flux, MIN_FLUX_SHARE * physics.flux_mean)


@kernel
def _move(
    key: np.uint64,
    s: int,
    y: float,
    x: float,
    old: F32,
    stiff: Stiffness,
    slots: Slots,
    guide: Guide,
    scratch: Scratch,
) -> tuple[float, float]:
    """Draw the position from its linearised Gaussian conditional; accept by the prior ratio.

    The force of a path u is Σ_t u_t Σ_p w ∂h R_t with the residual R as that path leaves it: R in
    memory, plus h · old, minus h · u.
    """
    new, pull_y, pull_x = scratch.new, scratch.pull_y, scratch.pull_x
    overlap = square = force_y = force_x = np.float32(0.0)
    for t in range(new.size):
        overlap += old[t] * new[t]
        square += new[t] * new[t]
        force_y += pull_y[t] * new[t]
        force_x += pull_x[t] * new[t]
    left = float(overlap) - float(square)
    stiff_y, stiff_x = stiff.y * float(square), stiff.x * float(square)
    slots.precision[s, 0], slots.precision[s, 1] = stiff_y, stiff_x
    zy, zx = normal_pair(key, np.uint64(0))
    y_new = y + _step(float(force_y) + left * stiff.own_y, stiff_y, zy)
    x_new = x + _step(float(force_x) + left * stiff.own_x, stiff_x, zx)
    f = guide.factor
    gained = guide.log_prior[_fine(y_new, f), _fine(x_new, f)]
    gained -= guide.log_prior[_fine(y, f), _fine(x, f)]
    if math.log(uniform(key, np.uint64(2))) >= gained:
        return y, x
    return y_new, x_new


@kernel
def _step(force: float, stiffness: float, z: float) -> float:
    if stiffness <= 0.0:
        return MAX_MOVE_PX * min(max(z, -1.0), 1.0)
    step = force / stiffness + z / math.sqrt(stiffness)
    return min(max(step, -MAX_MOVE_PX), MAX_MOVE_PX)


@kernel
def _fine(position: float, factor: int) -> int:
    return math.floor((position + 0.5) * factor)


@kernel
def _search(cumulative: F32, u: float) -> int:
    low, high = 0, cumulative.size - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _count(on: F32, bleach_frame: int, counts: F64) -> float:
    """Add the transitions of one path to `counts`; returns the number of emitting frames."""
    n_on, on_on = on[0], np.float32(0.0)
    for t in range(1, on.size):
        n_on += on[t]
        on_on += on[t - 1] * on[t]
    if bleach_frame == 0:
        counts[7] += 1.0
        return float(n_on)
    counts[5] += on[0]
    counts[6] += 1.0 - on[0]
    on_dark = n_on - on[bleach_frame - 1] - on_on
    dark_on = n_on - on[0] - on_on
    counts[0] += on_on
    counts[1] += on_dark
    counts[2] += dark_on
    counts[3] += (bleach_frame - 1) - on_on - on_dark - dark_on
    if bleach_frame < on.size:
        counts[4] += 1.0
    return float(n_on)


@kernel
def subtract_emitters(slots: Slots, field: Field, physics: Physics) -> None:
    """Take the light of every live emitter out of the residual."""
    n = 2 * physics.half + 1
    gy, gx, slope = np.empty(n), np.empty(n), np.empty(n)
    for s in range(slots.alive.size):
        if slots.alive[s]:
            y0 = first_pixel(slots.y[s], physics.half)
            x0 = first_pixel(slots.x[s], physics.half)
            fill_profiles(slots.y[s], physics.sigma, y0, gy, slope)
            fill_profiles(slots.x[s], physics.sigma, x0, gx, slope)
            add_light(field.residual, y0, x0, gy, gx, np.float32(-1.0), slots.light[s])
