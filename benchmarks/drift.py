"""What drift costs, and what `--correct-drift` gives back.

    python benchmarks/drift.py [--methods dlbi] [--drifts 0 400]

Movies of 60×60×200 whose sample moves along a straight line, or along a bent one that turns back:
two structures under the mEos3.2 camera and two under random cameras, of seeds that no constant of
the package was tuned on. Correlation with the true fluorophores after a blur of 2 fine
pixels and PSNR against the true density after the best scale, both seen from the mean place of the
sample; error: root mean square distance of the measured path from the true one.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import replace

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.evaluation.drift import DriftPath
from dlbi.evaluation.image import score_truth
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.drift import correct_drift, held_in_place
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import camera, meos32
from dlbi.simulation.structures import draw

SEED = 34_000
DIRECTION = np.array((0.6, 0.8))
DRIFTS_NM = (0, 80, 160, 400, 800)
UPSCALING = 8
SCENES = (("filaments", "meos3.2"), ("er", "meos3.2"), ("mesh", "camera"), ("rings", "camera"))


def film(structure: str, preset: str, drift_nm: float) -> SimulatedMovie:
    density = draw(structure, PixelGrid((480, 480), 20.0), np.random.default_rng(SEED))
    scene = meos32() if preset == "meos3.2" else camera(np.random.default_rng(SEED + 1))
    shift = tuple((drift_nm * DIRECTION).tolist())
    return simulate(density, replace(scene, drift_nm=shift), n_frames=200, rng=SEED)


def bent(movie: SimulatedMovie, length_nm: float) -> tuple[ImageStack, np.ndarray]:
    """A still movie moved along a bend, and where the sample then is in each frame."""
    way = DriftPath((tuple(0.5 * length_nm * DIRECTION), tuple(-0.5 * length_nm * DIRECTION)))
    back = DriftPath(tuple((-y, -x) for y, x in way.terms_nm))
    return held_in_place(movie.stack, back), way.positions_nm(movie.n_frames)


def scores(stack: ImageStack, movie: SimulatedMovie, method: str) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        sr = reconstruct(stack, method=method, rng=SEED)
    by_count = score_truth(sr, movie.truth(UPSCALING)).image
    by_density = score_truth(sr, movie.truth_density(UPSCALING)).image
    return by_count.corr_2px, by_density.psnr_ls_db


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["dlbi"])
    parser.add_argument("--drifts", nargs="+", type=float, default=list(DRIFTS_NM))
    options = parser.parse_args()
    for method in options.methods:
        print(f"{method}\n\n| movement | nm | error / nm | left as it is | taken off |")
        print("|---|---|---|---|---|")
        for movement in ("straight", "bent"):
            for drift_nm in options.drifts:
                found = [one(*scene, movement, drift_nm, method) for scene in SCENES]
                error, left_corr, left_db, corr, db = np.mean(found, axis=0)
                print(
                    f"| {movement} | {drift_nm:g} | {error:.0f} | {left_corr:.3f} / {left_db:.2f} "
                    f"| {corr:.3f} / {db:.2f} |",
                    flush=True,
                )


def one(
    structure: str, preset: str, movement: str, drift_nm: float, method: str
) -> tuple[float, ...]:
    """Error of the path, and scores of the movie as it is and of the one held in place."""
    if movement == "straight":
        movie = film(structure, preset, drift_nm)
        stack = movie.stack
        way = np.outer(np.linspace(-0.5, 0.5, movie.n_frames), drift_nm * DIRECTION)
    else:
        movie = film(structure, preset, 0.0)
        stack, way = bent(movie, drift_nm)
    steady = correct_drift(stack)
    missed = steady.path.positions_nm(movie.n_frames) - way
    error = float(np.sqrt((missed**2).sum(axis=1).mean()))
    return (error, *scores(stack, movie, method), *scores(steady.stack, movie, method))


if __name__ == "__main__":
    main()
