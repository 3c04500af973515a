"""The hidden states of one spot, integrated out: posterior of emitting, gradient and curvature.

All functions treat several background samples at once; ℓ is the log-likelihood ratio of a frame,
emitting against not emitting.
"""

from __future__ import annotations

import math

import numpy as np

from dlbi.core.kernels import F64, kernel

MAX_LOG_RATIO = 300.0
"""ℓ is clipped to ± this. On and dark follow each other with odds between 0.2 and 1.7, so a frame
is certain to double precision long before."""


def log_evidence_reference(log_ratio: F64, matrix: F64, start: F64) -> float:
    """ln P(movie | spot) − ln P(movie | no spot) of one sample, ℓ (T,), in the log domain."""
    with np.errstate(divide="ignore"):
        log_matrix, log_state = np.log(matrix), np.log(start)
    emission = np.array([1.0, 0.0, 0.0])
    log_state = log_state + log_ratio[0] * emission
    for ratio in log_ratio[1:]:
        log_state = np.logaddexp.reduce(log_state[:, None] + log_matrix, axis=0) + ratio * emission
    return float(np.logaddexp.reduce(log_state))


def smooth_reference(log_ratio: F64, matrix: F64, start: F64) -> F64:
    """Posterior probability of emitting in each frame of one sample, (T,); see `smooth`."""
    n = len(log_ratio)
    emission = np.ones((n, 3))
    emission[:, 0] = np.exp(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    forward, backward = np.empty((n, 3)), np.ones((n, 3))
    for t in range(n):
        forward[t] = (start if t == 0 else forward[t - 1] @ matrix) * emission[t]
        forward[t] /= forward[t].sum()
    for t in range(n - 2, -1, -1):
        backward[t] = matrix @ (emission[t + 1] * backward[t + 1])
        backward[t] /= backward[t].sum()
    both = forward * backward
    return np.asarray(both[:, 0] / both.sum(axis=1))


@kernel
def smooth(log_ratio: F64, matrix: F64, start: F64, filtered: F64, gamma: F64) -> None:
    """Posterior probability of emitting into `gamma` (T, S) from ℓ (T, S).

    `filtered` (3, T, S) is scratch. Samples lie side by side, so that the inner loops are vectors.

    Notes
    -----
    γ_t = α_t(on) β_t(on) / Σ_i α_t(i) β_t(i), both recursions normalised in every frame.
    """
    n_frames, n_samples = log_ratio.shape
    ee, ed = matrix[0, 0], matrix[0, 1]
    de, dd, db = matrix[1, 0], matrix[1, 1], matrix[1, 2]
    on, dark, bleached = filtered[0], filtered[1], filtered[2]
    for t in range(n_frames):
        for s in range(n_samples):
            gamma[t, s] = math.exp(min(max(log_ratio[t, s], -MAX_LOG_RATIO), MAX_LOG_RATIO))
    for s in range(n_samples):
        scale = 1.0 / (start[0] * gamma[0, s] + start[1] + start[2])
        on[0, s] = start[0] * gamma[0, s] * scale
        dark[0, s] = start[1] * scale
        bleached[0, s] = start[2] * scale
    for t in range(1, n_frames):
        for s in range(n_samples):
            e, d = on[t - 1, s], dark[t - 1, s]
            new_on = (e * ee + d * de) * gamma[t, s]
            new_dark = e * ed + d * dd
            new_bleached = bleached[t - 1, s] + d * db
            scale = 1.0 / (new_on + new_dark + new_bleached)
            on[t, s] = new_on * scale
            dark[t, s] = new_dark * scale
            bleached[t, s] = new_bleached * scale
    after_on, after_dark = np.ones(n_samples), np.ones(n_samples)
    after_bleached = np.ones(n_samples)
    for t in range(n_frames - 1, -1, -1):
        for s in range(n_samples):
            lit = on[t, s] * after_on[s]
            unlit = dark[t, s] * after_dark[s] + bleached[t, s] * after_bleached[s]
            next_on = gamma[t, s] * after_on[s]
            gamma[t, s] = lit / (lit + unlit)
            before_on = ee * next_on + ed * after_dark[s]
            before_dark = de * next_on + dd * after_dark[s] + db * after_bleached[s]
            scale = 1.0 / (before_on + before_dark + after_bleached[s])
            after_on[s] = before_on * scale
            after_dark[s] = before_dark * scale
            after_bleached[s] *= scale


@kernel
def moments(
    log_ratio: F64, slope: F64, bend: F64, matrix: F64, start: F64, first: F64, second: F64
) -> None:
    """Mean of u = Σ_on u_t and of u uᵀ + Σ_on h_t over the posterior of the states.

    Parameters
    ----------
    log_ratio : ndarray, (S, T)
        ℓ_t of each sample.
    slope, bend : ndarray, (S, T, P) and (S, T, P, P)
        First and second derivatives u_t and h_t of ℓ_t by P parameters.
    first, second : ndarray, (S, P) and (S, P, P)
        Results.

    Notes
    -----
    The mean of u is the gradient g of ln P(movie | spot), and the mean of u uᵀ + Σ h is its Hessian
    plus g gᵀ (Louis 1982). The program estimates both from 1000 state sequences for each sample;
    here the sum over all sequences is exact, by the forward recursion of weight, first and second
    moment of each state.
    """
    n_samples, n_frames, p = slope.shape
    weight, mean, square = np.empty(3), np.empty((3, p)), np.empty((3, p, p))
    new_weight, new_mean, new_square = np.empty(3), np.empty((3, p)), np.empty((3, p, p))
    for s in range(n_samples):
        weight[:] = start
        mean[:] = 0.0
        square[:] = 0.0
        for t in range(n_frames):
            if t == 0:
                new_weight[:] = weight
                new_mean[:] = mean
                new_square[:] = square
            else:
                for j in range(3):
                    new_weight[j] = 0.0
                    new_mean[j] = 0.0
                    new_square[j] = 0.0
                    for i in range(3):
                        a = matrix[i, j]
                        if a > 0.0:
                            new_weight[j] += a * weight[i]
                            new_mean[j] += a * mean[i]
                            new_square[j] += a * square[i]
            ratio = math.exp(min(max(log_ratio[s, t], -MAX_LOG_RATIO), MAX_LOG_RATIO))
            w = new_weight[0]
            for a in range(p):
                u = slope[s, t, a]
                for b in range(p):
                    v = slope[s, t, b]
                    new_square[0, a, b] += (
                        u * new_mean[0, b] + new_mean[0, a] * v + w * (u * v + bend[s, t, a, b])
                    )
            for a in range(p):
                new_mean[0, a] += w * slope[s, t, a]
            scale = 1.0 / (w * ratio + new_weight[1] + new_weight[2])
            for j in range(3):
                factor = scale * (ratio if j == 0 else 1.0)
                weight[j] = factor * new_weight[j]
                mean[j] = factor * new_mean[j]
                square[j] = factor * new_square[j]
        first[s] = mean[0] + mean[1] + mean[2]
        second[s] = square[0] + square[1] + square[2]
