"""Whether the uncertainty of `network`, `dlbi` and `bayes` holds on held-out simulations.

    python benchmarks/confidence.py [--regimes camera] [--families er] [--out results.json]

Each movie is 60×60×200 (×8: 480×480), of a structure family and a regime, with seeds that no
constant of the package was tuned on; the last three families were never trained on either. Methods
run as for a user, with the PSF measured from the movie.

- Empty pixels: truth is the light of the structure after a blur of 1 fine pixel; up to 5 % of its
  peak a pixel is empty (`dlbi.training.pairs`). Of the pixels with p ≤ 0.05, no more than 5 %
  should be empty. "Found" is the share of the other pixels, the structure, that has p ≤ 0.05.
- Standard deviation: ten groups of rising `std`. Error is image − truth, in percent of the true
  peak; its root mean square should equal `std`, so the slope through the origin should be 1, and
  68 % of the errors should be smaller than their `std`. Twice: of all pixels, and of those with
  structure, true or drawn. The second choice knows the truth: its pixels of least `std` are those
  where structure was missed, and no honest statement can follow that selection.
- `--regimes R H B S` takes the regimes of `benchmarks/regimes.py` besides.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import regimes
from dlbi.bench.experiments.families import FAMILIES
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage, ImageStack
from dlbi.learning.confidence import discovery_table
from dlbi.learning.network import Network, load_network
from dlbi.reconstruction import reconstruct
from dlbi.training.pairs import (
    MARGIN_PX,
    STRUCTURE_SHARE,
    TARGET_SIGMA_PX,
    simulate_experiment,
    true_light,
)
from dlbi.training.scenes import REGIMES

METHODS = ("network", "dlbi", "bayes")
FIRST_SEED = 29_000
FIELD_PX, N_FRAMES = 60, 200
LEVELS = (0.01, 0.05, 0.1, 0.2)
FOUND_LEVEL = 0.05
N_GROUPS = 10


class Pixels(NamedTuple):
    """The fine pixels of some movies, (n,); light in units of the true peak of each movie."""

    p_value: NDArray[np.float32]
    empty: NDArray[np.bool_]
    shown: NDArray[np.float32]
    std: NDArray[np.float32]
    truth: NDArray[np.float32]


def film(regime: str, family: str, seed: int) -> tuple[ImageStack, FloatImage]:
    """A movie and the true light of its structure, counts."""
    experiment, movie = simulate_experiment(
        seed, field_px=FIELD_PX, n_frames=(N_FRAMES, N_FRAMES),
        families={family: 1.0}, regimes={regime: 1.0},
    )  # fmt: skip
    stack = movie.select(roi=(MARGIN_PX, MARGIN_PX, FIELD_PX, FIELD_PX))
    return stack, true_light(movie, experiment)


def regime_film(regime: str, family: str, seed: int) -> tuple[ImageStack, FloatImage]:
    """The same of a regime of `benchmarks/regimes.py`."""
    movie = regimes.film(regime, family, seed)
    light = float(movie.emitters.photons @ movie.emitters.frames_on) / movie.n_frames
    density = gaussian_filter(movie.density.density, TARGET_SIGMA_PX, mode="nearest")
    return movie.stack, density * np.float32(light / density.sum(dtype=np.float64))


def run(regime: str, family: str, methods: list[str], model: Network | None) -> dict[str, Pixels]:
    seed = FIRST_SEED + crc32(f"{regime} {family}".encode()) % 1000
    make = regime_film if regime in regimes.REGIMES else film
    stack, light = make(regime, family, seed)
    peak = light.max()
    found = {}
    for method in methods:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DlbiWarning)
            result = reconstruct(stack, method=method, model=model, rng=seed)
        found[method] = Pixels(
            result.p_value.ravel(),
            (light <= STRUCTURE_SHARE * peak).ravel(),
            *((image / peak).ravel() for image in (result.mean, result.std, light)),
        )
    return found


def joined(movies: list[Pixels]) -> Pixels:
    return Pixels(*(np.concatenate(values) for values in zip(*movies, strict=True)))


def discoveries(pixels: Pixels) -> dict[str, Any]:
    """Share and number of empty pixels up to each level of p, and how much is found."""
    rows = discovery_table(pixels.p_value, pixels.empty, LEVELS)
    return {
        "empty": {f"{r.stated:g}": r.observed if r.n_pixels else None for r in rows},
        "n_pixels": {f"{r.stated:g}": r.n_pixels for r in rows},
        "found": float((pixels.p_value[~pixels.empty] <= FOUND_LEVEL).mean()),
    }


def deviations(pixels: Pixels) -> dict[str, Any]:
    """Stated against actual deviation, of pixels with structure and of all."""
    counted = ~pixels.empty | (pixels.shown > STRUCTURE_SHARE)
    return {"structure": deviations_of(pixels, counted), "all": deviations_of(pixels, ...)}


def deviations_of(pixels: Pixels, counted: Any) -> dict[str, Any]:
    std = pixels.std[counted].astype(np.float64)
    error = pixels.shown[counted].astype(np.float64) - pixels.truth[counted]
    groups = np.array_split(np.argsort(std, kind="stable"), N_GROUPS)
    stated = np.array([np.sqrt(np.mean(std[g] ** 2)) for g in groups])
    actual = np.array([np.sqrt(np.mean(error[g] ** 2)) for g in groups])
    within = [float(np.mean(np.abs(error[g]) <= std[g])) for g in groups]
    return {
        "stated": stated.tolist(),
        "actual": actual.tolist(),
        "within_one_std": within,
        "slope": float(stated @ actual / (stated @ stated)),
        "within_one_std_in_all": float(np.mean(np.abs(error) <= std)),
        "bias": float(error.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--regimes", nargs="+", default=list(REGIMES))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--model", type=Path, help="network; the one of the package if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = load_network(options.model)
    movies: dict[str, dict[str, dict[str, Pixels]]] = {m: {} for m in options.methods}
    for regime in options.regimes:
        for family in options.families:
            start = time.perf_counter()
            found = run(regime, family, options.methods, model)
            for method, pixels in found.items():
                movies[method].setdefault(regime, {})[family] = pixels
            line = "  ".join(
                f"{method} {shown(discoveries(pixels)['empty'][f'{FOUND_LEVEL:g}'])}"
                for method, pixels in found.items()
            )
            print(
                f"{regime:8s} {family:12s} {time.perf_counter() - start:5.1f} s  {line}", flush=True
            )
    results = {method: summaries(by_regime) for method, by_regime in movies.items()}
    table(results)
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


def summaries(movies: dict[str, dict[str, Pixels]]) -> dict[str, dict[str, Any]]:
    """What holds in each regime, in each family and in all."""
    families = list(next(iter(movies.values())))
    blocks = {regime: list(found.values()) for regime, found in movies.items()}
    blocks |= {f: [found[f] for found in movies.values()] for f in families}
    blocks["all"] = [pixels for found in movies.values() for pixels in found.values()]
    return {
        title: discoveries(pixels) | {"std": deviations(pixels)}
        for title, pixels in ((title, joined(block)) for title, block in blocks.items())
    }


def shown(share: float | None) -> str:
    return "–" if share is None else f"{share:.3f}"


def table(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    print("\n| movies | method | " + " | ".join(f"empty of p ≤ {v:g}" for v in LEVELS), end="")
    print(f" | found at {FOUND_LEVEL:g} | slope, structure | slope, all | within one std |")
    print("|---" * (len(LEVELS) + 6) + "|")
    for title in next(iter(results.values())):
        for method, blocks in results.items():
            block = blocks[title]
            empty = " | ".join(shown(share) for share in block["empty"].values())
            print(
                f"| {title} | {method} | {empty} | {block['found']:.2f} | "
                f"{block['std']['structure']['slope']:.2f} | {block['std']['all']['slope']:.2f} | "
                f"{block['std']['structure']['within_one_std_in_all']:.2f} |"
            )
    print("\n| method | pixels | | " + " | ".join(f"group {n + 1}" for n in range(N_GROUPS)) + " |")
    print("|---" * (N_GROUPS + 3) + "|")
    for method, blocks in results.items():
        for pixels, std in blocks["all"]["std"].items():
            for row, digits in (("stated", ".1%"), ("actual", ".1%"), ("within_one_std", ".2f")):
                values = " | ".join(f"{v:{digits}}" for v in std[row])
                print(f"| {method} | {pixels} | {row.replace('_', ' ')} | {values} |")


if __name__ == "__main__":
    main()
