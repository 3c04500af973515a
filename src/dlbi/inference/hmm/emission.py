"""The light of an emitting frame, integrated out or drawn.

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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import kernel
from dlbi.core.optics import integrated_profile
from dlbi.inference.hmm.state import Physics

MIN_LIGHT_SHARE = 0.15
"""Least light of an emitting frame, as a share of the emitter's flux."""


class Emission(NamedTuple):
    """What is known of the light of an emitter's frames before they are seen, single precision.

    Parameters
    ----------
    square, linear, constant : float32
        ℓ = (square · c + linear) · c + constant, above the corner.
    least, corner : float32
        Least light, and the c at which it is reached.
    slope, sd : float32
        The mean of u grows by `slope` for each unit of c from `linear`; its standard deviation.
    """

    square: np.float32
    linear: np.float32
    constant: np.float32
    least: np.float32
    corner: np.float32
    slope: np.float32
    sd: np.float32


@kernel
def emission(a: float, energy: float, cv: float) -> Emission:
    """Of an emitter of flux `a` whose window has the energy G; `cv` > 0."""
    variance = (cv * a) ** 2
    shrink = 1.0 / (1.0 + variance * energy)
    least = MIN_LIGHT_SHARE * a
    return Emission(
        np.float32(0.5 * variance * shrink),
        np.float32(a * shrink),
        np.float32(-0.5 * a * a * energy * shrink + 0.5 * math.log(shrink)),
        np.float32(least),
        np.float32((least / shrink - a) / variance),
        np.float32(variance * shrink),
        np.float32(math.sqrt(variance * shrink)),
    )


@kernel
def log_ratio(c: np.float32, e: Emission) -> np.float32:
    """ℓ of a frame with the matched filter c."""
    bent = max(c, e.corner)
    return (e.square * bent + e.linear) * bent + e.constant + e.least * (c - bent)


@kernel
def drawn_light(c: np.float32, z: np.float32, e: Emission) -> np.float32:
    """u of an emitting frame with the matched filter c, from a standard normal number."""
    return max(e.linear + e.slope * c + e.sd * z, e.least)


def log_ratio_reference(
    residual: NDArray[np.floating],
    weight: NDArray[np.floating],
    y: float,
    x: float,
    flux: float,
    physics: Physics,
) -> NDArray[np.float64]:
    """log P(frame | emitting) / P(frame | not) of a fluorophore that is not in the residual, (T,).

    The formula of this module in plain NumPy; the reference of `log_ratio`.

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
    ratio = (flux * bent - 0.5 * flux**2 * energy + 0.5 * variance * bent**2) / spread
    return np.asarray(
        ratio - 0.5 * np.log(spread) + MIN_LIGHT_SHARE * flux * (c - bent), np.float64
    )
