"""Several chains of the sampler side by side, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from threading import Lock
from typing import Any, Protocol

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.images import FloatImage
from dlbi.core.rng import derived_seed
from dlbi.inference.hmm.maps import PosteriorMaps
from dlbi.inference.hmm.refinement import Refinement, Schedule

PREVIEW_SWEEPS = 20
"""Sweeps of each chain from which on the image is worth looking at."""

CHECK_SWEEPS = 5
"""Sweeps between two comparisons of the chains."""

LEAST_RETAINED = 10
"""Sweeps that every chain keeps, however well chains agree: their standard deviation needs them."""

LARGE_R_HAT = 1.2
"""Median R-hat over the bright camera pixels above which chains have not come together."""

Progress = Callable[[int, int], None]


class Chain(Protocol):
    """What `MarkovChain` can do."""

    @property
    def maps(self) -> PosteriorMaps:
        """What the sweeps so far agree on."""

    def run(self, n_sweeps: int, *, n_workers: int, progress: Callable[[int], None]) -> None:
        """Sample until `n_sweeps` are made, with threads that do not change the result."""

    def result(self) -> Refinement:
        """What the retained sweeps tell."""


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
        ``n_sweeps`` made, whether agreement ``stopped`` them, and the diagnostics of each chain; of
        two or more the ``agreement`` after so many sweeps, and ``r_hat_median`` and ``r_hat_95``:
        median and 95 % quantile over the bright camera pixels.
    """

    density: FloatImage
    std: FloatImage
    p_empty: FloatImage
    emitters: Emitters
    diagnostics: dict[str, Any]


def run_chains(
    start: Callable[..., Chain],
    schedule: Schedule,
    *,
    seed: int,
    n_workers: int = 1,
    progress: Progress | None = None,
    on_preview: Callable[[], None] | None = None,
) -> Chains:
    """Run chains of different seeds side by side until they agree, and join them.

    Parameters
    ----------
    start : callable
        Makes a chain; called with ``seed``.
    schedule : Schedule
    seed : int
        The result depends on it only.
    n_workers : int
        Threads; chains share them.
    progress : callable, optional
        Called with (done, total) sweeps of all chains; jumps to the end where they stop early.
    on_preview : callable, optional
        Called once when every chain has made `PREVIEW_SWEEPS` and some of them are retained.

    Notes
    -----
    They agree when their images correlate to ``schedule.enough`` and differ no more than each of
    them varies (`LARGE_R_HAT`). A single chain cannot tell whether it has seen everything, so it
    always makes all its sweeps.
    """
    n_chains = schedule.n_chains
    seeds = [seed, *(derived_seed(seed, "chain", n) for n in range(1, n_chains))]
    at_once = min(n_workers, n_chains)
    reports = _Reports(n_chains, schedule.n_sweeps, progress)
    agreement: dict[int, float] = {}
    checkpoints = _checkpoints(schedule)

    def begin(one: int) -> Chain:
        return start(seed=one)

    def advance(n: int, n_sweeps: int) -> None:
        threads = n_workers // n_chains + (n < n_workers % n_chains)
        chains[n].run(n_sweeps, n_workers=max(threads, 1), progress=reports.of(n))

    with ThreadPoolExecutor(at_once) if at_once > 1 else nullcontext() as pool:
        each = map if pool is None else pool.map
        chains = list(each(begin, seeds))
        for done in checkpoints:
            list(each(advance, range(n_chains), repeat(done)))
            if done == checkpoints[0] and on_preview is not None:
                on_preview()
            if n_chains > 1:
                maps = [chain.maps for chain in chains]
                agreement[done] = PosteriorMaps.agreement(maps, each=each)
                retained = done - schedule.n_burn_in
                alike = retained >= LEAST_RETAINED and agreement[done] >= schedule.enough
                if alike and _r_hat(maps).get("r_hat_median", 1.0) <= LARGE_R_HAT:
                    break
    reports.end()
    return _joined(
        [chain.result() for chain in chains], done, agreement, stopped=done < schedule.n_sweeps
    )


def _checkpoints(schedule: Schedule) -> list[int]:
    """Numbers of sweeps after which the chains are looked at."""
    first = max(PREVIEW_SWEEPS, schedule.n_burn_in + CHECK_SWEEPS)
    return [*range(first, schedule.n_sweeps, CHECK_SWEEPS), schedule.n_sweeps]


def _r_hat(maps: list[PosteriorMaps]) -> dict[str, float]:
    """Median and 95 % quantile over the bright camera pixels; nothing if there are none."""
    r_hat = PosteriorMaps.r_hat(maps)
    if not r_hat.size:
        return {}
    return {
        "r_hat_median": float(np.median(r_hat)),
        "r_hat_95": float(np.quantile(r_hat, 0.95)),
    }


def _joined(
    found: list[Refinement], n_sweeps: int, agreement: dict[int, float], *, stopped: bool
) -> Chains:
    maps = [result.maps for result in found]
    density, std, p_empty = PosteriorMaps.joint(maps)
    diagnostics: dict[str, Any] = {
        "n_sweeps": n_sweeps,
        "stopped": stopped,
        "chains": [result.diagnostics() for result in found],
    }
    if len(found) > 1:
        diagnostics["agreement"] = {str(done): value for done, value in agreement.items()}
        diagnostics |= _r_hat(maps)
    return Chains(density, std, p_empty, found[0].emitters, diagnostics)


class _Reports:
    """Sums the progress of chains that run at the same time."""

    def __init__(self, n_chains: int, n_sweeps: int, progress: Progress | None) -> None:
        self._done = [0] * n_chains
        self._total = n_chains * n_sweeps
        self._progress = progress
        self._lock = Lock()

    def of(self, n: int) -> Callable[[int], None]:
        def report(done: int) -> None:
            with self._lock:
                self._done[n] = done
                if self._progress is not None:
                    self._progress(sum(self._done), self._total)

        return report

    def end(self) -> None:
        if self._progress is not None and sum(self._done) < self._total:
            self._progress(self._total, self._total)
