"""The guided Bayesian reconstruction of a movie (paper 2.3): guide, sampler, posterior."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlbi.core.images import FloatImage
from dlbi.core.grid import PixelGrid
from dlbi.inference.posterior import PosteriorMaps
from dlbi.inference.sampler import Prior, Sampler

MAX_EMITTERS_PER_PX = 8000 / 3600


@dataclass(frozen=True, slots=True)
class Sweeps:
    total: int = 60
    burn_in: int = 20
    beta: float = 0.5


def run(movie, weight, *, factor, margin_px, prior, sigma_px, seed, sweeps=Sweeps(), n_workers=1,
        learn=True, expand=True, progress=None, bg=True, weights="count"):
    sampler = Sampler(movie, weight, factor=factor, margin_px=margin_px, prior=prior, sigma_px=sigma_px, beta=sweeps.beta, seed=seed)
    sampler.initialise()
    h, w = movie.shape[1:]
    m = margin_px * factor
    maps = PosteriorMaps(PixelGrid((h * factor, w * factor), 1.0))
    off = sampler.pad_px
    trace = []
    ex = ThreadPoolExecutor(n_workers) if n_workers > 1 else None
    for k in range(sweeps.total):
        sampler.sweep(decide=k >= 1, executor=ex, n_workers=n_workers)
        if bg: sampler.update_background(4.0)
        sampler.update_noise()
        if learn and k >= 3: sampler.update_chain()
        live = np.flatnonzero(sampler.alive)
        trace.append(live.size)
        if k >= sweeps.burn_in:
            fy = (sampler.y[live] - off + 0.5) * factor - 0.5
            fx = (sampler.x[live] - off + 0.5) * factor - 0.5
            wt = np.ones(live.size) if weights == "count" else sampler.flux[live] * sampler.on[live].mean(axis=1)
            maps.add(fy, fx, wt)
    return sampler, maps, trace
