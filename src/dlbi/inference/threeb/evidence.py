"""Evidence of a set of spots: their states summed out by thermodynamic integration."""

from __future__ import annotations

import math

import numpy as np

from dlbi.core.kernels import F64, kernel, mix
from dlbi.inference.threeb.options import START
from dlbi.inference.threeb.sampling import MATRIX, System, new_scratch, sweep

GROWTH = 1.25
GROWTH_EXPONENT = 100.0
"""The noise deviation grows by 1.25¹⁰⁰ ≈ 5·10⁹ in all."""

TAIL_NATS = 1e-3
"""Where the rest of the integral is below this, the last squared error stands for all that follow:
hot samples differ by some per cent, so the result keeps to 10⁻⁴ nats."""


def growth_weights(n_steps: int) -> tuple[F64, F64]:
    """Noise variances of the sweeps, and what each squared error counts in ln Z.

    Notes
    -----
    σ_i = 1.25^(100 i/n); the sweep of step i is at σ_{i−1}. With E_i = −SSD_i/2σ², the five-point
    stencil of −dE_i/di is w_i SSD_i. The constant −(PT/2) ln 2πσ² falls out of the sum exactly.
    """
    steps = np.arange(-2, n_steps + 2)
    inverse = -0.5 * GROWTH ** (-2 * GROWTH_EXPONENT / n_steps * steps)
    weights = (-inverse[:-4] + 8 * inverse[1:-3] - 8 * inverse[3:-1] + inverse[4:]) / 12
    return np.asarray(-0.5 / inverse[1:-3]), np.asarray(weights)


@kernel
def slow_growth(
    key: np.uint64, system: System, square: float, variance: float, burn_in: int,
    variances: F64, weights: F64, matrix: F64, start: F64,
) -> float:  # fmt: skip
    """Σ_i w_i SSD_i along one run from cold to hot.

    Parameters
    ----------
    key : uint64
    system : System
    square : float
        Σ D² over the movie.
    variance : float
        Noise variance.
    burn_in : int
        Sweeps at the first temperature before the run.
    variances, weights : ndarray, (n,)
        From `growth_weights`, in units of `variance`.

    Notes
    -----
    SSD = Σ D² − Σ_kt z_kt (Σ_p m_k D_t + Σ_p m_k r_t), with the residual r.
    """
    n_spots, n_frames = system.drive.shape
    rest = np.empty(weights.size + 1)
    rest[-1] = 0.0
    for i in range(weights.size - 1, -1, -1):
        rest[i] = rest[i + 1] + weights[i]
    on = np.zeros((n_spots, n_frames), np.float32)
    field = system.drive.copy()
    work = new_scratch(n_frames)
    total = 0.0
    for n in range(burn_in + weights.size):
        i = max(0, n - burn_in)
        sweep(
            mix(key, np.uint64(n)), system, variance * variances[i], matrix, start, on, field, work
        )
        if n < burn_in:
            continue
        explained = 0.0
        for k in range(n_spots):
            for t in range(n_frames):
                explained += np.float64(on[k, t]) * (system.drive[k, t] + field[k, t])
        error = (square - explained) / variance
        if abs(rest[i]) * error < TAIL_NATS:
            return float(total + rest[i] * error)
        total += weights[i] * error
    return total


def log_evidence(
    key: np.uint64, system: System, *, square: float, variance: float, n_pixels: int,
    n_steps: int, burn_in: int = 0,
) -> float:  # fmt: skip
    """Estimate of ln Σ_z P(movie, states z | spots).

    Parameters
    ----------
    key : uint64
        Key of the random numbers.
    system : System
    square : float
        Σ D² over the movie.
    variance : float
    n_pixels : int
        Pixels of a frame.
    n_steps : int
    burn_in : int

    Notes
    -----
    A single sample stands for each temperature and the sampler starts cold, with all spots
    bleached, so the estimate is noisy (some 10 nats on 30×30×200 pixels with 90 spots) and biased.
    Since the stencil's sum over i = 0 … n − 1 is an integral from −½ on, it belongs to a noise
    deviation of 1.25^(−50/n), 1.1 % too small with 1000 steps. Both are the program's.

    References
    ----------
    Neal 1993, Probabilistic inference using Markov chain Monte Carlo methods, section 6.2.
    """
    variances, weights = growth_weights(n_steps)
    integral = slow_growth(
        key, system, square, variance, burn_in, variances, weights, MATRIX, START
    )
    n_values = n_pixels * system.drive.shape[1]
    constant = 0.5 * n_values * math.log(2 * math.pi * variance)
    return float(integral - constant)
