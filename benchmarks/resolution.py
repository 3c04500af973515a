"""Smallest distance at which each method still separates two lines.

    python benchmarks/resolution.py [--spacings 60 80 100] [--methods rl dlbi] [--out results.json]

Each movie is 64×64×200 (×8: 512×512) and shows straight lines of one spacing: 8 pairs, 4 ladders of
4 lines and, as a control, 4 filled bands as wide and as bright as a pair
(`dlbi.simulation.line_groups`). What counts as resolved stands in `dlbi.evaluation.line_spacing`: a
valley below 0.8 of the peaks, as in Rayleigh's criterion. A method resolves a spacing if it
resolves most of the pairs. A band that looks resolved is made up.

`rl` gets the true PSF; the other methods measure it from the movie, as for a user.
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
from dlbi.core.images import FloatImage
from dlbi.core.lines import LineGroup
from dlbi.evaluation.line_spacing import resolved_spacing, share_resolved, valley_ratio
from dlbi.learning.network import Network, load_network
from dlbi.reconstruction import reconstruct
from dlbi.simulation.line_groups import draw_groups, place_groups
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import preset

SPACINGS_NM = (60, 80, 100, 120, 140, 160, 190, 220, 260, 320)
METHODS = ("mean", "rl", "bayes", "network", "dlbi")
LEARNED = ("network", "dlbi")
KINDS = {"pair": "pairs resolved", "ladder": "ladders resolved", "band": "bands taken for pairs"}
SCENES = ("meos3.2", "paper")
FIRST_SEED = 27_000
GRID = PixelGrid((512, 512), 20.0)


def film(scene: str, groups: list[LineGroup], seed: int) -> SimulatedMovie:
    # One experiment for all spacings, so that they can be compared.
    experiment = preset(scene, np.random.default_rng(FIRST_SEED))
    return simulate(draw_groups(groups, GRID), experiment, rng=seed)


def measured(image: FloatImage, groups: list[LineGroup]) -> dict[str, list[float]]:
    """Valley ÷ peak of every group, by kind."""
    return {k: [valley_ratio(image, GRID, g) for g in groups if g.kind == k] for k in KINDS}


def run(
    scene: str, spacing_nm: float, methods: list[str], model: Network | None
) -> dict[str, dict[str, list[float]]]:
    """Valley ÷ peak by method; "truth" is the drawing itself."""
    seed = FIRST_SEED + crc32(f"{scene} {spacing_nm:g}".encode()) % 1000
    groups = place_groups(GRID, spacing_nm, seed)
    movie = film(scene, groups, seed)
    found = {"truth": measured(movie.truth_density(8).density, groups)}
    for method in methods:
        psf = movie.scene.microscope.psf if method == "rl" else None
        network = model if method in LEARNED else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DlbiWarning)
            result = reconstruct(movie.stack, method=method, psf=psf, model=network, rng=seed)
        found[method] = measured(result.mean, groups)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--spacings", nargs="+", type=float, default=list(SPACINGS_NM))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--scenes", nargs="+", default=list(SCENES))
    parser.add_argument("--model", type=Path, help="network; the one of the package if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = load_network(options.model) if options.model else None
    results: dict[str, dict[float, dict[str, dict[str, list[float]]]]] = {}
    for scene in options.scenes:
        results[scene] = {}
        for spacing in options.spacings:
            start = time.perf_counter()
            results[scene][spacing] = run(scene, spacing, options.methods, model)
            line = "  ".join(
                f"{method} {np.median(found['pair']):.2f}"
                for method, found in results[scene][spacing].items()
            )
            print(
                f"{scene:8s} {spacing:4.0f} nm {time.perf_counter() - start:5.1f} s  {line}",
                flush=True,
            )
    table(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


def table(results: dict[str, dict[float, dict[str, dict[str, list[float]]]]]) -> None:
    spacings = sorted(next(iter(results.values())))
    for kind, title in KINDS.items():
        print(f"\n| scene | {title} | " + " | ".join(f"{s:g} nm" for s in spacings), end=" |")
        print(" all from |" if kind != "band" else "")
        print("|---" * (len(spacings) + (3 if kind != "band" else 2)) + "|")
        for scene, by_spacing in results.items():
            for method in by_spacing[spacings[0]]:
                shares = {s: share_resolved(by_spacing[s][method][kind]) for s in spacings}
                row = " | ".join(f"{share:.0%}" for share in shares.values())
                limit = resolved_spacing(shares)
                said = f" {'none' if limit is None else f'{limit:g} nm'} |"
                print(f"| {scene} | {method} | {row} |" + (said if kind != "band" else ""))


if __name__ == "__main__":
    main()
