"""Time and memory of each method on simulated movies of 200 frames, on one core.

    OMP_NUM_THREADS=1 python benchmarks/speed.py [--fields 60x60] [--methods rl dlbi]

Every method runs in a process of its own, once to compile and load, then as often as asked; the
fastest run counts. Seconds are compared with Richardson–Lucy of the same run. The PSF is measured
from the movie, as a user's program does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
import warnings

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.reconstruction import METHODS, reconstruct
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import meos32
from dlbi.simulation.structures import draw

SEED = 31_000
N_FRAMES = 200


def movie(width: int, height: int) -> ImageStack:
    structure = draw("filaments", PixelGrid((8 * height, 8 * width), 20.0), SEED)
    return simulate(structure, meos32(), n_frames=N_FRAMES, rng=SEED).stack


def measure(method: str, field: tuple[int, int], repeats: int) -> tuple[float, float]:
    """Seconds of the fastest run, and peak memory of the process in GB."""
    warnings.simplefilter("ignore")
    stack = movie(*field)
    reconstruct(movie(24, 24), method=method, rng=SEED)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        reconstruct(stack, method=method, rng=SEED)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(np.min(seconds)), peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", nargs="+", default=["60x60", "337x263"])
    parser.add_argument("--methods", nargs="+", default=["rl", "network", "bayes", "dlbi"])
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    unknown = sorted(set(options.methods) - set(METHODS))
    if unknown:
        parser.error(f"no method is called {unknown[0]!r}; choose of {', '.join(METHODS)}")
    print("| field | method | seconds | ÷ rl | peak memory / GB |\n|---|---|---|---|---|")
    spawn = multiprocessing.get_context("spawn")
    for name in options.fields:
        width, height = map(int, name.split("x"))
        first = float("nan")
        for method in ["rl", *(m for m in options.methods if m != "rl")]:
            with spawn.Pool(1) as process:
                job = (method, (width, height), options.repeats)
                seconds, peak = process.apply(measure, job)
            if method == "rl":
                first = seconds
            ratio = seconds / first
            print(f"| {name} | {method} | {seconds:.2f} | {ratio:.1f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
