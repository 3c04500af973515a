"""Speed of the factorial-HMM sampler: against the target, its NumPy reference and two threads.

python benchmarks/sampler.py [--emitters 5000] [--sweeps 60] [--scaling 60x60 337x263]
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.hmm.chain import filter_reference, sample_reference
from dlbi.inference.hmm.sampler import Prior, Sampler
from dlbi.inference.hmm.sweep import log_ratio_reference
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


def scaling(width: int, height: int, n_pairs: int) -> tuple[float, float, bool]:
    """Median ratio of the wall time of one and of two workers, its least, and whether bits agree.

    Whole reconstructions with `bayes`, in pairs that alternate, so that a machine that others use
    disturbs both alike.
    """
    structure = draw("filaments", PixelGrid((8 * height, 8 * width), 20.0), 2)
    stack = simulate(structure, meos32(), n_frames=200, rng=2).stack
    ratios, alike = [], True
    for _ in range(n_pairs):
        seconds, images = [], []
        for n_workers in (1, 2):
            start = time.perf_counter()
            result = reconstruct(stack, method="bayes", rng=2, n_workers=n_workers)
            seconds.append(time.perf_counter() - start)
            images.append(result.mean)
        ratios.append(seconds[0] / seconds[1])
        alike &= np.array_equal(*images)
    return float(np.median(ratios)), min(ratios), alike


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
        median, least, alike = scaling(*map(int, field.split("x")), options.pairs)
        print(
            f"{field}×200, bayes, two workers: {median:.2f}× faster (median of {options.pairs} "
            f"pairs, least {least:.2f}), {'same bits' if alike else 'DIFFERENT BITS'}"
        )


if __name__ == "__main__":
    main()
