"""Posterior draws of a few parameters by an ensemble of walkers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

STRETCH = 2.0
JITTER = 1e-3
THINNING = 10


def sample_ensemble(
    log_density: Callable[[F64], F64],
    start: F64,
    rng: np.random.Generator,
    *,
    n_steps: int,
    n_kept: int,
) -> F64:
    """Draws from a density known up to a factor.

    Parameters
    ----------
    log_density : callable
        (n, d) → (n,).
    start : ndarray, (n_walkers, d)
        An even number of walkers.
    rng : Generator
    n_steps, n_kept : int
        Steps of every walker, and how many of the last ones are kept, thinned by 10.

    Returns
    -------
    ndarray, (n_kept / 10 · n_walkers, d)

    Notes
    -----
    The two halves of the ensemble move in turn, by stretches towards a walker of the other half
    or, every fourth step, along the difference of two of them, so the moves follow the shape of
    the density in any units.

    References
    ----------
    J. Goodman, J. Weare, Comm. Appl. Math. Comp. Sci. 5, 65 (2010), doi:10.2140/camcos.2010.5.65;
    C. ter Braak, Statistics and Computing 16, 239 (2006), doi:10.1007/s11222-006-8769-1
    """
    walkers = start.copy()
    n, d = walkers.shape
    half = n // 2
    current = log_density(walkers)
    kept = []
    for step in range(n_steps):
        for moving, resting in ((slice(0, half), slice(half, n)), (slice(half, n), slice(0, half))):
            here, others = walkers[moving], walkers[resting]
            first, second = others[rng.integers(0, len(others), (2, len(here)))]
            if step % 4 == 3:
                length = 1.0 if step % 20 == 19 else 2.38 / np.sqrt(2.0 * d)
                jitter = JITTER * rng.standard_normal(here.shape)
                proposal = here + length * (first - second) + jitter
                log_factor = np.zeros(len(here))
            else:
                stretch = ((STRETCH - 1.0) * rng.random(len(here)) + 1.0) ** 2 / STRETCH
                proposal = first + stretch[:, None] * (here - first)
                log_factor = (d - 1) * np.log(stretch)
            proposed = log_density(proposal)
            odds = log_factor + proposed - current[moving]
            accepted = np.log(rng.random(len(here))) < odds
            walkers[moving] = np.where(accepted[:, None], proposal, here)
            current[moving] = np.where(accepted, proposed, current[moving])
        if step >= n_steps - n_kept and (n_steps - 1 - step) % THINNING == 0:
            kept.append(walkers.copy())
    return np.concatenate(kept)
