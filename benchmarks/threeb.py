"""Time of one outer iteration of the 3B baseline, on one core, beside the original program.

    OMP_NUM_THREADS=1 python benchmarks/threeb.py [MOVIE] [--pixel-size 160] [--roi X,Y,W,H]

Without a movie, one is simulated: filaments of mEos3.2, 30×30×200, so 90 first spots. The
program's 520 CPU seconds for one outer iteration (4 passes and 10 tries) of that size were measured
on another day with another movie; they are quoted, not repeated. Both times depend on the movie,
through the number of gradient evaluations.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.inference.threeb.model import Model
from dlbi.inference.threeb.options import ThreeBOptions
from dlbi.inference.threeb.preprocessing import preprocess
from dlbi.inference.threeb.spots import priors_of
from dlbi.io.stacks import load_stack
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import meos32
from dlbi.simulation.structures import draw

SEED = 33_000
N_FRAMES = 200
PROGRAM_SECONDS = 520.0
PROGRAM_GRADIENTS = 89


def simulated(side: int) -> ImageStack:
    structure = draw("filaments", PixelGrid((8 * side, 8 * side), 20.0), SEED)
    return simulate(structure, meos32(), n_frames=N_FRAMES, rng=SEED).stack


def model_of(stack: ImageStack, fwhm_nm: float) -> Model:
    sigma_px = GaussianPSF(fwhm_nm).sigma_px(stack.grid.pixel_size_nm)
    return Model(preprocess(stack.load()), priors_of(sigma_px), ThreeBOptions(), SEED)


def iterate(model: Model, iteration: int) -> tuple[float, float]:
    """CPU seconds of the passes and of the tries of one outer iteration."""
    start = time.process_time()
    for n in range(model.options.passes):
        model.optimise(iteration, n)
    middle = time.process_time()
    for n in range(model.options.tries):
        model.try_size(iteration, n)
    return middle - start, time.process_time() - middle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("movie", nargs="?")
    parser.add_argument("--pixel-size", type=float, default=160.0)
    parser.add_argument("--psf-fwhm", type=float, default=300.0)
    parser.add_argument("--roi", default="0,0,30,30")
    parser.add_argument("--side", type=int, default=30, help="of the simulated movie")
    parser.add_argument("--iterations", type=int, default=3)
    options = parser.parse_args()
    if options.movie is None:
        stack = simulated(options.side)
    else:
        whole = load_stack(options.movie, pixel_size_nm=options.pixel_size)
        x, y, w, h = map(int, options.roi.split(","))
        stack = whole.select(slice(0, min(N_FRAMES, whole.n_frames)), (x, y, w, h))
    small = simulated(8)
    iterate(model_of(small, options.psf_fwhm), 0)  # compiles
    model = model_of(stack, options.psf_fwhm)
    height, width = stack.grid.shape
    print(f"{width}×{height}×{stack.n_frames}, {len(model.spots)} spots")
    print("| iteration | passes / s | tries / s | spots | gradients a visit | gradients a try |")
    print("|---|---|---|---|---|---|")
    seconds = []
    for n in range(options.iterations):
        counts = model.counts
        visits, in_passes, in_tries = (
            counts.visits, counts.pass_evaluations, counts.try_evaluations
        )  # fmt: skip
        passes, tries = iterate(model, n)
        seconds.append(passes + tries)
        visit = (counts.pass_evaluations - in_passes) / max(1, counts.visits - visits)
        attempt = (counts.try_evaluations - in_tries) / max(1, model.options.tries)
        print(
            f"| {n + 1} | {passes:.2f} | {tries:.2f} | {len(model.spots)} | {visit:.0f} "
            f"| {attempt:.0f} |",
            flush=True,
        )
    mean = float(np.mean(seconds))
    print(
        f"\n{mean:.2f} CPU s an outer iteration; the original program took {PROGRAM_SECONDS:.0f} "
        f"on 30×30×200 with 90 spots (quoted; {PROGRAM_GRADIENTS} gradients a visit)"
    )
    if (height, width, stack.n_frames) == (30, 30, N_FRAMES):
        print(f"ratio {PROGRAM_SECONDS / mean:.0f}")


if __name__ == "__main__":
    main()
