"""Compiled building blocks: the kernel decorator, counter-based random numbers, pixel profiles.

Counter-based numbers depend on a key and a counter only, so a kernel may visit its work in any
order, in chunks or on several threads and still draw the same values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function with numba: cached on disk, without the GIL, IEEE division.

    Floating-point sums may be reordered and fused (SIMD), infinities and NaN stay themselves.
    """
    compiled: F = numba.njit(
        cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "arcp"}
    )(function)
    return compiled


@kernel
def mix(key: np.uint64, counter: np.uint64) -> np.uint64:
    """64 random bits of one counter value (finaliser of SplitMix64, doi:10.1145/2714064.2660195).

    Also derives keys: ``mix(mix(key, sweep), slot)`` is the key of one slot in one sweep.
    """
    z = key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def uniform(key: np.uint64, counter: np.uint64) -> float:
    """A number in (0, 1), never 0 or 1."""
    return (np.float64(mix(key, counter) >> np.uint64(12)) + 0.5) * (1.0 / 4503599627370496.0)


@kernel
def normal_pair(key: np.uint64, counter: np.uint64) -> tuple[float, float]:
    """Two independent standard normal numbers from counters 2c and 2c + 1 (Box–Muller)."""
    c = counter * np.uint64(2)
    radius = math.sqrt(-2.0 * math.log(uniform(key, c)))
    angle = 2.0 * math.pi * uniform(key, c + np.uint64(1))
    return radius * math.cos(angle), radius * math.sin(angle)


@kernel
def fill_profile(centre_px: float, sigma_px: float, first: int, out: np.ndarray) -> None:
    """Pixel-integrated Gaussian shares of pixels first, first + 1, … into `out` (n,).

    Equal to `dlbi.core.optics.integrated_profile`.
    """
    scale = 1.0 / (math.sqrt(2.0) * sigma_px)
    left = math.erf((first - 0.5 - centre_px) * scale)
    for k in range(out.size):
        right = math.erf((first + k + 0.5 - centre_px) * scale)
        out[k] = 0.5 * (right - left)
        left = right


@kernel
def fill_profile_gradient(centre_px: float, sigma_px: float, first: int, out: np.ndarray) -> None:
    """Derivative of `fill_profile` with respect to the centre into `out` (n,)."""
    scale = 1.0 / (math.sqrt(2.0) * sigma_px)
    norm = 1.0 / (math.sqrt(2.0 * math.pi) * sigma_px)
    u = (first - 0.5 - centre_px) * scale
    left = norm * math.exp(-u * u)
    for k in range(out.size):
        u = (first + k + 0.5 - centre_px) * scale
        right = norm * math.exp(-u * u)
        out[k] = left - right
        left = right
