"""How often the checks of the report warn, with and without each fault.

    python benchmarks/artefacts.py [--only drift PSF] [--movies 36] [--out results.json]

Each base movie is of one of six structure families in one of six regimes (presets), cleared of
haze, drift, labels that never blink and light out of focus, with seeds apart from those that the
limits were chosen on. Every fault is then put in alone, at several strengths:

- drift: linear, in a random direction, in nm over the movie;
- background: haze of a smoothness of 8 camera pixels, in units of the mean blinking light;
- edge: a cluster of 240 nm within 2 camera pixels of the border, in units of the bright parts;
- PSF: a given width that is wrong by a factor;
- saturation: the brightest share of all values is clipped;
- pixels: one camera pixel is brighter in every frame, in units of the bright parts;
- field: this share of the field, a strip along one side, is set to 0;
- frames: this share of the frames, the last ones, are set to 0;
- light: no fluorophores, so that background and noise are all there is;
- chains: sweeps of each of the two chains of `bayes` (a third of the movies, since it takes long).

The table tells how many of the movies a check warned of, or noted, and of how many it could not
tell. The strength without a fault comes first: what is counted there is a false alarm.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.artefacts.finding import Finding, Severity
from dlbi.artefacts.movie import (
    bright_level,
    check_background,
    check_drift,
    check_edge,
    check_field,
    check_frames,
    check_light,
    check_pixels,
    check_psf,
    check_saturation,
)
from dlbi.artefacts.record import check_record
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, StructureImage
from dlbi.evaluation.drift import estimate_drift
from dlbi.evaluation.saturation import find_saturation
from dlbi.inference.hmm.refinement import Schedule
from dlbi.inference.measurement.gaps import find_gaps
from dlbi.inference.measurement.psf import estimate_psf
from dlbi.reconstruction import QUALITIES, reconstruct
from dlbi.reconstruction.measurement import measure
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import preset
from dlbi.simulation.scene import Scene
from dlbi.simulation.structures import draw

FAMILIES = ("filaments", "bundles", "er", "rings", "mesh", "star")
REGIMES = ("meos3.2", "camera", "sparse", "dense", "bleaching", "paper")
FIRST_SEED = 31_000
PRESET_AREA_PX = 60**2
FINE = 8

Base = tuple[StructureImage, Scene, np.random.Generator, int]
Check = Callable[[Base, float, int], Finding]


def base(number: int, side: int) -> Base:
    seed = FIRST_SEED + number
    rng = np.random.default_rng(seed)
    family = FAMILIES[number // len(REGIMES) % len(FAMILIES)]
    structure = draw(family, PixelGrid((side * FINE,) * 2, 20.0), rng)
    scene = preset(REGIMES[number % len(REGIMES)], rng)
    if scene.labelling.n_emitters is not None:
        n = scene.labelling.n_emitters * side**2 / PRESET_AREA_PX
        scene = replace(scene, labelling=replace(scene.labelling, n_emitters=n))
    clean = replace(scene, haze=0.0, non_blinking=0.0, out_of_focus=0.0, drift_nm=(0.0, 0.0))
    return structure, clean, rng, seed


def film(structure: StructureImage, scene: Scene, n_frames: int, seed: int) -> ImageStack:
    return simulate(structure, scene, n_frames=n_frames, rng=seed).stack


def drift(movie: Base, length_nm: float, n_frames: int) -> Finding:
    structure, scene, rng, seed = movie
    angle = rng.uniform(0.0, 2.0 * np.pi)
    moved = (length_nm * float(np.sin(angle)), length_nm * float(np.cos(angle)))
    stack = film(structure, replace(scene, drift_nm=moved), n_frames, seed)
    return check_drift(estimate_drift(stack), stack.grid.pixel_size_nm)


def background(movie: Base, haze: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    return check_background(
        measure(film(structure, replace(scene, haze=haze, haze_sigma_px=8.0), n_frames, seed))
    )


def edge(movie: Base, strength: float, n_frames: int) -> Finding:
    structure, scene, rng, seed = movie
    side = structure.grid.shape[0]
    y, x = FINE * rng.uniform(-2.0, 2.0), rng.uniform(0.2, 0.8) * side
    rows, columns = np.mgrid[:side, :side]
    cluster = np.exp(-0.5 * ((rows - y) ** 2 + (columns - x) ** 2) / 12.0**2)
    peak = strength * np.quantile(gaussian_filter(structure.density, 12.0), 0.99)
    density = structure.density + (peak * cluster).astype(np.float32)
    more = float(density.sum()) / float(structure.density.sum())
    n = float(scene.labelling.expected(structure).density.sum()) * more
    labelling = replace(
        scene.labelling, n_emitters=n, per_um2=None, max_per_pixel=None, step=0.0
    )  # fmt: skip
    lit = StructureImage(density, structure.grid)
    return check_edge(measure(film(lit, replace(scene, labelling=labelling), n_frames, seed)))


def psf(movie: Base, factor: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    found = estimate_psf(film(structure, scene, n_frames, seed))
    return check_psf(factor * scene.microscope.psf.fwhm_nm, found)


def saturation(movie: Base, share: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    stack = film(structure, scene, n_frames, seed)
    frames = stack.load()
    top = np.quantile(frames, 1.0 - share, method="lower")
    return check_saturation(find_saturation(replace(stack, data=np.minimum(frames, top))))


def pixels(movie: Base, strength: float, n_frames: int) -> Finding:
    structure, scene, rng, seed = movie
    stack = film(structure, scene, n_frames, seed)
    frames = stack.load()
    y, x = rng.integers(1, np.array(stack.grid.shape) - 1)
    frames[:, y, x] += strength * bright_level(measure(stack))
    return check_pixels(measure(replace(stack, data=frames)))


def field(movie: Base, share: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    stack = film(structure, scene, n_frames, seed)
    frames = stack.load()
    frames[:, :, : round(share * stack.grid.shape[1])] = 0.0
    cleared = replace(stack, data=frames)
    return check_field(find_gaps(cleared, measure(cleared).noise).cleared)


def frames(movie: Base, share: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    stack = film(structure, scene, n_frames, seed)
    images = stack.load()
    images[n_frames - round(share * n_frames) :] = 0.0
    stopped = replace(stack, data=images)
    return check_frames(find_gaps(stopped, measure(stopped).noise).empty_frames, n_frames)


def light(movie: Base, dark: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    if dark:
        photons = replace(scene.microscope.photons, mean=1e-9)
        scope = replace(scene.microscope, photons=photons)
        scene = replace(scene, microscope=scope, background_photons=50.0)
    stack = film(structure, scene, n_frames, seed)
    sigma_px = scene.microscope.psf.sigma_px(stack.grid.pixel_size_nm)
    return check_light(measure(stack), sigma_px)


def chains(movie: Base, n_sweeps: float, n_frames: int) -> Finding:
    structure, scene, _, seed = movie
    n = int(n_sweeps)
    QUALITIES["benchmark"] = Schedule(n_sweeps=n, n_burn_in=3 * n // 8, n_chains=2)
    part = film(structure, scene, n_frames, seed).select(roi=(8, 8, 24, 24))
    sr = reconstruct(
        part, method="bayes", psf=scene.microscope.psf, quality="benchmark", rng=seed
    )  # fmt: skip
    found = [f for f in check_record(sr.provenance) if f.name == "chains"]
    return found[0] if found else Finding("chains", Severity.UNKNOWN, "nothing was sampled")


FAULTS: dict[str, tuple[Check, tuple[float, ...], int]] = {
    "light": (light, (0, 1), 1),
    "pixels": (pixels, (0, 0.3, 1, 3, 10, 100), 1),
    "field": (field, (0, 0.025, 0.1, 0.5), 1),
    "frames": (frames, (0, 1 / 120, 0.1, 0.5), 1),
    "saturation": (saturation, (0, 1e-4, 1e-3, 1e-2), 1),
    "drift": (drift, (0, 50, 100, 150, 200, 400, 800), 1),
    "background": (background, (0, 0.5, 1, 2, 4), 1),
    "edge": (edge, (0, 2, 5, 10, 30), 1),
    "PSF": (psf, (1, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.5), 1),
    "chains": (chains, (40, 4, 8, 16), 3),
}
"""Check, strengths (the first is none), and of how many movies one is taken."""


def rates(
    names: list[str], n_movies: int, side: int, n_frames: int
) -> Iterator[dict[str, float | str]]:
    for name in names:
        check, strengths, every = FAULTS[name]
        for strength in strengths:
            found = [
                check(base(number, side), strength, n_frames).severity
                for number in range(0, n_movies, every)
            ]
            told = sum(s in (Severity.WARNING, Severity.NOTE) for s in found)
            unknown = sum(s is Severity.UNKNOWN for s in found)
            yield {
                "check": name, "strength": strength, "movies": len(found), "told": told,
                "unknown": unknown,
            }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=list(FAULTS), default=list(FAULTS))
    parser.add_argument("--movies", type=int, default=36)
    parser.add_argument("--side", type=int, default=40)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    print("| check | strength | told | could not tell | movies |\n|---|---|---|---|---|")
    for row in rates(chosen.only, chosen.movies, chosen.side, chosen.frames):
        rows.append(row)
        print(
            f"| {row['check']} | {row['strength']:g} | {row['told']} | {row['unknown']} "
            f"| {row['movies']} |", flush=True,
        )  # fmt: skip
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
