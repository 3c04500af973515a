"""Passes over the PSF window of one emitter in the residual movie, in blocks of frames.

The window is H = 2 · half + 1 pixels wide and h(p) = gy[i] gx[j] is the share of the light that
falls on pixel p = (i, j). All passes need little arithmetic for each number they read, so their
speed is that of the memory: one reading pass for everything that a visit must know of the movie,
one writing pass for what it changes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dlbi.core.kernels import F32, F64, I64, kernel
from dlbi.core.lanes import LANES, load, multiply_add, splat, store
from dlbi.inference.hmm.state import Field, Scratch


class Stiffness(NamedTuple):
    """Sums over the window, w being β / noise variance.

    Parameters
    ----------
    energy : float
        G = Σ w h².
    own_y, own_x : float
        Σ w h ∂h/∂y and Σ w h ∂h/∂x.
    y, x : float
        Σ w (∂h/∂y)² and Σ w (∂h/∂x)².
    """

    energy: float
    own_y: float
    own_x: float
    y: float
    x: float


@kernel
def first_pixel(position: float, half: int) -> int:
    """First pixel, along one axis, of the window of an emitter at `position`."""
    return math.floor(position + 0.5) - half


@kernel
def filter_window(field: Field, beta: float, y0: int, x0: int, scratch: Scratch) -> Stiffness:
    """Matched filter of the residual and its derivatives by the position.

    Reads the profiles gy, gx, dy, dx of `scratch` and writes, for each frame, Σ_p w h R into
    `matched`, Σ_p w ∂h/∂y R into `pull_y` and Σ_p w ∂h/∂x R into `pull_x`.
    """
    gy, gx, dy, dx = scratch.gy, scratch.gx, scratch.dy, scratch.dx
    share, slope = scratch.share, scratch.slope
    energy = own_y = own_x = stiff_y = stiff_x = 0.0
    for i in range(gy.size):
        gg = gd = dd = 0.0
        for j in range(gx.size):
            w = beta * field.weight[y0 + i, x0 + j]
            wg, wd = w * gx[j], w * dx[j]
            share[i, j], slope[i, j] = wg, wd
            gg += wg * gx[j]
            gd += wg * dx[j]
            dd += wd * dx[j]
        energy += gy[i] * gy[i] * gg
        own_y += gy[i] * dy[i] * gg
        own_x += gy[i] * gy[i] * gd
        stiff_y += dy[i] * dy[i] * gg
        stiff_x += gy[i] * gy[i] * dd
    for t in range(0, scratch.matched.size, LANES):
        matched = pull_y = pull_x = splat(np.float32(0.0))
        for i in range(gy.size):
            light = change = splat(np.float32(0.0))
            for j in range(gx.size):
                frames = load(field.residual[y0 + i, x0 + j], t)
                light = multiply_add(share[i, j], frames, light)
                change = multiply_add(slope[i, j], frames, change)
            matched = multiply_add(np.float32(gy[i]), light, matched)
            pull_y = multiply_add(np.float32(dy[i]), light, pull_y)
            pull_x = multiply_add(np.float32(gy[i]), change, pull_x)
        store(scratch.matched, t, matched)
        store(scratch.pull_y, t, pull_y)
        store(scratch.pull_x, t, pull_x)
    return Stiffness(energy, own_y, own_x, stiff_y, stiff_x)


@kernel
def add_light(
    residual: F32, y0: int, x0: int, gy: F64, gx: F64, sign: np.float32, light: F32
) -> None:
    """Add ± light · h to the residual; `light` in whole blocks."""
    for i in range(gy.size):
        for j in range(gx.size):
            pixel = residual[y0 + i, x0 + j]
            h = sign * np.float32(gy[i] * gx[j])
            for t in range(0, light.size, LANES):
                store(pixel, t, multiply_add(h, load(light, t), load(pixel, t)))


@kernel
def swap_light(
    residual: F32, y0: int, x0: int, old_y: F64, old_x: F64, old: F32, y: F64, x: F64, new: F32
) -> None:
    """Put old · h back into the residual and take new · h' out, in one pass.

    Both windows are part of the one that begins at (y0, x0); their profiles are zero elsewhere.
    """
    for t in range(0, new.size, LANES):
        back, out = load(old, t), load(new, t)
        for i in range(y.size):
            for j in range(x.size):
                pixel = residual[y0 + i, x0 + j]
                without = multiply_add(np.float32(old_y[i] * old_x[j]), back, load(pixel, t))
                store(pixel, t, multiply_add(-np.float32(y[i] * x[j]), out, without))


class Window(NamedTuple):
    """PSF of one emitter.

    Parameters
    ----------
    y0, x0 : int
        First pixel of the window.
    gy, gx : ndarray, (H,), float64
        h(p) = gy[i] gx[j].
    """

    y0: int
    x0: int
    gy: F64
    gx: F64


@kernel
def filter_frames(field: Field, beta: float, at: Window, frames: I64, matched: F64) -> float:
    """Σ_p w h R of some frames into `matched` (n,), the frames' numbers being `frames` (n,).

    Returns the energy G = Σ_p w h² of the window.
    """
    energy = 0.0
    matched[:] = 0.0
    for i in range(at.gy.size):
        for j in range(at.gx.size):
            h = at.gy[i] * at.gx[j]
            wh = beta * field.weight[at.y0 + i, at.x0 + j] * h
            energy += wh * h
            pixel = field.residual[at.y0 + i, at.x0 + j]
            for k in range(frames.size):
                matched[k] += wh * pixel[frames[k]]
    return energy


@kernel
def shared_energy(field: Field, beta: float, a: Window, b: Window) -> float:
    """Σ_p w h h' over the pixels that two windows share."""
    down, right = b.y0 - a.y0, b.x0 - a.x0
    energy = 0.0
    for i in range(max(down, 0), min(a.gy.size, a.gy.size + down)):
        for j in range(max(right, 0), min(a.gx.size, a.gx.size + right)):
            h, other = a.gy[i] * a.gx[j], b.gy[i - down] * b.gx[j - right]
            energy += beta * field.weight[a.y0 + i, a.x0 + j] * h * other
    return energy


@kernel
def add_to_frame(residual: F32, at: Window, light: np.float32, t: int) -> None:
    """Add light · h to one frame of the residual."""
    for i in range(at.gy.size):
        for j in range(at.gx.size):
            residual[at.y0 + i, at.x0 + j, t] += np.float32(at.gy[i] * at.gx[j]) * light
