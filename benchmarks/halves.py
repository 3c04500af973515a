"""Agreement of odd and even frames, reconstructed apart, beside Richardson–Lucy as sharp.

    python benchmarks/halves.py [--movie MOVIE.tif --pixel-size 160 --roi 60 60 60 60]

Without a movie, six simulated ones of 60×60×200 (×8: 480×480) are taken, with seeds of their own.
Both halves get seeds of their own too. Smooth images always agree better than sharp ones, so every
method stands beside Richardson–Lucy of the same halves, iterated until its image is as sharp.
Sharpness is measured on single images, without the other half, in three ways:

    rms    root mean square spatial frequency of the power spectrum
    90 %   frequency below which 90 % of the power lies
    cut    cut-off frequency by decorrelation analysis

Figures of Richardson–Lucy are interpolated between iteration counts, in the logarithm of the
sharpness; its resolutions are those of the nearest count. The PSF is measured from each half.

On simulations two more columns tell how true the halves are: correlation of each with the emitters
at 2 px, and the resolution up to which it is true, where its ring correlation with the emitters
falls below √(1/7), as it would with a noiseless image of the same signal-to-noise ratio.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, Reconstruction
from dlbi.evaluation.decorrelation import decorrelation
from dlbi.evaluation.halves import BLURS_PX, score_halves
from dlbi.evaluation.reprojection import correlation
from dlbi.evaluation.ring_correlation import TRUTH_THRESHOLD, ring_correlation
from dlbi.evaluation.rings import rings_of, spectrum
from dlbi.io.stacks import load_stack
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.measurement import (
    deconvolve,
    measure,
    optics_of,
    projection_of,
    without_halo,
    without_margin,
)
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import preset
from dlbi.simulation.structures import draw

METHODS = ("bayes", "network", "dlbi")
ITERATIONS = [round(5 * 1.25**k) for k in range(25)]
SIMULATIONS = (
    ("meos3.2", "filaments"), ("meos3.2", "rings"), ("meos3.2", "chromatin"),
    ("camera", "filaments"), ("camera", "rings"), ("camera", "er"),
)  # fmt: skip
FIRST_SEED = 29_000
UPSCALING = 8
TRUTH_BLUR_PX = 2.0
RULES = ("rms", "90 %", "cut")


class Pair(NamedTuple):
    """Figures of two halves."""

    widths_nm: dict[str, float]
    correlations: list[float]
    frc_nm: float | None
    with_truth: list[float]
    true_nm: list[float | None]


def widths_nm(image: FloatImage, pixel_nm: float) -> dict[str, float]:
    """1 ÷ sharpness by each rule."""
    rings = rings_of(image.shape, pixel_nm)
    frequency, power = rings.frequency_per_nm[1:], rings.sum(np.abs(spectrum(image)) ** 2)[1:]
    share = power / power.sum()
    return {
        "rms": 1.0 / math.sqrt(float(share @ frequency**2)),
        "90 %": 1.0 / float(np.interp(0.9, share.cumsum(), frequency)),
        "cut": decorrelation(image, pixel_nm).resolution_nm or math.nan,
    }


def figures(images: list[FloatImage], grid: PixelGrid, truth: FloatImage | None) -> Pair:
    scores = score_halves(*(Reconstruction(image, grid) for image in images))
    widths = [widths_nm(image, grid.pixel_size_nm) for image in images]
    blurred = [] if truth is None else [gaussian_filter(i, TRUTH_BLUR_PX) for i in images]
    return Pair(
        {rule: math.sqrt(widths[0][rule] * widths[1][rule]) for rule in RULES},
        list(scores.correlations),
        scores.frc.resolution_nm,
        [correlation(b, gaussian_filter(truth, TRUTH_BLUR_PX)) for b in blurred],
        [] if truth is None else [true_to_nm(i, truth, grid.pixel_size_nm) for i in images],
    )


def true_to_nm(image: FloatImage, truth: FloatImage, pixel_nm: float) -> float | None:
    return ring_correlation(image, truth, pixel_nm, threshold=TRUTH_THRESHOLD).resolution_nm


def run(stack: ImageStack, truth: FloatImage | None, seed: int) -> dict[str, Pair]:
    """Figures of every method, and of Richardson–Lucy by number of iterations."""
    halves = [stack.select(slice(start, None, 2)) for start in (0, 1)]
    grid = stack.grid.refine(UPSCALING)
    found = {}
    for method in METHODS:
        images = [reconstruct(h, method=method, rng=seed + k).mean for k, h in enumerate(halves)]
        found[method] = figures(images, grid, truth)
    optics = [optics_of(half) for half in halves]
    movies = [without_halo(measure(h), o.halo) for h, o in zip(halves, optics, strict=True)]
    projections = [projection_of(h, o.psf, UPSCALING) for h, o in zip(halves, optics, strict=True)]
    for n in ITERATIONS:
        images = [
            without_margin(deconvolve(movie, projection, n_iterations=n), projection)
            for movie, projection in zip(movies, projections, strict=True)
        ]
        found[f"rl {n}"] = figures(images, grid, truth)
    return found


def as_sharp(found: dict[str, Pair], method: str, rule: str) -> tuple[str, Pair] | None:
    """Richardson–Lucy as sharp as a method, between two iteration counts; None if out of reach."""
    wanted = math.log(found[method].widths_nm[rule])
    names = [f"rl {n}" for n in ITERATIONS]
    widths = np.log([found[name].widths_nm[rule] for name in names])
    for k in range(1, len(names)):
        if widths[k] <= wanted <= widths[k - 1]:
            share = (widths[k - 1] - wanted) / (widths[k - 1] - widths[k])
            a, b = found[names[k - 1]], found[names[k]]
            mixed = [
                ((1 - share) * np.array(x) + share * np.array(y)).tolist()
                for x, y in ((a.correlations, b.correlations), (a.with_truth, b.with_truth))
            ]
            n = round(ITERATIONS[k - 1] ** (1 - share) * ITERATIONS[k] ** share)
            nearest = b if share > 0.5 else a
            widths_nm = {**nearest.widths_nm, rule: math.exp(wanted)}
            at = nearest._replace(widths_nm=widths_nm, correlations=mixed[0], with_truth=mixed[1])
            return f"rl, {n} iterations", at
    return None


def simulated(regime: str, family: str) -> tuple[ImageStack, FloatImage, int]:
    seed = FIRST_SEED + crc32(f"{regime} {family}".encode()) % 1000
    structure = draw(family, PixelGrid((480, 480), 20.0), np.random.default_rng(seed))
    movie = simulate(structure, preset(regime, np.random.default_rng(seed + 1)), rng=seed)
    return movie.stack, movie.truth(UPSCALING).density, seed


def nm(length: float | None) -> str:
    return "none" if length is None else f"{length:.0f}"


def row(name: str, title: str, pair: Pair, rule: str) -> str:
    cells = [f"{c:.3f}" for c in pair.correlations]
    cells += [nm(pair.frc_nm)]
    cells += [" / ".join(f"{c:.3f}" for c in pair.with_truth) or "–"]
    cells += [" / ".join(map(nm, pair.true_nm)) or "–"]
    return f"| {name} | {title} | {pair.widths_nm[rule]:.0f} | " + " | ".join(cells) + " |"


def table(results: dict[str, dict[str, Pair]], rule: str) -> None:
    columns = ["movie", "method", f"1 ÷ {rule}, nm", *(f"{b} px" for b in BLURS_PX)]
    columns += ["FRC 1/7, nm", "with truth, 2 px", "true to, nm"]
    print("\n| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for name, found in results.items():
        for method in METHODS:
            print(row(name, method, found[method], rule))
            match as_sharp(found, method, rule):
                case (title, pair):
                    print(row(name, title, pair, rule))
                case None:
                    last = f"rl {ITERATIONS[-1]}"
                    print(row(name, f"{last}, not as sharp", found[last], rule))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--movie", type=Path)
    parser.add_argument("--pixel-size", type=float)
    parser.add_argument("--roi", type=int, nargs=4)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", DlbiWarning)
    results: dict[str, dict[str, Pair]] = {}
    if options.movie:
        stack = load_stack(options.movie, pixel_size_nm=options.pixel_size)
        stack = stack.select(roi=tuple(options.roi) if options.roi else None)
        results[options.movie.stem] = run(stack, None, FIRST_SEED)
    else:
        for regime, family in SIMULATIONS:
            results[f"{regime} {family}"] = run(*simulated(regime, family))
            print(f"{regime} {family} done", flush=True)
    for rule in RULES:
        table(results, rule)
    if options.out:
        plain = {k: {n: p._asdict() for n, p in found.items()} for k, found in results.items()}
        options.out.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
