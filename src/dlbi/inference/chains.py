"""Several chains of the sampler side by side, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.images import FloatImage
from dlbi.core.rng import derived_seed
from dlbi.inference.posterior import PosteriorMaps
from dlbi.inference.refinement import Refinement

Progress = Callable[[int, int], None]


class Chain(Protocol):
    """One chain; `refine` with all but these given."""

    def __call__(self, *, seed: int, n_workers: int, progress: Progress) -> Refinement:
        """Sample it with a number of threads, which does not change the result."""


@dataclass(frozen=True, slots=True)
class Chains:
    """Posterior from all chains.

    Parameters
    ----------
    density, std, p_empty : ndarray, fine grid of the field
        `PosteriorMaps.joint`.
    emitters : Emitters
        Last sweep of the first chain: a sample of the posterior, not a mean of several.
    diagnostics : dict
        Those of each chain, and of two or more ``r_hat_median`` and ``r_hat_95``: median and 95 %
        quantile over the bright camera pixels.
    """

    density: FloatImage
    std: FloatImage
    p_empty: FloatImage
    emitters: Emitters
    diagnostics: dict[str, Any]


def run_chains(
    chain: Chain, n_chains: int, *, seed: int, n_workers: int = 1, progress: Progress | None = None
) -> Chains:
    """Run chains of different seeds and join them.

    Parameters
    ----------
    chain : callable
    n_chains : int
    seed : int
        The result depends on it only.
    n_workers : int
        Threads; chains share them.
    progress : callable, optional
        Called with (done, total) sweeps of all chains.
    """
    seeds = [seed, *(derived_seed(seed, "chain", n) for n in range(1, n_chains))]
    at_once = min(n_workers, n_chains)
    reports = _Reports(n_chains, progress)

    def run(n: int) -> Refinement:
        threads = max(1, n_workers // at_once)
        return chain(seed=seeds[n], n_workers=threads, progress=reports.of(n))

    if at_once == 1:
        found = [run(n) for n in range(n_chains)]
    else:
        with ThreadPoolExecutor(at_once) as pool:
            found = list(pool.map(run, range(n_chains)))
    maps = [result.maps for result in found]
    density, std, p_empty = PosteriorMaps.joint(maps)
    diagnostics: dict[str, Any] = {"chains": [result.diagnostics() for result in found]}
    if n_chains > 1:
        r_hat = PosteriorMaps.r_hat(maps)
        if r_hat.size:
            diagnostics["r_hat_median"] = float(np.median(r_hat))
            diagnostics["r_hat_95"] = float(np.quantile(r_hat, 0.95))
    return Chains(density, std, p_empty, found[0].emitters, diagnostics)


class _Reports:
    """Sums the progress of chains that run at the same time."""

    def __init__(self, n_chains: int, progress: Progress | None) -> None:
        self._done = [0] * n_chains
        self._progress = progress
        self._lock = Lock()

    def of(self, n: int) -> Progress:
        def report(done: int, total: int) -> None:
            with self._lock:
                self._done[n] = done
                if self._progress is not None:
                    self._progress(sum(self._done), total * len(self._done))

        return report
