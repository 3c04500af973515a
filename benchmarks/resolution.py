"""Smallest distance at which each method still separates two lines.

    python benchmarks/resolution.py [--spacings 60 80 100] [--methods rl dlbi] [--out results.json]

Each movie is 64×64×200 (×8: 512×512) and shows straight lines of one spacing: 8 pairs, 4 ladders of
4 lines and, as a control, 4 filled bands as wide and as bright as a pair. Every group has another
orientation and another position in the pixel, and lies 1.8 PSF widths or more from the next. The
image is averaged along the middle of the lines; between two neighbours it shows a valley and at
both sides a peak. They count as resolved if the valley is below 0.8 of the mean of both peaks, and
below either: about Rayleigh's criterion, by which the valley between the images of two slits is
8/π² = 0.81 of the peaks. (Sparrow's limit asks for any valley at all, and noise makes valleys
anywhere.) A method resolves a spacing if it resolves most of the pairs.

A ladder is resolved if all its neighbours are: deconvolved beyond its limit it becomes three lines
or two, which show deep valleys where there are none. A band that looks resolved is made up too.

`rl` gets the true PSF; the other methods measure it from the movie, as for a user.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.learning.network import Network, load_network
from dlbi.reconstruction import reconstruct
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import preset
from dlbi.simulation.strokes import Canvas, Curve

SPACINGS_NM = (60, 80, 100, 120, 140, 160, 190, 220, 260, 320)
METHODS = ("mean", "rl", "bayes", "network", "dlbi")
LEARNED = ("network", "dlbi")
KINDS = {"pair": "pairs resolved", "ladder": "ladders resolved", "band": "bands taken for pairs"}
SCENES = ("meos3.2", "paper")
FIRST_SEED = 27_000

GRID = PixelGrid((512, 512), 20.0)
CELLS = 4
CELL_NM = GRID.extent_nm[0] / CELLS
JITTER_NM = 80.0
LENGTH_NM, MEASURED_NM = 1500.0, 1200.0
SIGMA_NM = 14.0
BAND_STEP_NM = 10.0
PROFILE_STEP_NM = 5.0

RESOLVED = 0.8
"""Valley ÷ mean of both peaks."""


class Group(NamedTuple):
    """Parallel lines `spacing_nm` apart, or a band that fills the space between two."""

    kind: str
    centre_nm: NDArray[np.float64]
    angle: float
    spacing_nm: float

    @property
    def n_lines(self) -> int:
        return 4 if self.kind == "ladder" else 2

    @property
    def along(self) -> NDArray[np.float64]:
        return np.array([np.sin(self.angle), np.cos(self.angle)])

    @property
    def across(self) -> NDArray[np.float64]:
        return np.array([np.cos(self.angle), -np.sin(self.angle)])

    @property
    def offsets_nm(self) -> NDArray[np.float64]:
        return self.spacing_nm * (np.arange(self.n_lines) - (self.n_lines - 1) / 2)

    def line(self, offset_nm: float) -> Curve:
        half = 0.5 * LENGTH_NM * self.along
        return self.centre_nm + offset_nm * self.across + np.stack([-half, half])

    def draw(self, canvas: Canvas) -> None:
        if self.kind != "band":
            for offset in self.offsets_nm:
                canvas.line(self.line(offset), SIGMA_NM)
            return
        low, high = self.offsets_nm[[0, -1]]
        offsets = np.linspace(low, high, round((high - low) / BAND_STEP_NM) + 1)
        for offset in offsets:
            canvas.line(self.line(offset), SIGMA_NM, self.n_lines / offsets.size)

    def profile(self, image: FloatImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distances from the centre, nm, and the image there, averaged along the lines."""
        reach = self.offsets_nm[-1] + 0.5 * self.spacing_nm
        across = np.arange(-reach, reach + PROFILE_STEP_NM, PROFILE_STEP_NM)
        along = np.arange(-0.5 * MEASURED_NM, 0.5 * MEASURED_NM, GRID.pixel_size_nm)
        y_nm, x_nm = (
            self.centre_nm[i] + across[:, None] * self.across[i] + along * self.along[i]
            for i in (0, 1)
        )
        values = map_coordinates(image, GRID.to_px(y_nm, x_nm), order=1, mode="nearest")
        return across, values.mean(axis=1, dtype=np.float64)

    def ratio(self, image: FloatImage) -> float:
        """Valley ÷ mean of both peaks where neighbours are told apart least; 1 if not at all."""
        across, profile = self.profile(image)

        def near(place_nm: float) -> NDArray[np.float64]:
            return profile[np.abs(across - place_nm) <= 0.25 * self.spacing_nm]

        ratios = []
        for left, right in pairwise(self.offsets_nm):
            peaks = near(left).max(), near(right).max()
            valley = near(0.5 * (left + right)).min()
            ratios.append(float(valley / np.mean(peaks)) if valley < min(peaks) else 1.0)
        return max(ratios)


def groups(spacing_nm: float, rng: np.random.Generator) -> list[Group]:
    """Groups of all kinds in turns, each in a cell and at an angle of its own."""
    n = CELLS**2
    angles = np.pi * (rng.permutation(n) + rng.random()) / n
    cells = np.stack(np.divmod(np.arange(n), CELLS), axis=1)
    centres = CELL_NM * (cells + 0.5) + rng.uniform(-JITTER_NM, JITTER_NM, (n, 2))
    # The sum of row and column decides, so that no row or column holds one kind only.
    kinds = [("pair", "ladder", "pair", "band")[sum(cell) % 4] for cell in cells.tolist()]
    return [
        Group(kind, centre, float(angle), spacing_nm)
        for kind, centre, angle in zip(kinds, centres, angles, strict=True)
    ]


def film(scene: str, drawn: list[Group], seed: int) -> SimulatedMovie:
    canvas = Canvas(GRID)
    for group in drawn:
        group.draw(canvas)
    structure = StructureImage(canvas.image / canvas.image.max(), GRID)
    # One experiment for all spacings, so that they can be compared.
    experiment = preset(scene, np.random.default_rng(FIRST_SEED))
    return simulate(structure, experiment, rng=seed)


def measured(image: FloatImage, drawn: list[Group]) -> dict[str, list[float]]:
    """Valley ÷ peak of every group, by kind."""
    return {kind: [g.ratio(image) for g in drawn if g.kind == kind] for kind in KINDS}


def run(
    scene: str, spacing_nm: float, methods: list[str], model: Network | None
) -> dict[str, dict[str, list[float]]]:
    """Valley ÷ peak by method; "truth" is the drawing itself."""
    seed = FIRST_SEED + crc32(f"{scene} {spacing_nm:g}".encode()) % 1000
    drawn = groups(spacing_nm, np.random.default_rng(seed))
    movie = film(scene, drawn, seed)
    found = {"truth": measured(movie.truth_density(8).density, drawn)}
    for method in methods:
        psf = movie.scene.microscope.psf if method == "rl" else None
        network = model if method in LEARNED else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DlbiWarning)
            result = reconstruct(movie.stack, method=method, psf=psf, model=network, rng=seed)
        found[method] = measured(result.mean, drawn)
    return found


def share_resolved(ratios: list[float]) -> float:
    return float(np.mean(np.array(ratios) < RESOLVED))


def limit_nm(shares: dict[float, float]) -> float | None:
    """Smallest spacing from which on all larger ones are resolved; None if the largest is not."""
    found = None
    for spacing in sorted(shares, reverse=True):
        if shares[spacing] <= 0.5:
            break
        found = spacing
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
                limit = limit_nm(shares)
                said = f" {'none' if limit is None else f'{limit:g} nm'} |"
                print(f"| {scene} | {method} | {row} |" + (said if kind != "band" else ""))


if __name__ == "__main__":
    main()
