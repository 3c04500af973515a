"""What is gained by taking off the halo of the PSF, and what is lost where there is none?

    python benchmarks/halo.py [--scenes …] [--seed 95000] [--workers 2] [--out results.json]

Movies of 60×60×200 (×8), each of nine structure families under five scenes, on none of which
anything was tuned: the mEos3.2 camera with no halo, with 20 % and with 40 % of the light in one
(spread by 2.8 camera pixels), random cameras, of which half have emitters that blink out of focus
and none a halo, and random cameras with a halo and an EM register that smears charge. Each is
reconstructed three times:

- ignored: PSF measured as if there were no halo;
- measured: what `reconstruct` does;
- known: true PSF and halo.

Printed is the correlation with the true fluorophores and with the structure, after a blur of 2 fine
pixels.
"""

from __future__ import annotations

import argparse
import json
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.optics import Halo
from dlbi.core.rng import derived_seed
from dlbi.evaluation.image import score_truth
from dlbi.inference.measurement import psf
from dlbi.reconstruction.options import Options
from dlbi.reconstruction.pipeline import reconstruct_given
from dlbi.reconstruction.scoping import Given
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import camera, meos32
from dlbi.simulation.scene import Scene
from dlbi.simulation.structures import draw
from dlbi.training.scenes import tailed

PIXEL_NM, UPSCALING, SIDE_PX = 160.0, 8, 60
SPREAD_PX = 2.8
FAMILIES = ("filaments", "bundles", "line_pairs", "rings", "mesh", "er", "mitochondria",
            "chromatin", "star")  # fmt: skip
SCENES = ("no halo", "20 %", "40 %", "random cameras", "random with halo")
METHODS = ("rl", "bayes", "network", "dlbi")
WAYS = ("ignored", "measured", "known")


def scene(name: str, seed: int) -> Scene:
    match name:
        case "random cameras":
            return camera(seed)
        case "random with halo":
            return tailed(seed)
    share = {"no halo": 0.0, "20 %": 0.2, "40 %": 0.4}[name]
    scope = replace(meos32().microscope, halo=Halo(share, SPREAD_PX * PIXEL_NM))
    return replace(meos32(), microscope=scope)


def film(name: str, family: str, seed: int) -> SimulatedMovie:
    side = SIDE_PX * UPSCALING
    grid = PixelGrid((side, side), PIXEL_NM / UPSCALING)
    structure = draw(family, grid, derived_seed(seed, family, "structure"))
    return simulate(
        structure, scene(name, derived_seed(seed, family, "scene")),
        rng=derived_seed(seed, family, "movie"),
    )  # fmt: skip


def without_a_look() -> AbstractContextManager[Any]:
    """Measurements as if no microscope had a halo."""
    return patch.object(psf, "estimate_halo", lambda covariance: None)


def examine(case: tuple[str, str], seed: int) -> dict[str, Any]:
    name, family = case
    movie = film(name, family, seed)
    scope = movie.scene.microscope
    given = {
        "ignored": Given(halo=Halo()), "measured": Given(),
        "known": Given(psf=scope.psf, halo=scope.halo),
    }  # fmt: skip
    scores: dict[str, dict[str, list[float]]] = {}
    found: dict[str, float] = {}
    for way in WAYS:
        scores[way] = {}
        for method in METHODS:
            with warnings.catch_warnings(), without_a_look() if way == "ignored" else nullcontext():
                warnings.simplefilter("ignore", DlbiWarning)
                sr = reconstruct_given(movie.stack, given[way], Options(method), seed=seed)
            truths = movie.emitters, movie.truth_density(UPSCALING)
            scores[way][method] = [score_truth(sr, t).image.corr_2px for t in truths]
        found[f"{way} width"] = sr.provenance["psf"]["fwhm_nm"] / scope.psf.fwhm_nm
        found[f"{way} share"] = sr.provenance["halo"]["share"]
    return {"scene": name, "family": family, "true share": scope.halo.share, **found,
            "scores": scores}  # fmt: skip


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| scene | width ÷ true, ignored → measured | halo found | method | ignored | measured | "
        "known |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["scene"] for r in results):
        own = [r for r in results if r["scene"] == name]
        before, now = (np.mean([r[f"{w} width"] for r in own]) for w in WAYS[:2])
        shares = [r["measured share"] for r in own]
        n_found = sum(share > 0 for share in shares)
        told = f"{before:.3f} → {now:.3f} | {n_found} of {len(own)}, {np.mean(shares):.2f}"
        for method in METHODS:
            cells = [
                " / ".join(
                    f"{np.mean([r['scores'][way][method][k] for r in own]):.3f}" for k in (0, 1)
                )
                for way in WAYS
            ]
            lines.append(f"| {name} | {told} | `{method}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", nargs="+", default=SCENES, choices=SCENES)
    parser.add_argument("--seed", type=int, default=95_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = [(name, family) for name in options.scenes for family in FAMILIES]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as workers:
        results = list(workers.map(partial(examine, seed=options.seed), cases))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
