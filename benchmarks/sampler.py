"""Speed of the factorial-HMM sampler: against the target, its NumPy reference and two threads.

python benchmarks/sampler.py [--emitters 5000] [--sweeps 60]
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.background import estimate_background
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.fhmm import log_ratio_reference
from dlbi.inference.hmm import filter_reference, sample_reference
from dlbi.inference.noise import fit_noise
from dlbi.inference.sampler import Prior, Sampler
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--emitters", type=int, default=5000)
    parser.add_argument("--sweeps", type=int, default=60)
    options = parser.parse_args()
    timed(options.emitters, 2, 2)
    wall, cpu, visits = timed(options.emitters, options.sweeps, 1)
    print(
        f"60×60×200, {visits / options.sweeps:.0f} live emitters, {options.sweeps} sweeps: "
        f"{wall:.2f} s wall, {cpu:.2f} s CPU; {1e6 * cpu / visits:.1f} µs per live emitter, "
        "candidates and globals included (target: 5 s)"
    )
    reference = reference_visit(options.emitters)
    print(
        f"NumPy reference, evidence and path of one emitter only: {1e6 * reference:.0f} µs, "
        f"ratio ≥ {reference * visits / cpu:.0f}"
    )
    wall_2, cpu_2, _ = timed(options.emitters, options.sweeps, 2)
    print(f"two threads: {wall_2:.2f} s wall, {cpu_2:.2f} s CPU, {wall / wall_2:.2f}× faster")


if __name__ == "__main__":
    main()
