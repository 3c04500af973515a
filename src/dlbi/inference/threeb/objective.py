"""What a spot is optimised for: its likelihood with the states summed out, over background samples.

F(φ) = (1/S) Σ_s ln P(D | background s, φ) + ln p(B) + ln p(s). Only derivatives are ever needed.
"""

from __future__ import annotations

import math

import numpy as np

from dlbi.core.kernels import F32, F64, kernel
from dlbi.inference.threeb.blinking import log_evidence_reference, moments, smooth
from dlbi.inference.threeb.options import START
from dlbi.inference.threeb.sampling import MATRIX
from dlbi.inference.threeb.spots import (
    BRIGHTNESS,
    RADIUS,
    Priors,
    Profiles,
    X,
    Y,
    derivatives,
    profiles_of,
    window_of,
)

FAR = 37.0
"""Two spots at d² > FAR · (s₁² + s₂²) overlap by less than 10⁻⁸ of their norms."""


@kernel
def likelihood_gradient(
    spot: F64, dimensions: int, data: F64, variance: float, others: Profiles, states: F32,
    matrix: F64, start: F64, out: F64,
) -> None:  # fmt: skip
    """Gradient of (1/S) Σ_s ln P(D | background s, φ) by (B, s, x, y) into `out` (4,).

    Parameters
    ----------
    spot : ndarray, (4,)
        φ.
    data : ndarray, (Y, X, T)
    variance : float
    others : Profiles
        The other N spots.
    states : ndarray, (N, T, S), float32
        Their sampled states, which make the backgrounds.

    Notes
    -----
    ∇F = Σ_p ∇m_p e_p / v with e_p = (1/S) Σ_ts γ_ts (D_tp − b_tsp − m_p) and γ the posterior
    probability of emitting: the same as differentiating the forward recursion. The backgrounds b
    are never formed; they enter through overlaps of spots, each a product of two sums along the
    axes.
    """
    height, width, n_frames = data.shape
    n_others, n_samples = others.peak.size, states.shape[2]
    b, radius, x, y = spot[0], spot[1], spot[2], spot[3]
    peak = b / (radius * math.sqrt(2.0 * math.pi)) ** dimensions
    top, bottom = window_of(y, radius, height)
    left, right = window_of(x, radius, width)
    rows, columns = np.empty(bottom - top), np.empty(right - left)
    for i in range(rows.size):
        rows[i] = math.exp(-0.5 * ((top + i - y) / radius) ** 2)
    for j in range(columns.size):
        columns[j] = math.exp(-0.5 * ((left + j - x) / radius) ** 2)

    own = peak * peak * (rows * rows).sum() * (columns * columns).sum()
    matched = np.full(n_frames, -0.5 * own)
    for i in range(rows.size):
        for j in range(columns.size):
            weight = peak * rows[i] * columns[j]
            for t in range(n_frames):
                matched[t] += weight * data[top + i, left + j, t]
    log_ratio = np.empty((n_frames, n_samples))
    for t in range(n_frames):
        log_ratio[t] = matched[t]
    # Moments along each axis of this spot with spot n: Σ g g_n (x_p − x)^0, 1, 2.
    near = np.empty(n_others + 1, np.int64)
    along_y, along_x = np.zeros((n_others + 1, 3)), np.zeros((n_others + 1, 3))
    n_near = 0
    for n in range(n_others):
        distance = (others.spots[n, 2] - x) ** 2 + (others.spots[n, 3] - y) ** 2
        if distance > FAR * (others.spots[n, 1] ** 2 + radius**2):
            continue
        for i in range(rows.size):
            g, d = rows[i] * others.rows[n, top + i], top + i - y
            along_y[n_near, 0] += g
            along_y[n_near, 1] += g * d
            along_y[n_near, 2] += g * d * d
        for j in range(columns.size):
            g, d = columns[j] * others.columns[n, left + j], left + j - x
            along_x[n_near, 0] += g
            along_x[n_near, 1] += g * d
            along_x[n_near, 2] += g * d * d
        near[n_near] = n
        overlap = peak * others.peak[n] * along_y[n_near, 0] * along_x[n_near, 0]
        n_near += 1
        for t in range(n_frames):
            for s in range(n_samples):
                log_ratio[t, s] -= overlap * np.float64(states[n, t, s])
    log_ratio *= 1.0 / variance

    gamma = np.empty((n_frames, n_samples))
    smooth(log_ratio, matrix, start, np.empty((3, n_frames, n_samples)), gamma)
    mean_gamma = np.empty(n_frames)
    total = 0.0
    for t in range(n_frames):
        mean_gamma[t] = gamma[t].sum() / n_samples
        total += mean_gamma[t]

    # Σ_p m_p e_p times 1, (x_p − x), (y_p − y), r².
    sum_m, sum_x, sum_y, sum_r2 = 0.0, 0.0, 0.0, 0.0
    for i in range(rows.size):
        for j in range(columns.size):
            lit = 0.0
            for t in range(n_frames):
                lit += mean_gamma[t] * data[top + i, left + j, t]
            lit *= peak * rows[i] * columns[j]
            dy, dx = top + i - y, left + j - x
            sum_m += lit
            sum_x += lit * dx
            sum_y += lit * dy
            sum_r2 += lit * (dx * dx + dy * dy)
    for k in range(n_near + 1):
        if k < n_near:
            n = near[k]
            together = 0.0
            for t in range(n_frames):
                for s in range(n_samples):
                    together += gamma[t, s] * np.float64(states[n, t, s])
            lit = peak * others.peak[n] * together / n_samples
        else:
            for i in range(rows.size):
                g, d = rows[i] * rows[i], top + i - y
                along_y[k, 0] += g
                along_y[k, 1] += g * d
                along_y[k, 2] += g * d * d
            for j in range(columns.size):
                g, d = columns[j] * columns[j], left + j - x
                along_x[k, 0] += g
                along_x[k, 1] += g * d
                along_x[k, 2] += g * d * d
            lit = peak * peak * total
        sum_m -= lit * along_y[k, 0] * along_x[k, 0]
        sum_x -= lit * along_y[k, 0] * along_x[k, 1]
        sum_y -= lit * along_y[k, 1] * along_x[k, 0]
        sum_r2 -= lit * (along_y[k, 2] * along_x[k, 0] + along_y[k, 0] * along_x[k, 2])
    s2 = radius * radius
    out[0] = sum_m / b / variance
    out[1] = -(dimensions * sum_m - sum_r2 / s2) / radius / variance
    out[2] = sum_x / s2 / variance
    out[3] = sum_y / s2 / variance


class Objective:
    """The function that one spot is optimised for, through its derivatives.

    Parameters
    ----------
    data : ndarray, (Y, X, T)
        Preprocessed movie.
    variance : float
        Its noise variance.
    others : Profiles
        All other spots.
    states : ndarray, (N, T, S), float32
        Sampled states of those.
    priors : Priors
    """

    def __init__(
        self, data: F64, variance: float, others: Profiles, states: F32, priors: Priors
    ) -> None:
        self.data, self.variance = data, variance
        self.others, self.states, self.priors = others, states, priors
        self.evaluations = 0

    def downhill(self, spot: F64) -> F64:
        """Gradient of −F by (B, s, x, y); NaN where B or s is not positive."""
        self.evaluations += 1
        out = np.full(4, np.nan)
        if spot[BRIGHTNESS] > 0 and spot[RADIUS] > 0:
            likelihood_gradient(
                spot, self.priors.dimensions, self.data, self.variance, self.others, self.states,
                MATRIX, START, out,
            )  # fmt: skip
            out = -(out + self.priors.slope(spot))
        return out

    def curvature(self, spot: F64) -> F64:
        """H = E[Hz + uz uzᵀ] − E[uz] E[uz]ᵀ + prior over all samples, (4, 4).

        Notes
        -----
        uz and Hz are the sums of the first and second derivatives of ℓ_t over the emitting frames.
        The mean over the state sequences of each sample is exact (`moments`); the program draws
        1000 of them.
        """
        ratio, slope, bend = frame_derivatives(
            spot, self.priors.dimensions, self.data, self.variance, self.others, self.states
        )
        n_samples = len(ratio)
        first, second = np.empty((n_samples, 4)), np.empty((n_samples, 4, 4))
        moments(ratio, slope, bend, MATRIX, START, first, second)
        mean = first.mean(axis=0)
        return np.asarray(second.mean(axis=0) - np.outer(mean, mean) + self.priors.curvature(spot))


def frame_derivatives(
    spot: F64, dimensions: int, data: F64, variance: float, others: Profiles, states: F32
) -> tuple[F64, F64, F64]:
    """ℓ of each sample and frame with its first and second derivatives by (B, s, x, y).

    Returns
    -------
    ratio : ndarray, (S, T)
    slope : ndarray, (S, T, 4)
    bend : ndarray, (S, T, 4, 4)

    Notes
    -----
    ℓ = Σ_p [m (D − b) − ½ m²]/v; u = Σ_p (D − b − m) ∂m/v; h = Σ_p [(D − b − m) ∂²m − ∂m ∂mᵀ]/v.
    """
    top, bottom = window_of(float(spot[Y]), float(spot[RADIUS]), data.shape[0])
    left, right = window_of(float(spot[X]), float(spot[RADIUS]), data.shape[1])
    window = np.s_[top:bottom, left:right]
    image, first, second = derivatives(
        spot, np.arange(top, bottom, dtype=float), np.arange(left, right, dtype=float), dimensions
    )
    images = np.concatenate([image[None], first, second.reshape(16, *image.shape)])
    flat = images.reshape(21, -1)
    seen = np.einsum("ip,pt->it", flat, data[window].reshape(flat.shape[1], data.shape[2]))
    near = np.flatnonzero(
        ((others.spots[:, [X, Y]] - spot[[X, Y]]) ** 2).sum(axis=1)
        <= FAR * (others.spots[:, RADIUS] ** 2 + spot[RADIUS] ** 2)
    )
    across = np.einsum("iyx,ny->inx", images, others.rows[near, top:bottom])
    overlap = np.einsum("inx,nx->in", across, others.columns[near, left:right])
    overlap *= others.peak[near]
    light = np.zeros((21, states.shape[1], states.shape[2]))
    for n, k in enumerate(near):
        light += overlap[:, n, None, None] * states[k]
    products = np.einsum("ip,jp->ij", flat, flat[:5])
    residual = ((seen - products[:, :1])[:, :, None] - light).transpose(2, 1, 0)
    bend = residual[..., 5:].reshape(*residual.shape[:2], 4, 4) - products[1:5, 1:5]
    ratio = residual[..., 0] + 0.5 * products[0, 0]
    return ratio / variance, residual[..., 1:5] / variance, bend / variance


def log_likelihood_reference(
    spot: F64, dimensions: int, data: F64, variance: float, background: F64, matrix: F64, start: F64
) -> float:
    """ln P(D | background, φ) − ln P(D | background) over all pixels, states summed out.

    `background` is (Y, X, T). The reference whose derivatives the functions above compute.
    """
    height, width, _ = data.shape
    image = profiles_of(spot[None], (height, width), dimensions)
    m = image.peak[0] * np.outer(image.rows[0], image.columns[0])[:, :, None]
    residual = data - background
    ratio = (residual**2 - (residual - m) ** 2).sum(axis=(0, 1)) / (2 * variance)
    return log_evidence_reference(ratio, matrix, start)
