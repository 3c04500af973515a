"""Compiled building blocks: the kernel decorator, counter-based random numbers, pixel profiles.

Counter-based numbers depend on a key and a counter only, so a kernel may visit its work in any
order, in chunks or on several threads and still draw the same values.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import DlbiWarning

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}


def kernel(function: F) -> F:
    """Compile a function with numba: cached on disk, without the GIL, IEEE division.

    Floating-point sums may be reordered and fused (SIMD), infinities and NaN stay themselves.
    Without a writable cache folder the kernel is compiled anew in every process, with a warning.
    """
    try:
        compiled = numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:
        _warn_uncached()
        compiled = numba.njit(function, **_OPTIONS)
    return cast("F", compiled)


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "no writable folder for compiled kernels: every start compiles them anew; "
        "set NUMBA_CACHE_DIR to a folder you can write",
        DlbiWarning,
        stacklevel=3,
    )


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
def fill_profile(centre_px: float, sigma_px: float, first: int, out: F64) -> None:
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
def fill_profiles(centre_px: float, sigma_px: float, first: int, share: F64, slope: F64) -> None:
    """`fill_profile` into `share` and its derivative by the centre into `slope`, both (n,).

    Several times faster, without branches; errors of `share` are below 2e-7. All pixels must lie
    within 35 σ of the centre.

    Notes
    -----
    Equidistant Gaussians are geometric: g_{k+1} = g_k r_k, r_{k+1} = r_k q. The error function
    comes from them by Abramowitz and Stegun 7.1.26.
    """
    step = 1.0 / (math.sqrt(2.0) * sigma_px)
    norm = step / math.sqrt(math.pi)
    edge = (first - 0.5 - centre_px) * step
    gauss = math.exp(-edge * edge)
    ratio = math.exp(-step * (2.0 * edge + step))
    change = math.exp(-2.0 * step * step)
    left = _signed_erf(edge, gauss)
    for k in range(share.size):
        edge += step
        next_gauss = gauss * ratio
        ratio *= change
        right = _signed_erf(edge, next_gauss)
        share[k] = 0.5 * (right - left)
        slope[k] = norm * (gauss - next_gauss)
        left, gauss = right, next_gauss


@kernel
def _signed_erf(x: float, gauss: float) -> float:
    """erf(x) from exp(−x²), error below 1.5e-7 (Abramowitz and Stegun 7.1.26)."""
    t = 1.0 / (1.0 + 0.3275911 * abs(x))
    p = 1.061405429 * t - 1.453152027
    p = p * t + 1.421413741
    p = p * t - 0.284496736
    p = p * t + 0.254829592
    return math.copysign(1.0 - p * t * gauss, x)


@kernel
def fill_uniform(key: np.uint64, u: F64) -> None:
    """Uniform numbers in (0, 1) with 32 random bits into `u` (n,), two from each counter."""
    for k in range((u.size + 1) // 2):
        z = mix(key, np.uint64(k))
        u[2 * k] = (np.float64(np.uint32(z)) + 0.5) * 2.0**-32
        if 2 * k + 1 < u.size:
            u[2 * k + 1] = (np.float64(np.uint32(z >> np.uint64(32))) + 0.5) * 2.0**-32


@kernel
def fill_normal(
    key: np.uint64,
    words: NDArray[np.uint64],
    bits: NDArray[np.int32],
    floats: F32,
    x: F32,
    out: F32,
) -> None:
    """Standard normal numbers into `out` (n,) float32 by inversion, error below 2e-6 · |z|.

    Inverts uniform numbers of 23 bits on (−1, 1), two from each counter, which `x` (n,) takes.
    `words` ((n + 1) // 2,) uint64 is scratch, `bits` and `floats` its first n numbers as int32 and
    float32. No loop has branches, calls or two views of the scratch, which is what makes it several
    times faster than Box–Muller.

    References
    ----------
    M. Giles, Approximating the erfinv function, GPU Computing Gems 2 (2012), doi:
    10.1016/B978-0-12-385963-1.00010-1.
    """
    n = out.size
    for k in range(words.size):
        words[k] = mix(key, np.uint64(k))
    for k in range(n):
        whole = np.float32(bits[k] & np.int32(0x007FFFFF))
        x[k] = whole * np.float32(2.0**-22) - np.float32(1.0 - 2.0**-23)
    for k in range(n):
        floats[k] = (np.float32(1.0) - x[k]) * (np.float32(1.0) + x[k])
    # w = −log(1 − x²): split off the exponent around √½, then a polynomial of the mantissa.
    for k in range(n):
        shifted = bits[k] - np.int32(0x3F3504F3)
        out[k] = np.float32(shifted >> np.int32(23))
        bits[k] = (shifted & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)
    for k in range(n):
        m = floats[k] - np.float32(1.0)
        z = m * m
        p = np.float32(7.0376836292e-2)
        p = p * m - np.float32(1.1514610310e-1)
        p = p * m + np.float32(1.1676998740e-1)
        p = p * m - np.float32(1.2420140846e-1)
        p = p * m + np.float32(1.4249322787e-1)
        p = p * m - np.float32(1.6668057665e-1)
        p = p * m + np.float32(2.0000714765e-1)
        p = p * m - np.float32(2.4999993993e-1)
        p = p * m + np.float32(3.3333331174e-1)
        log = p * m * z - np.float32(0.5) * z + m + np.float32(0.6931471806) * out[k]
        w = max(-log, np.float32(0.0))
        a = w - np.float32(2.5)
        p = np.float32(2.81022636e-08)
        p = p * a + np.float32(3.43273939e-07)
        p = p * a - np.float32(3.5233877e-06)
        p = p * a - np.float32(4.39150654e-06)
        p = p * a + np.float32(2.1858087e-4)
        p = p * a - np.float32(1.25372503e-3)
        p = p * a - np.float32(4.17768164e-3)
        p = p * a + np.float32(2.46640727e-1)
        near = p * a + np.float32(1.50140941)
        b = np.float32(math.sqrt(w)) - np.float32(3.0)
        p = np.float32(-2.00214257e-4)
        p = p * b + np.float32(1.00950558e-4)
        p = p * b + np.float32(1.34934322e-3)
        p = p * b - np.float32(3.67342844e-3)
        p = p * b + np.float32(5.73950773e-3)
        p = p * b - np.float32(7.6224613e-3)
        p = p * b + np.float32(9.43887047e-3)
        p = p * b + np.float32(1.00167406)
        far = p * b + np.float32(2.83297682)
        tail = near if w < np.float32(5.0) else far
        out[k] = np.float32(1.4142135624) * tail * x[k]
