"""Curves of single objects around the origin in nanometres: an organelle, a polymer, a target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from dlbi.simulation.curves import STEP_NM, modulation, normals, random_curve, rotation, wavy_line
from dlbi.simulation.strokes import Curve

_TURN = 2 * np.pi
_STEP_NM = 10.0
"""Distance of the points of a membrane and a chain, and of the lines that fill a spoke."""


def mitochondrion(
    length_nm: float, width_nm: float, rng: np.random.Generator
) -> tuple[Curve, list[Curve]]:
    """A worm of a width that changes by about 10 %, and folds across it.

    Parameters
    ----------
    length_nm, width_nm : float
    rng : Generator

    Returns
    -------
    outline : ndarray, (n, 2)
        Closed.
    cristae : list of ndarray, (m, 2)
        Folds 70–150 nm apart along the worm, each from one side over half of the width or more.
    """
    course = random_curve(rng.uniform(0, _TURN), length_nm, 0.7, rng)
    knots = np.arange(len(course))
    at = np.arange(0, len(course) - 1, _STEP_NM / STEP_NM)
    axis = CubicSpline(knots, course)(at)
    radius = np.interp(at, knots, 0.5 * width_nm * modulation(len(course), 0.1, rng))
    to_end = STEP_NM * np.minimum(at, at[-1] - at)
    half = np.sqrt(radius**2 - (radius - to_end).clip(0) ** 2)[:, None] * normals(axis)
    closest, widest = round(70 / _STEP_NM), round(150 / _STEP_NM)
    folds = np.cumsum(rng.integers(closest, widest + 1, len(at)))
    folds = folds[folds < len(at) - closest]
    side = rng.choice([-1, 1], (len(folds), 1)) * half[folds]
    roots = axis[folds] + 0.9 * side
    tips = axis[folds] - rng.uniform(0.1, 0.8, (len(folds), 1)) * side
    cristae = [wavy_line(root, tip, 0.05, rng) for root, tip in zip(roots, tips, strict=True)]
    return np.concatenate([axis + half, (axis - half)[::-1]]), cristae


def worm_like_chain(persistence_nm: NDArray[np.float64], rng: np.random.Generator) -> Curve:
    """A randomly bent chain; its bend over s has the mean cosine exp(−s / persistence).

    Parameters
    ----------
    persistence_nm : ndarray, (n,)
        At the points of the chain, 10 nm apart.
    rng : Generator

    Returns
    -------
    ndarray, (n, 2)
    """
    bends = rng.normal(0, np.sqrt(2 * _STEP_NM / persistence_nm))
    direction = rng.uniform(0, _TURN) + np.cumsum(bends)
    return np.cumsum(_STEP_NM * np.stack([np.sin(direction), np.cos(direction)], 1), axis=0)


def siemens_star(
    n: int, inner_nm: float, outer_nm: float, fill: float, rng: np.random.Generator
) -> tuple[list[Curve], list[Curve]]:
    """Spokes over ½ to ⅞ of a turn and arcs over the rest, all 2πr/n apart at radius r.

    Parameters
    ----------
    n : int
        Spokes of a full turn, at least 16.
    inner_nm, outer_nm : float
        Radii.
    fill : float
        Share of their distance that spokes are wide; 0 for thin lines.
    rng : Generator

    Returns
    -------
    spokes, arcs : list of ndarray, (m, 2)
        By angle, and by radius.
    """
    pitch = _TURN / n
    turn = rotation(rng.uniform(0, _TURN))
    n_spokes = rng.integers(n // 2, n - n // 8)
    out = np.linspace(inner_nm, outer_nm, 2 + int((outer_nm - inner_nm) / STEP_NM))
    sweep = np.linspace(0, fill * pitch, 1 + int(fill * pitch * outer_nm / _STEP_NM))
    radius = np.resize(np.concatenate([out, out[::-1]]), len(sweep) * len(out))
    angle = np.repeat(sweep, len(out))
    spokes = [_polar(radius, angle + k * pitch) @ turn for k in range(n_spokes)]
    n_arcs = 1 + int(np.log(outer_nm / inner_nm) / np.log1p(pitch))
    rest = np.linspace(n_spokes * pitch, _TURN - pitch, 64)
    arcs = [_polar(inner_nm * (1 + pitch) ** k, rest) @ turn for k in range(n_arcs)]
    return spokes, arcs


def _polar(radius: NDArray[np.float64] | float, angle: NDArray[np.float64]) -> Curve:
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], 1)
