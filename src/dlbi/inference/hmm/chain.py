"""One fluorophore: forward filter, evidence and backward sampling of its three-state chain.

Everything takes the log-likelihood ratio ℓ_t = log P(frame t | emitting) − log P(frame t | not
emitting); the dark and bleached states explain a frame equally well, so only ℓ matters (paper
Eq. 10 and Fig. 6A).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import F32, F64, kernel
from dlbi.core.photophysics import BLEACHED, DARK, EMITTING

MAX_LOG_RATIO = 40.0
"""ℓ is clipped to ± this."""

_LARGE = 2.0**480
_CHECK_EVERY = 8
"""Frames between two looks at the size of the weights: eight clipped frames are a factor of 2⁴⁶²,
and 480 + 462 still fits a double."""

_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)


class Filtered(NamedTuple):
    """Filtered state weights and the evidence of one chain.

    Parameters
    ----------
    weights : ndarray, (3, T), float64
        α_t(state) up to one factor per frame, order emitting, dark, bleached.
    log_evidence : float
        log P(R|F) / P(R|N): the movie with this fluorophore against without (paper Eq. 10).
    """

    weights: NDArray[np.float64]
    log_evidence: float


def filter_reference(
    log_ratio: NDArray[np.floating], matrix: NDArray[np.float64], start: NDArray[np.float64]
) -> Filtered:
    """Forward filter in plain NumPy, normalised in every frame; the reference of `forward`.

    Parameters
    ----------
    log_ratio : ndarray, (T,)
    matrix : ndarray, (3, 3)
        Row-stochastic transition matrix.
    start : ndarray, (3,)
        State law of the first frame.

    Notes
    -----
    α_1 = π₀ ⊙ e_1, α_t = (α_{t−1} A) ⊙ e_t with e_t = (exp ℓ_t, 1, 1); log Z = Σ log n_t.
    """
    weights = np.empty((3, len(log_ratio)))
    log_evidence = 0.0
    state = np.asarray(start, np.float64)
    for t, ratio in enumerate(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO)):
        alpha = (state if t == 0 else state @ matrix) * np.array([np.exp(ratio), 1.0, 1.0])
        norm = alpha.sum()
        log_evidence += float(np.log(norm))
        state = alpha / norm
        weights[:, t] = state
    return Filtered(weights, log_evidence)


def sample_reference(
    weights: NDArray[np.float64], matrix: NDArray[np.float64], u: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Backward sampling in plain NumPy from uniform numbers, one a frame; reference of `backward`.

    Returns
    -------
    ndarray, (T,)
        States: 0 emitting, 1 dark, 2 bleached.

    Notes
    -----
    s_T ~ α_T; s_t ~ α_t(·) A(·, s_{t+1}). A number u picks emitting first, except where the
    choice is between bleached and dark: then bleached first.
    """
    n = weights.shape[1]
    path = np.empty(n, np.int64)
    for t in range(n - 1, -1, -1):
        law = weights[:, t] if t == n - 1 else weights[:, t] * matrix[:, path[t + 1]]
        law = law / law.sum()
        if t < n - 1 and path[t + 1] == BLEACHED:
            path[t] = BLEACHED if u[t] < law[BLEACHED] else DARK
        elif u[t] < law[EMITTING]:
            path[t] = EMITTING
        else:
            path[t] = DARK if u[t] < law[EMITTING] + law[DARK] else BLEACHED
    return path


@kernel
def exponentials(log_ratio: F32, bits: NDArray[np.int32], powers: F32, out: F32) -> None:
    """exp of a float32 array by range reduction and a polynomial; relative error < 3e-7.

    `bits` is an int32 scratch array and `powers` its float32 view; all have length T. `out` must be
    another array than `log_ratio`: where they overlap the loop runs number by number.
    """
    n = log_ratio.size
    for t in range(n):
        v = min(max(log_ratio[t], np.float32(-MAX_LOG_RATIO)), np.float32(MAX_LOG_RATIO))
        whole = np.floor(v * _LOG2E + np.float32(0.5))
        r = v - whole * _LN2_HIGH - whole * _LN2_LOW
        p = np.float32(1.9875691500e-4)
        p = p * r + np.float32(1.3981999507e-3)
        p = p * r + np.float32(8.3334519073e-3)
        p = p * r + np.float32(4.1665795894e-2)
        p = p * r + np.float32(1.6666665459e-1)
        p = p * r + np.float32(5.0000001201e-1)
        out[t] = p * r * r + r + np.float32(1.0)
        bits[t] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    for t in range(n):
        out[t] *= powers[t]


@kernel
def forward(ratio: F32, matrix: F64, start: F64, weights: F64) -> float:
    """Forward filter of emission ratios exp(ℓ) (T,) into `weights` (3, T); returns log Z.

    Each step has to wait for the one before, so two frames are taken in one: the product of their
    matrices depends on the ratios only and is ready in time. Weights are scaled by powers of two,
    which is exact, where they come near the limits of a double.
    """
    ee, ed = matrix[0, 0], matrix[0, 1]
    de, dd, db = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    ee_ee, ed_de, dd_dd = ee * ee, ed * de, dd * dd
    on, dark, bleached = start[0] * ratio[0], start[1], start[2]
    weights[0, 0], weights[1, 0], weights[2, 0] = on, dark, bleached
    n, n_scaled = ratio.size, 0
    for t in range(1, n - 1, 2):
        first, second = float(ratio[t]), float(ratio[t + 1])
        turn = ee * first + dd
        on_on, on_dark = (ee_ee * first + ed_de) * second, ed * turn
        dark_on, dark_dark = de * turn * second, ed_de * first + dd_dd
        next_on, next_dark = (on * ee + dark * de) * first, on * ed + dark * dd
        next_bleached = bleached + dark * db
        weights[0, t], weights[1, t], weights[2, t] = next_on, next_dark, next_bleached
        on, dark = on * on_on + dark * dark_on, on * on_dark + dark * dark_dark
        bleached = next_bleached + next_dark * db
        if t % _CHECK_EVERY == 1:
            largest = max(max(on, dark), bleached)
            if largest > _LARGE:
                on, dark, bleached = on / _LARGE, dark / _LARGE, bleached / _LARGE
                n_scaled += 1
            elif largest < 1.0 / _LARGE:
                on, dark, bleached = on * _LARGE, dark * _LARGE, bleached * _LARGE
                n_scaled -= 1
        weights[0, t + 1], weights[1, t + 1], weights[2, t + 1] = on, dark, bleached
    if n % 2 == 0:
        next_on = (on * ee + dark * de) * ratio[n - 1]
        bleached += dark * db
        dark = on * ed + dark * dd
        on = next_on
        weights[0, n - 1], weights[1, n - 1], weights[2, n - 1] = on, dark, bleached
    return float(np.log(on + dark + bleached) + n_scaled * np.log(_LARGE))


@kernel
def backward(
    weights: F64,
    matrix: F64,
    u: F64,
    after_dark: NDArray[np.uint8],
    differs: NDArray[np.uint8],
    on: F32,
) -> int:
    """Draw a path from filtered `weights` and uniform numbers `u`.

    Writes 1.0 where the path emits into `on` (T,) float32 and returns the first bleached frame
    (T if it never bleaches). `after_dark` and `differs` (T,) are scratch: whether frame t emits if
    frame t + 1 is dark, and whether it would not do the same after an emitting one. Filling them is
    the vectorised part; the walk through them has no branches, which blinking would mispredict.
    """
    n = u.size
    ee, ed = matrix[0, 0], matrix[0, 1]
    de, dd, db = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    for t in range(n):
        e, d = weights[0, t], weights[1, t]
        dark = u[t] * (e * ed + d * dd) < e * ed
        after_dark[t] = dark
        differs[t] = dark != (u[t] * (e * ee + d * de) < e * ee)
    last = n - 1
    e, d, b = weights[0, last], weights[1, last], weights[2, last]
    threshold = u[last] * (e + d + b)
    t = last
    bleach_frame = n
    emitting = np.uint8(threshold < e)
    if threshold >= e + d:
        on[last] = 0.0
        t = last - 1
        while t >= 0 and u[t] * (weights[2, t] + weights[1, t] * db) < weights[2, t]:
            on[t] = 0.0
            t -= 1
        bleach_frame = t + 1
        emitting = np.uint8(0)
    if t >= 0:
        on[t] = np.float32(emitting)
    for k in range(t - 1, -1, -1):
        emitting = after_dark[k] ^ (emitting & differs[k])
        on[k] = np.float32(emitting)
    return bleach_frame
