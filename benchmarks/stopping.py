"""What stopping by agreement costs, and what more sweeps gain.

    python benchmarks/stopping.py [--method dlbi] [--seed 96000] [--only camera thick]

Movies of 60×60×200 under the mEos3.2 camera, with dense labels, under random cameras and of thick
specimens. Two chains make 40 sweeps, as many as `standard` makes until they agree, 60 and 120;
four chains as many as `best` makes. Correlation with the true fluorophores after a blur of 2 fine
pixels, PSNR with the true density after the best scale, the median R-hat over the bright pixels
and the sweeps that were made.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np

from dlbi.bench.subjects import area_seed
from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction
from dlbi.evaluation.image import score_truth
from dlbi.inference.hmm.refinement import Schedule
from dlbi.reconstruction import QUALITIES, reconstruct
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import PRESETS
from dlbi.simulation.structures import draw
from dlbi.training.scenes import thick

FIRST_SEED = 96_000
MOVIES = {
    "meos3.2": ("rings", "chromatin", "mitochondria"),
    "dense": ("filaments", "er"),
    "camera": ("filaments", "er", "star"),
    "thick": ("filaments", "mitochondria", "er"),
}
BURN_IN = QUALITIES["standard"].n_burn_in
SCHEDULES = {
    "40": Schedule(40, BURN_IN, n_chains=2),
    "standard": QUALITIES["standard"],
    "60": Schedule(60, BURN_IN, n_chains=2),
    "120": Schedule(120, BURN_IN, n_chains=2),
    "best": QUALITIES["best"],
}
SCENES = PRESETS | {"thick": thick}
UPSCALING, SIDE_PX, PIXEL_NM = 8, 60, 160.0


def film(scene: str, family: str, seed: int) -> SimulatedMovie:
    own = area_seed(seed, family, scene)
    grid = PixelGrid((SIDE_PX, SIDE_PX), PIXEL_NM).refine(UPSCALING)
    structure = draw(family, grid, np.random.default_rng(own))
    return simulate(structure, SCENES[scene](np.random.default_rng(own + 1)), rng=own)


def sampled(movie: SimulatedMovie, schedule: Schedule, method: str) -> Reconstruction:
    QUALITIES["benchmark"] = schedule
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        return reconstruct(movie.stack, method=method, quality="benchmark", rng=movie.seed)


def cell(movie: SimulatedMovie, sr: Reconstruction) -> str:
    """Correlation / PSNR, R-hat, sweeps."""
    corr = score_truth(sr, movie.truth(UPSCALING)).image.corr_2px
    psnr = score_truth(sr, movie.truth_density(UPSCALING)).image.psnr_ls_db
    made = max(tile["n_sweeps"] for tile in sr.provenance["tiles"])
    return f"{corr:.4f} / {psnr:.2f}, {sr.provenance['r_hat_median']:.2f}, {made}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=("bayes", "dlbi"), default="bayes")
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    parser.add_argument("--only", nargs="+", choices=list(MOVIES), default=list(MOVIES))
    options = parser.parse_args()
    print("| movie | " + " | ".join(SCHEDULES) + " |\n|" + "---|" * (1 + len(SCHEDULES)))
    for scene in options.only:
        for family in MOVIES[scene]:
            movie = film(scene, family, options.seed)
            cells = [cell(movie, sampled(movie, s, options.method)) for s in SCHEDULES.values()]
            print(f"| {scene}, {family} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
