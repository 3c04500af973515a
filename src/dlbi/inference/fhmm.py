"""Many fluorophores: one sweep of the guided factorial-HMM sampler over a tile of the field.

A sweep visits every emitter and a set of birth candidates in random order. Each visit integrates
over the blinking of that fluorophore (forward filter), decides whether it is real against its
prior odds (paper Eq. 10), draws its states (FFBS) and updates position and flux; the residual
movie is kept up to date, so emitters see each other's light (paper Fig. 6B). Tiles of one colour
are far enough apart not to touch the same pixels: they may run in parallel, and the result stays
that of an exact Gibbs sweep at any number of threads.

Coordinates are padded camera pixels: integers are pixel centres, and the residual has enough
zero-weight pixels around the field that no PSF window is ever clipped.
"""

from __future__ import annotations

import math

import numpy as np

from dlbi.core.kernels import fill_profile, fill_profile_gradient, kernel, mix, normal_pair, uniform
from dlbi.inference.hmm import backward, exponentials, fill_uniform, forward

MAX_MOVE_PX = 0.4
"""Largest position step of one visit, camera pixels."""

MIN_FLUX_SHARE = 0.15
"""Fluxes below this share of the prior mean are not accepted."""

_PATH, _ORDER, _PLACE, _MOVE, _FLUX, _DECIDE, _BIRTH_FLUX = range(7)


@kernel
def sweep_tile(  # type: ignore[no-untyped-def]
    key,
    slots,
    alive,
    y,
    x,
    flux,
    on,
    bleach_frame,
    p_real,
    precision,
    residual,
    weight,
    sigma,
    half,
    beta,
    flux_mean,
    flux_sd,
    matrix,
    start,
    cumulative,
    log_odds,
    log_prior,
    tile_y,
    tile_x,
    tile_px,
    factor,
    decide,
    counts,
):
    """Visit the `slots` of one tile once, in random order.

    Parameters
    ----------
    key : uint64
        Key of this tile in this sweep.
    slots : ndarray, (n,), int64
        Live emitters whose rounded position lies in the tile, and empty slots for candidates.
    alive, y, x, flux, on, bleach_frame, p_real, precision : ndarray
        The table of slots, changed in place: uint8 (K,), float64 (K,) camera pixels, float32
        (K,), uint8 (K, T), int32 (K,), float32 (K,), float32 (K, 2) as 1/σ² of y and x.
    residual : ndarray, (Y, X, T), float32
        Movie − background − light of all live emitters; changed in place.
    weight : ndarray, (Y, X), float32
        Inverse noise variance; zero outside the field.
    sigma, half : float, int
        PSF width and window half width, camera pixels.
    beta : float
        Likelihood temperature; 1 is the exact posterior.
    flux_mean, flux_sd : float
        Prior of the flux of an emitting frame.
    matrix, start : ndarray
        Blinking chain, (3, 3) and (3,).
    cumulative : ndarray, (n_fine,), float32
        Cumulative proposal over the fine pixels of the tile, row by row; ends with 1.
    log_odds : ndarray, (fine Y, fine X), float32
        log of expected emitters ÷ (candidates · proposal) per fine pixel: the prior odds.
    log_prior : ndarray, (fine Y, fine X), float32
        log density of emitters per fine pixel, for position moves.
    tile_y, tile_x, tile_px, factor : int
        First camera pixel and side of the tile; fine pixels per camera pixel.
    decide : bool
        False keeps every emitter and takes no candidates (first sweep from an initial guess).
    counts : ndarray, (8,), float64
        Added to: transitions E→E, E→D, D→E, D→D, D→B and first-frame states E, D, B.
    """
    n_frames = residual.shape[2]
    n = 2 * half + 1
    gy, gx = np.empty(n), np.empty(n)
    dy, dx = np.empty(n), np.empty(n)
    ny, nx = np.empty(n), np.empty(n)
    matched = np.empty(n_frames, np.float32)
    ratio = np.empty(n_frames, np.float32)
    bits = np.empty(n_frames, np.int32)
    powers = bits.view(np.float32)
    states = np.empty((3, n_frames))
    u = np.empty(n_frames)
    after_on = np.empty(n_frames, np.bool_)
    after_dark = np.empty(n_frames, np.bool_)
    on_old = np.zeros(n_frames, np.float32)
    on_new = np.empty(n_frames, np.float32)
    on_light = np.empty((n, n))
    order = slots.copy()
    order_key = mix(key, np.uint64(_ORDER))
    for i in range(order.size - 1, 0, -1):
        j = int(uniform(order_key, np.uint64(i)) * (i + 1))
        order[i], order[j] = order[j], order[i]

    for visit in range(order.size):
        s = order[visit]
        visit_key = mix(mix(key, np.uint64(1000)), np.uint64(visit))
        born = alive[s] == 0
        if born and not decide:
            continue
        if born:
            cell = _search(cumulative, uniform(visit_key, np.uint64(10)))
            side = tile_px * factor
            fine_y = tile_y * factor + cell // side + uniform(visit_key, np.uint64(11))
            fine_x = tile_x * factor + cell % side + uniform(visit_key, np.uint64(12))
            yc, xc = fine_y / factor - 0.5, fine_x / factor - 0.5
            z, _ = normal_pair(mix(visit_key, np.uint64(_BIRTH_FLUX)), np.uint64(0))
            a = max(flux_mean + flux_sd * z, MIN_FLUX_SHARE * flux_mean)
        else:
            yc, xc, a = y[s], x[s], float(flux[s])
        iy, ix = int(math.floor(yc + 0.5)), int(math.floor(xc + 0.5))
        fill_profile(yc, sigma, iy - half, gy)
        fill_profile(xc, sigma, ix - half, gx)

        energy = _matched_filter(residual, weight, iy - half, ix - half, gy, gx, matched)
        if not born:
            own = np.float32(a * energy)
            for t in range(n_frames):
                on_old[t] = on[s, t]
                matched[t] += own * on_old[t]
        gain, cost = np.float32(beta * a), np.float32(0.5 * beta * a * a * energy)
        for t in range(n_frames):
            matched[t] = gain * matched[t] - cost
        exponentials(matched, bits, powers, ratio)
        log_evidence = forward(ratio, matrix, start, states)

        if decide:
            odds = log_evidence + log_odds[_fine(yc, factor), _fine(xc, factor)]
            p = 1.0 / (1.0 + math.exp(-min(max(odds, -700.0), 700.0)))
            real = uniform(visit_key, np.uint64(_DECIDE)) < p
        else:
            p, real = 1.0, True
        if not real:
            if not born:
                _change_light(residual, iy - half, ix - half, gy, gx, np.float32(a), on_old)
                alive[s] = 0
            continue

        fill_uniform(mix(visit_key, np.uint64(_PATH)), u)
        last = backward(states, matrix, u, after_on, after_dark, on_new)
        n_on = _count(on_new, last, counts)

        # Sufficient statistics of position and flux: light in the emitting frames, with this
        # emitter's share of the residual put back as the new path leaves it.
        overlap = 0.0
        if not born:
            for t in range(n_frames):
                overlap += on_old[t] * on_new[t]
        _on_light(residual, iy - half, ix - half, on_new, on_light)
        fill_profile_gradient(yc, sigma, iy - half, dy)
        fill_profile_gradient(xc, sigma, ix - half, dx)
        force_y = force_x = stiff_y = stiff_x = force_a = 0.0
        for i in range(n):
            for j in range(n):
                w = weight[iy - half + i, ix - half + j]
                h = gy[i] * gx[j]
                light = on_light[i, j] + a * h * (overlap - n_on)
                hy, hx = dy[i] * gx[j], gy[i] * dx[j]
                force_y += w * hy * light
                force_x += w * hx * light
                stiff_y += w * hy * hy
                stiff_x += w * hx * hx
                force_a += w * h * light
        stiff_y *= beta * a * a * n_on
        stiff_x *= beta * a * a * n_on
        move_key = mix(visit_key, np.uint64(_MOVE))
        zy, zx = normal_pair(move_key, np.uint64(0))
        y_new = yc + _step(beta * a * force_y, stiff_y, zy)
        x_new = xc + _step(beta * a * force_x, stiff_x, zx)
        fy, fx = _fine(y_new, factor), _fine(x_new, factor)
        gained = log_prior[fy, fx] - log_prior[_fine(yc, factor), _fine(xc, factor)]
        if math.log(uniform(move_key, np.uint64(2))) >= gained:
            y_new, x_new = yc, xc
        inverse = 1.0 / (flux_sd * flux_sd)
        stiff_a = beta * n_on * energy + inverse
        za, _ = normal_pair(mix(visit_key, np.uint64(_FLUX)), np.uint64(0))
        a_new = a + (beta * force_a + (flux_mean - a) * inverse) / stiff_a + za / math.sqrt(stiff_a)
        if a_new < MIN_FLUX_SHARE * flux_mean:
            a_new = a

        iy_new, ix_new = int(math.floor(y_new + 0.5)), int(math.floor(x_new + 0.5))
        fill_profile(y_new, sigma, iy_new - half, ny)
        fill_profile(x_new, sigma, ix_new - half, nx)
        if born or iy_new != iy or ix_new != ix:
            if not born:
                _change_light(residual, iy - half, ix - half, gy, gx, np.float32(a), on_old)
            _change_light(
                residual, iy_new - half, ix_new - half, ny, nx, np.float32(-a_new), on_new
            )
        else:
            _swap_light(
                residual, iy - half, ix - half, gy, gx, np.float32(a), on_old, ny, nx,
                np.float32(a_new), on_new,
            )
        alive[s] = 1
        y[s], x[s], flux[s] = y_new, x_new, a_new
        for t in range(n_frames):
            on[s, t] = np.uint8(on_new[t])
        bleach_frame[s] = last
        p_real[s] = p
        precision[s, 0], precision[s, 1] = stiff_y, stiff_x


@kernel
def _fine(position_px, factor):  # type: ignore[no-untyped-def]
    return int(math.floor((position_px + 0.5) * factor))


@kernel
def _search(cumulative, u):  # type: ignore[no-untyped-def]
    low, high = 0, cumulative.size - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


@kernel
def _step(force, stiffness, z):  # type: ignore[no-untyped-def]
    if stiffness <= 0.0:
        return MAX_MOVE_PX * min(max(z, -1.0), 1.0)
    step = force / stiffness + z / math.sqrt(stiffness)
    return min(max(step, -MAX_MOVE_PX), MAX_MOVE_PX)


@kernel
def _matched_filter(residual, weight, y0, x0, gy, gx, out):  # type: ignore[no-untyped-def]
    energy = 0.0
    out[:] = 0.0
    for i in range(gy.size):
        for j in range(gx.size):
            h = gy[i] * gx[j]
            w = weight[y0 + i, x0 + j]
            energy += w * h * h
            hw = np.float32(w * h)
            for t in range(out.size):
                out[t] += hw * residual[y0 + i, x0 + j, t]
    return energy


@kernel
def _on_light(residual, y0, x0, on, out):  # type: ignore[no-untyped-def]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            total = np.float32(0.0)
            for t in range(on.size):
                total += on[t] * residual[y0 + i, x0 + j, t]
            out[i, j] = total


@kernel
def _change_light(residual, y0, x0, gy, gx, flux, on):  # type: ignore[no-untyped-def]
    for i in range(gy.size):
        for j in range(gx.size):
            h = np.float32(flux * gy[i] * gx[j])
            for t in range(on.size):
                residual[y0 + i, x0 + j, t] += h * on[t]


@kernel
def _swap_light(  # type: ignore[no-untyped-def]
    residual, y0, x0, gy, gx, flux, on, new_gy, new_gx, new_flux, new_on
):
    for i in range(gy.size):
        for j in range(gx.size):
            h = np.float32(flux * gy[i] * gx[j])
            new_h = np.float32(new_flux * new_gy[i] * new_gx[j])
            for t in range(on.size):
                residual[y0 + i, x0 + j, t] += h * on[t] - new_h * new_on[t]


@kernel
def _count(on, bleach_frame, counts):  # type: ignore[no-untyped-def]
    n_on = on[0]
    if on[0] > 0.0:
        counts[5] += 1.0
    elif bleach_frame > 0:
        counts[6] += 1.0
    else:
        counts[7] += 1.0
    e_e = np.float32(0.0)
    for t in range(1, on.size):
        n_on += on[t]
        e_e += on[t - 1] * on[t]
    last = on[min(bleach_frame, on.size) - 1] if bleach_frame > 0 else np.float32(0.0)
    # Steps among living states: bleach_frame - 1 of them, counted from the two ends.
    living = max(bleach_frame, 1) - 1
    e_d = n_on - last - e_e
    d_e = n_on - on[0] - e_e
    counts[0] += e_e
    counts[1] += e_d
    counts[2] += d_e
    counts[3] += living - e_e - e_d - d_e
    if 0 < bleach_frame < on.size:
        counts[4] += 1.0
    return n_on
