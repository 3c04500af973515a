"""Fidelity of every method on held-out simulations.

    python benchmarks/fidelity.py [--regimes paper camera meos3.2 dense] [--out results.json]

Each movie is 60×60×200 (×8: 480×480), of a structure family and a regime, with seeds that no
constant of the package was tuned on; the last three families were never trained on either. Rows:
the upscaled mean, Richardson–Lucy with the true PSF, `bayes`, `network` and `dlbi` as a user runs
them, with the PSF measured from the movie. Correlations are with the true fluorophores at a fine
pixel and after a blur of 2 and 4; PSNR and SSIM (Wang settings) with the true density after the
best non-negative scale.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from zlib import crc32

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.evaluation.image import score_truth
from dlbi.reconstruction import reconstruct
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import preset
from dlbi.simulation.structures import draw

FAMILIES = (
    "filaments", "bundles", "er", "rings", "mesh", "line_pairs",
    "mitochondria", "chromatin", "star",
)  # fmt: skip
REGIMES = ("paper", "camera", "meos3.2", "dense")
FIRST_SEED = 23_000
COLUMNS = ("corr 0 px", "corr 2 px", "corr 4 px", "PSNR / dB", "SSIM")
DIGITS = (3, 3, 3, 2, 3)


def scores(image: object, counts: StructureImage, density: StructureImage) -> list[float]:
    by_count, by_density = score_truth(image, counts).image, score_truth(image, density).image
    return [
        by_count.corr_0px, by_count.corr_2px, by_count.corr_4px,
        by_density.psnr_ls_db, by_density.ssim_ls,
    ]  # fmt: skip


def run(regime: str, family: str, seed: int) -> dict[str, list[float]]:
    grid = PixelGrid((480, 480), 20.0)
    structure = draw(family, grid, np.random.default_rng(seed))
    movie = simulate(structure, preset(regime, np.random.default_rng(seed + 1)), rng=seed)
    counts, density = movie.truth(8), movie.truth_density(8)
    rows = {}
    for name, options in {
        "mean": {"method": "mean"},
        "rl, true PSF": {"method": "rl", "psf": movie.scene.microscope.psf},
        "bayes": {"method": "bayes"},
        "network": {"method": "network"},
        "dlbi": {"method": "dlbi"},
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DlbiWarning)
            rows[name] = scores(reconstruct(movie.stack, rng=seed, **options), counts, density)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, list[float]]]] = {}
    for regime in options.regimes:
        results[regime] = {}
        for family in options.families:
            start = time.perf_counter()
            rows = run(regime, family, FIRST_SEED + crc32(f"{regime} {family}".encode()) % 1000)
            results[regime][family] = rows
            line = "  ".join(f"{k} " + "/".join(f"{v:.3f}" for v in s) for k, s in rows.items())
            print(
                f"{regime:8s} {family:10s} {time.perf_counter() - start:5.1f} s  {line}", flush=True
            )
    table(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


def table(results: dict[str, dict[str, dict[str, list[float]]]]) -> None:
    methods = list(next(iter(next(iter(results.values())).values())))
    families = list(next(iter(results.values())))
    print("\n| movies | method | " + " | ".join(COLUMNS) + " |")
    print("|---|---" + "|---" * len(COLUMNS) + "|")
    blocks = [(k, list(v.values())) for k, v in results.items()]
    blocks += [(f, [v[f] for v in results.values()]) for f in families]
    blocks.append(("all", [m for v in results.values() for m in v.values()]))
    for title, movies in blocks:
        for method in methods:
            mean = np.mean([m[method] for m in movies], axis=0)
            numbers = " | ".join(f"{v:.{d}f}" for v, d in zip(mean, DIGITS, strict=True))
            print(f"| {title} | {method} | {numbers} |")


if __name__ == "__main__":
    main()
