"""How well `dlbi calibrate` rediscovers the parameters of simulated movies.

    python benchmarks/rediscovery.py [--movies 100] [--side 60] [--frames 200] [--out results.json]

Half of the movies are random cameras (`presets.camera`: haze, labels that never blink, blinking
out of focus, drift, changing lamp), half are plain scenes (`presets.custom`) with kinetics,
brightness, PSF, bleaching and camera drawn over the ranges that the table states. Seeds are apart
from those that the error model was tuned on.

The table tells for each parameter the range of the truth, and for identified figures the median
relative error, the median bias (absolute for the memory and P5) and how often the 95 % interval
holds the truth; then how often it does so over all movies, where an unidentified figure counts with
the interval of its prior.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.scope import Origin, Scope
from dlbi.inference.kinetics.expectation import Kinetics
from dlbi.reconstruction.calibration import calibrate
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import camera, custom, peak_share
from dlbi.simulation.scene import Scene
from dlbi.simulation.structures import draw

FIRST_SEED = 70_000
KINDS = (
    "filaments", "bundles", "mesh", "er", "rings", "points", "asters", "domains", "mitochondria",
    "chromatin",
)  # fmt: skip
UPSCALING = 8
FINE_NM = 20.0
ORIGINS = get_args(Origin)
ABSOLUTE = ("memory", "dark_to_bleached", "bleached_share")


def log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def plain_scene(rng: np.random.Generator, area_px: int) -> Scene:
    """A scene without what the model leaves out: light that is static, out of focus or moving."""
    device = camera(rng).microscope.camera
    off, on = float(rng.uniform(0.25, 0.95)), log_uniform(0.01, 0.4, rng)
    fwhm_px = float(rng.uniform(1.7, 3.4))
    dark = np.sqrt(device.variance_adu(np.zeros(1))[0]) / device.adu_per_photon
    photons = log_uniform(0.5, 8.0, rng) * max(float(dark), 1.0) / peak_share(fwhm_px)
    return custom(
        n_emitters=log_uniform(0.2, 2.5, rng) * area_px,
        photons=photons,
        camera=device,
        fwhm_nm=fwhm_px * FINE_NM * UPSCALING,
        emitting_to_dark=off,
        dark_to_emitting=on,
        bleaching=log_uniform(3e-4, 0.015, rng) if rng.random() < 0.5 else 0.0,
        brightness_cv=float(rng.uniform(0.05, 0.6)),
        background_factor=float(rng.uniform(0.0, 0.5)),
    )


def truths(movie: SimulatedMovie, scope: Scope) -> dict[str, float]:
    """The figures of a `Scope` as the simulation has them."""
    microscope, n_frames = movie.scene.microscope, movie.n_frames
    device, chain = microscope.camera, microscope.blinking
    excess = 2.0 if device.em_gain > 1.0 else 1.0
    gain = excess * device.adu_per_electron * device.em_gain if device.shot_noise else 0.0
    rounding = 0.0 if device.bits is None else 1.0 / 12.0
    read = (device.adu_per_electron * device.read_noise_e) ** 2 + rounding
    kinetics = Kinetics(
        *(
            np.array([v])
            for v in (1.0, chain.emitting_to_dark, chain.dark_to_emitting, chain.dark_to_bleached)
        ),
        log_sd=np.zeros(1),
        blinking_share=np.ones(1),
        trend=np.zeros(1),
        coarseness=np.ones(1),
    )
    emitters = movie.emitters
    core = 1.0 - microscope.halo.share
    light = core * float((emitters.photons * emitters.frames_on).sum()) / n_frames
    light /= float(np.prod(movie.grid.shape))
    names = ("emitting_to_emitting", "emitting_to_dark", "dark_to_emitting", "dark_to_dark",
             "dark_to_bleached")  # fmt: skip
    table = chain.table
    return {
        "psf_fwhm_nm": microscope.psf.fwhm_nm,
        "psf_halo": microscope.halo.share,
        "gain": gain,
        "noise_variance": read + gain * (scope.level - device.offset_adu),
        "noise_correlation": 0.0,
        "background": scope.level - light,
        "light": light,
        **dict(zip(names, table, strict=True)),
        "memory": table[0] - table[2],
        "bleached_share": float(kinetics.bleached_share(n_frames)[0]),
        "flux": core * microscope.photons.mean * device.adu_per_photon,
        "light_cv": microscope.photons.cv,
        "n_emitters": float(emitters.x_nm.size),
    }


def examine(seed: int, side: int, n_frames: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    random_camera = seed % 2 == 0
    scene = camera(rng) if random_camera else plain_scene(rng, side**2)
    kind = KINDS[seed // 2 % len(KINDS)]
    structure = draw(kind, PixelGrid((side * UPSCALING,) * 2, FINE_NM), rng)
    movie = simulate(structure, scene, n_frames=n_frames, upscaling=UPSCALING, rng=seed)
    start = time.perf_counter()
    scope = calibrate(movie.stack, rng=seed)
    seconds = time.perf_counter() - start
    truth = truths(movie, scope)
    rows = {
        name: [truth[name], e.value, e.low, e.high, ORIGINS.index(e.origin)]
        for name, e in scope.estimates()
        if name in truth
    }
    scenery = "random camera" if random_camera else "plain"
    return {"seed": seed, "kind": kind, "scene": scenery, "seconds": seconds, "rows": rows}


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| figure | truth from … to | identified | bounded | error | bias | coverage | all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in results[0]["rows"]:
        rows = np.array([r["rows"][name] for r in results], np.float64)
        truth, value, low, high = rows[:, :4].T
        known, bounded = rows[:, 4] == 0, rows[:, 4] == 1
        # A simulated gain of 0 is no case of a relative error.
        relative = name not in ABSOLUTE
        error = value - truth
        if relative:
            with np.errstate(divide="ignore", invalid="ignore"):
                error = np.where(truth > 0, error / truth, np.nan)
        tolerance = 1e-9 * np.maximum(np.abs(truth), 1e-12)
        held = (low - tolerance <= truth) & (truth <= high + tolerance)
        used = error[known & np.isfinite(error)]
        if relative:
            spread = f"{100 * np.median(np.abs(used)):.1f} %" if used.size else "–"
            bias = f"{100 * np.median(used):+.1f} %" if used.size else "–"
        else:
            spread = f"{np.sqrt(np.mean(used**2)):.2g}" if used.size else "–"
            bias = f"{np.mean(used):+.2g}" if used.size else "–"
        coverage = f"{held[known].sum()}/{known.sum()}" if known.any() else "–"
        lines.append(
            f"| `{name}` | {truth.min():.3g} … {truth.max():.3g} | {100 * known.mean():.0f} % | "
            f"{100 * bounded.mean():.0f} % | "
            f"{spread} | {bias} | {coverage} | {100 * held.mean():.0f} % |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--movies", type=int, default=100)
    parser.add_argument("--side", type=int, default=60)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = []
    for seed in range(options.first_seed, options.first_seed + options.movies):
        results.append(examine(seed, options.side, options.frames))
        if options.out:
            options.out.write_text(json.dumps(results), encoding="utf-8")
    seconds = np.array([r["seconds"] for r in results])
    print(
        f"{options.movies} movies of {options.side}×{options.side}×{options.frames}, "
        f"{np.median(seconds):.1f} s each"
    )
    for scenery in ("plain", "random camera"):
        chosen = [r for r in results if r["scene"] == scenery]
        print(f"\n{scenery}, {len(chosen)} movies\n\n{table(chosen)}")
    print(f"\nall\n\n{table(results)}")


if __name__ == "__main__":
    main()
