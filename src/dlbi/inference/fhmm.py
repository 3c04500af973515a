"""Many fluorophores: one sweep of the guided factorial-HMM sampler over a tile of the field.

A sweep visits every emitter and a set of birth candidates in random order. Each visit integrates
over the blinking of that fluorophore (forward filter), decides whether it is real against its
prior odds (paper Eq. 10), draws its states (FFBS) and updates position and flux; the residual
movie is kept up to date, so emitters see each other's light (paper Fig. 6B). Tiles of one colour
are far enough apart not to touch the same pixels: they may run in parallel, and the result stays
that of an exact Gibbs sweep at any number of threads.

Coordinates are padded camera pixels: integers are pixel centres, and the residual has enough
zero-weight pixels around the field that no PSF window is ever clipped.

The light of an emitting frame is u ~ N(a, (cv · a)²). With the matched filter
c = β Σ_p w h R and the energy G = β Σ_p w h², integrating over u gives

    ℓ = [a c − ½ a² G + ½ V c²] / (1 + V G) − ½ log(1 + V G),   V = (cv · a)²,

and u given the frame is normal with mean (a + V c)/(1 + V G) and variance V/(1 + V G). Light is
positive: below the c at which that mean reaches `MIN_LIGHT_SHARE` · a, ℓ continues along its
tangent and u stays there. β is the likelihood temperature: 1 is the exact posterior, less mixes
faster.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import (
    F32,
    F64,
    fill_normal,
    fill_profile,
    fill_profile_gradient,
    fill_uniform,
    kernel,
    mix,
    normal_pair,
    uniform,
)
from dlbi.core.optics import integrated_profile
from dlbi.inference.hmm import backward, exponentials, forward
from dlbi.inference.state import Field, Guide, Physics, Scratch, Slots, new_scratch

MAX_MOVE_PX = 0.4
"""Largest position step of one visit, camera pixels."""

MIN_FLUX_SHARE = 0.15
"""Fluxes below this share of the prior mean are raised to it."""

MIN_LIGHT_SHARE = 0.15
"""Least light of an emitting frame, as a share of the emitter's flux."""

_PLACE, _PATH, _LIGHT, _MOVE, _FLUX, _DECIDE = range(6)


def log_ratio_reference(
    residual: NDArray[np.floating],
    weight: NDArray[np.floating],
    y: float,
    x: float,
    flux: float,
    physics: Physics,
) -> NDArray[np.float64]:
    """log P(frame | emitting) / P(frame | not) of a fluorophore that is not in the residual, (T,).

    The formula of this module in plain NumPy; the reference of the kernel that visits a slot.

    Parameters
    ----------
    residual : ndarray, (Y, X, T)
    weight : ndarray, (Y, X)
        Inverse noise variance.
    y, x, flux : float
        Position in pixels of the residual, and light of an emitting frame.
    physics : Physics
    """
    n = 2 * physics.half + 1
    rows = math.floor(y + 0.5) - physics.half + np.arange(n)
    columns = math.floor(x + 0.5) - physics.half + np.arange(n)
    h = np.outer(
        integrated_profile(rows, y, physics.sigma), integrated_profile(columns, x, physics.sigma)
    )
    wh = physics.beta * weight[np.ix_(rows, columns)] * h
    energy = (wh * h).sum()
    c = np.einsum("yx,yxt->t", wh, residual[np.ix_(rows, columns)], dtype=np.float64)
    variance = (physics.cv * flux) ** 2
    spread = 1.0 + variance * energy
    corner = (MIN_LIGHT_SHARE * flux * spread - flux) / variance
    bent = np.maximum(c, corner)
    log_ratio = (flux * bent - 0.5 * flux**2 * energy + 0.5 * variance * bent**2) / spread
    return np.asarray(
        log_ratio - 0.5 * np.log(spread) + MIN_LIGHT_SHARE * flux * (c - bent), np.float64
    )


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
    scratch = new_scratch(physics.half, field.residual.shape[2])
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
    y0, x0 = _first_pixel(y, half), _first_pixel(x, half)
    gy, gx, old, new = scratch.gy, scratch.gx, scratch.old, scratch.new
    fill_profile(y, physics.sigma, y0, gy)
    fill_profile(x, physics.sigma, x0, gx)
    if born:
        old[:] = 0.0
    else:
        old[:] = slots.light[s]

    log_evidence, energy = _explain(field, physics, y0, x0, a, scratch)
    if decide:
        odds = log_evidence + guide.log_odds[_fine(y, guide.factor), _fine(x, guide.factor)]
        p = 1.0 / (1.0 + math.exp(-min(max(odds, -700.0), 700.0)))
        slots.p_real[s] = p
        if uniform(mix(key, np.uint64(_DECIDE)), np.uint64(0)) >= p:
            if not born:
                _add_light(residual, y0, x0, gy, gx, np.float32(1.0), old)
                slots.alive[s] = 0
            return

    fill_uniform(mix(key, np.uint64(_PATH)), scratch.u)
    bleached = backward(
        scratch.states, physics.matrix, scratch.u, scratch.after_on, scratch.after_dark, scratch.on
    )
    n_on = _count(scratch.on, bleached, counts)
    total = _draw_light(mix(key, np.uint64(_LIGHT)), a, energy, physics, scratch)

    y_new, x_new = _move(
        mix(key, np.uint64(_MOVE)), s, y, x, y0, x0, slots, field, physics, guide, scratch
    )
    ny0, nx0 = _first_pixel(y_new, half), _first_pixel(x_new, half)
    fill_profile(y_new, physics.sigma, ny0, scratch.new_gy)
    fill_profile(x_new, physics.sigma, nx0, scratch.new_gx)
    if born or ny0 != y0 or nx0 != x0:
        if not born:
            _add_light(residual, y0, x0, gy, gx, np.float32(1.0), old)
        _add_light(residual, ny0, nx0, scratch.new_gy, scratch.new_gx, np.float32(-1.0), new)
    else:
        _swap_light(residual, y0, x0, gy, gx, old, scratch.new_gy, scratch.new_gx, new)

    slots.alive[s] = 1
    slots.y[s], slots.x[s] = y_new, x_new
    slots.light[s] = new
    slots.bleach_frame[s] = bleached
    slots.flux[s] = _draw_flux(mix(key, np.uint64(_FLUX)), a, total, n_on, physics)


@kernel
def _explain(
    field: Field, physics: Physics, y0: int, x0: int, a: float, scratch: Scratch
) -> tuple[float, float]:
    """Evidence log P(R|F)/P(R|N) of a fluorophore, its filtered states, c and the energy G."""
    matched, gy, gx, old = scratch.matched, scratch.gy, scratch.gx, scratch.old
    energy = 0.0
    matched[:] = 0.0
    for i in range(gy.size):
        for j in range(gx.size):
            h = gy[i] * gx[j]
            wh = physics.beta * field.weight[y0 + i, x0 + j] * h
            energy += wh * h
            w = np.float32(wh)
            for t in range(matched.size):
                matched[t] += w * field.residual[y0 + i, x0 + j, t]
    variance = (physics.cv * a) ** 2
    shrink = 1.0 / (1.0 + variance * energy)
    own = np.float32(energy)
    square = np.float32(0.5 * variance * shrink)
    linear = np.float32(a * shrink)
    constant = np.float32(-0.5 * a * a * energy * shrink + 0.5 * math.log(shrink))
    least = np.float32(MIN_LIGHT_SHARE * a)
    corner = np.float32((MIN_LIGHT_SHARE * a / shrink - a) / variance)
    ratio = scratch.ratio
    for t in range(matched.size):
        c = matched[t] + own * old[t]
        matched[t] = c
        bent = max(c, corner)
        ratio[t] = (square * bent + linear) * bent + constant + least * (c - bent)
    exponentials(ratio, scratch.bits, scratch.floats, ratio)
    return forward(ratio, physics.matrix, physics.start, scratch.states), energy


@kernel
def _draw_light(
    key: np.uint64, a: float, energy: float, physics: Physics, scratch: Scratch
) -> float:
    """Light of every emitting frame into `new`; returns its sum."""
    variance = (physics.cv * a) ** 2
    shrink = 1.0 / (1.0 + variance * energy)
    constant, slope = np.float32(a * shrink), np.float32(variance * shrink)
    sd = np.float32(math.sqrt(variance * shrink))
    least = np.float32(MIN_LIGHT_SHARE * a)
    fill_normal(key, scratch.u, scratch.bits, scratch.floats, scratch.normal)
    new = scratch.new
    total = np.float32(0.0)
    for t in range(new.size):
        drawn = constant + slope * scratch.matched[t] + sd * scratch.normal[t]
        new[t] = scratch.on[t] * max(drawn, least)
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
    y0: int,
    x0: int,
    slots: Slots,
    field: Field,
    physics: Physics,
    guide: Guide,
    scratch: Scratch,
) -> tuple[float, float]:
    """Draw the position from its linearised Gaussian conditional; accept by the prior ratio.

    The sufficient statistic per pixel is Σ_t u_t R_t, with the residual R as the new path leaves
    it: one pass over the movie serves every position near the present one.
    """
    gy, gx, old, new = scratch.gy, scratch.gx, scratch.old, scratch.new
    dy, dx, received = scratch.dy, scratch.dx, scratch.received
    overlap = square = np.float32(0.0)
    for t in range(new.size):
        overlap += old[t] * new[t]
        square += new[t] * new[t]
    for i in range(gy.size):
        for j in range(gx.size):
            light = np.float32(0.0)
            for t in range(new.size):
                light += new[t] * field.residual[y0 + i, x0 + j, t]
            received[i, j] = light + gy[i] * gx[j] * (overlap - square)
    fill_profile_gradient(y, physics.sigma, y0, dy)
    fill_profile_gradient(x, physics.sigma, x0, dx)
    force_y = force_x = stiff_y = stiff_x = 0.0
    for i in range(gy.size):
        for j in range(gx.size):
            w = physics.beta * field.weight[y0 + i, x0 + j]
            hy, hx = dy[i] * gx[j], gy[i] * dx[j]
            force_y += w * hy * received[i, j]
            force_x += w * hx * received[i, j]
            stiff_y += w * hy * hy
            stiff_x += w * hx * hx
    stiff_y *= float(square)
    stiff_x *= float(square)
    slots.precision[s, 0], slots.precision[s, 1] = stiff_y, stiff_x
    zy, zx = normal_pair(key, np.uint64(0))
    y_new, x_new = y + _step(force_y, stiff_y, zy), x + _step(force_x, stiff_x, zx)
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
def _first_pixel(position: float, half: int) -> int:
    return math.floor(position + 0.5) - half


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
def _add_light(
    residual: F32, y0: int, x0: int, gy: F64, gx: F64, sign: np.float32, light: F32
) -> None:
    for i in range(gy.size):
        for j in range(gx.size):
            h = sign * np.float32(gy[i] * gx[j])
            for t in range(light.size):
                residual[y0 + i, x0 + j, t] += h * light[t]


@kernel
def _swap_light(
    residual: F32, y0: int, x0: int, gy: F64, gx: F64, old: F32, new_gy: F64, new_gx: F64, new: F32
) -> None:
    for i in range(gy.size):
        for j in range(gx.size):
            h = np.float32(gy[i] * gx[j])
            new_h = np.float32(new_gy[i] * new_gx[j])
            for t in range(old.size):
                residual[y0 + i, x0 + j, t] += h * old[t] - new_h * new[t]


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
    gy, gx = np.empty(n), np.empty(n)
    for s in range(slots.alive.size):
        if slots.alive[s]:
            y0 = _first_pixel(slots.y[s], physics.half)
            x0 = _first_pixel(slots.x[s], physics.half)
            fill_profile(slots.y[s], physics.sigma, y0, gy)
            fill_profile(slots.x[s], physics.sigma, x0, gx)
            _add_light(field.residual, y0, x0, gy, gx, np.float32(-1.0), slots.light[s])
