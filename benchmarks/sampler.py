"""Speed of the factorial-HMM sampler: against the target, its NumPy reference and two threads.

    python benchmarks/sampler.py [--emitters 5000] [--sweeps 60] [--scaling 60x60 337x263]

Cores share caches and memory, so two of them may do less than twice the work of one. What the
machine allows is measured beside two workers: two processes of one worker that share nothing.
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.hmm.chain import filter_reference, sample_reference
from dlbi.inference.hmm.emission import log_ratio_reference
from dlbi.inference.hmm.sampler import Prior, Sampler
from dlbi.inference.measurement.background import estimate_background
from dlbi.inference.measurement.noise import fit_noise
from dlbi.reconstruction import reconstruct
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom, meos32
from dlbi.simulation.structures import draw

REFERENCE_VISITS = 200


def sampler_of(n_emitters: int, seed: int) -> Sampler:
    structure = draw("filaments", PixelGrid((480, 480), 20.0), np.random.default_rng(seed))
    scene = custom(n_emitters=n_emitters, peak_to_noise=1.0)
    movie = simulate(structure, scene, rng=seed)
    stack, microscope = movie.stack, movie.scene.microscope
    mean, noise = stack.mean(), fit_noise(stack)
    variance = noise.variance(mean)
    background = estimate_background(stack, mean, variance / np.float32(stack.n_frames))
    projection = Projection(stack.grid.pad(4).refine(8), stack.grid, microscope.psf)
    density = richardson_lucy(mean, background.haze, projection, n_iterations=100)
    prior = Prior(
        intensity=density * np.float32(n_emitters / density.sum()),
        flux_mean=microscope.photons.mean,
        flux_sd=0.1 * microscope.photons.mean,
        light_cv=0.3,
        chain=BlinkingChain(0.79, 0.305, 0.0),
    )
    signal = stack.load() - background.trend[:, None, None] - background.haze
    return Sampler(signal, 1 / variance, projection=projection, prior=prior, beta=0.5, seed=seed)


def timed(n_emitters: int, n_sweeps: int, n_workers: int) -> tuple[float, float, int]:
    """Wall and CPU seconds of the sweeps, and the visits to live emitters."""
    sampler = sampler_of(n_emitters, seed=1)
    visits = 0
    with ThreadPoolExecutor(n_workers) as pool:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(n_sweeps):
            visits += sampler.live.size
            executor = pool if n_workers > 1 else None
            sampler.sweep(decide=True, executor=executor, n_workers=n_workers)
            sampler.update_background(4.0)
            sampler.update_noise()
            sampler.update_chain()
        return time.perf_counter() - wall, time.process_time() - cpu, visits


def reference_visit(n_emitters: int) -> float:
    """CPU seconds of one visit (evidence and path only) in plain NumPy."""
    sampler = sampler_of(n_emitters, seed=1)
    field, physics, slots = sampler.field, sampler.physics, sampler.slots
    u = np.random.default_rng(0).random(field.residual.shape[2])
    start = time.process_time()
    for s in sampler.live[:REFERENCE_VISITS]:
        ratio = log_ratio_reference(
            field.residual, field.weight, slots.y[s], slots.x[s], float(slots.flux[s]), physics
        )
        filtered = filter_reference(ratio, physics.matrix, physics.start)
        sample_reference(filtered.weights, physics.matrix, u)
    return (time.process_time() - start) / REFERENCE_VISITS


class Scaling(NamedTuple):
    """Wall time of one worker ÷ that of two, of each pair of runs, and what the machine allows."""

    ratios: list[float]
    apart: list[float]
    same_bits: bool


def scaling(width: int, height: int, n_pairs: int) -> Scaling:
    """Whole reconstructions with `bayes`, by one and by two workers and by two processes.

    In turns, so that a machine that others use disturbs all alike.
    """
    structure = draw("filaments", PixelGrid((8 * height, 8 * width), 20.0), 2)
    stack = simulate(structure, meos32(), n_frames=200, rng=2).stack
    found = Scaling([], [], True)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as apart:
        warm = ImageStack(stack.load()[:40, :24, :24], PixelGrid((24, 24), 160.0))
        list(apart.map(reconstructed, [warm] * 4, [1] * 4))
        for _ in range(n_pairs):
            (one, image), (two, other) = (reconstructed(stack, n) for n in (1, 2))
            start = time.perf_counter()
            list(apart.map(reconstructed, [stack] * 2, [1] * 2))
            found.ratios.append(one / two)
            found.apart.append(2.0 * one / (time.perf_counter() - start))
            found = found._replace(same_bits=found.same_bits and np.array_equal(image, other))
    return found


def reconstructed(stack: ImageStack, n_workers: int) -> tuple[float, FloatImage]:
    """Wall seconds, and the image."""
    start = time.perf_counter()
    image = reconstruct(stack, method="bayes", rng=2, n_workers=n_workers).mean
    return time.perf_counter() - start, image


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--emitters", type=int, default=5000)
    parser.add_argument("--sweeps", type=int, default=60)
    parser.add_argument("--scaling", nargs="*", default=["60x60"], help="fields, e.g. 337x263")
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    timed(options.emitters, 2, 1)
    wall, cpu, visits = timed(options.emitters, options.sweeps, 1)
    print(
        f"60×60×200, {visits / options.sweeps:.0f} live emitters, {options.sweeps} sweeps: "
        f"{wall:.2f} s wall, {cpu:.2f} s CPU; {1e6 * cpu / visits:.1f} µs per live emitter, "
        "candidates and globals included (target: 4 s)"
    )
    reference = reference_visit(options.emitters)
    print(
        f"NumPy reference, evidence and path of one emitter only: {1e6 * reference:.0f} µs, "
        f"ratio ≥ {reference * visits / cpu:.0f}"
    )
    for field in options.scaling:
        found = scaling(*map(int, field.split("x")), options.pairs)
        print(
            f"{field}×200, bayes, two workers: {np.median(found.ratios):.2f}× faster (median of "
            f"{options.pairs} pairs, {min(found.ratios):.2f} to {max(found.ratios):.2f}), "
            f"{'same bits' if found.same_bits else 'DIFFERENT BITS'}; two processes apart "
            f"{np.median(found.apart):.2f}× ({min(found.apart):.2f} to {max(found.apart):.2f})"
        )


if __name__ == "__main__":
    main()
