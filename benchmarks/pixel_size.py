"""What becomes of a reconstruction as camera pixels grow finer or coarser than the PSF.

    python benchmarks/pixel_size.py [--widths 1.6 2 …] [--families er] [--seed 97001] [--own-pixels]

Movies of 60×60 pixels and 200 frames (×8: 480×480) in plain noise, with a PSF of so many camera
pixels FWHM: fine pixels are those of an sCMOS camera behind a strong objective. Two experiments of
each: 5000 emitters whose peak is one standard deviation of the noise, and 2000 of twice that. The
PSF is measured from the movie. Beyond the range of its training the network sees blocks of pixels
(`dlbi.reconstruction.binning`); with ``--own-pixels`` it sees those of the camera, as it would
without. Columns: correlation with the true fluorophores at 2 and 4 fine pixels, PSNR and SSIM with
the true density after the best scale.
"""

from __future__ import annotations

import argparse
import math
import warnings

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.rng import derived_seed, stream
from dlbi.evaluation.image import score_truth
from dlbi.reconstruction import binning, reconstruct
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

METHODS = ("rl", "bayes", "network", "dlbi")
WIDTHS_PX = (1.6, 2.0, 2.64, 3.5, 4.5, 5.5, 8.0)
FAMILIES = ("filaments", "rings", "er")
EXPERIMENTS = ((5000, 1.0), (2000, 2.0))
PIXEL_NM, FIELD_PX, N_FRAMES = 100.0, 60, 200


def film(width_px: float, family: str, n_emitters: int, peak: float, seed: int) -> SimulatedMovie:
    side = 8 * FIELD_PX
    seed = derived_seed(seed, f"{width_px:g}", family, n_emitters)
    structure = draw(family, PixelGrid((side, side), PIXEL_NM / 8), stream(seed, family))
    scene = custom(
        n_emitters=n_emitters, peak_to_noise=peak, fwhm_nm=width_px * PIXEL_NM,
        pixel_size_nm=PIXEL_NM,
    )  # fmt: skip
    return simulate(structure, scene, n_frames=N_FRAMES, rng=seed)


def scores(movie: SimulatedMovie, method: str) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        image = reconstruct(movie.stack, method=method, rng=1)
    fluorophores = score_truth(image, movie.emitters).image
    density = score_truth(image, movie.truth_density(8)).image
    return [
        fluorophores.corr_2px, fluorophores.corr_4px, density.psnr_ls_db, density.ssim_ls,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=float, nargs="+", default=list(WIDTHS_PX))
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, default=97_001)
    parser.add_argument("--own-pixels", action="store_true")
    options = parser.parse_args()
    if options.own_pixels:
        binning.BEYOND = math.inf
    print("| PSF / px | movies | " + " | ".join(options.methods) + " |")
    print("|---" * (len(options.methods) + 2) + "|")
    for width in options.widths:
        found: dict[str, list[list[float]]] = {method: [] for method in options.methods}
        for family in options.families:
            for n_emitters, peak in EXPERIMENTS:
                movie = film(width, family, n_emitters, peak, options.seed)
                for method in options.methods:
                    found[method].append(scores(movie, method))
        cells = (
            "{:.3f} / {:.3f} / {:.2f} / {:.3f}".format(*np.mean(rows, axis=0))
            for rows in found.values()
        )
        n_movies = len(options.families) * len(EXPERIMENTS)
        print(f"| {width:g} | {n_movies} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
