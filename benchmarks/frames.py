"""What more frames bring, where fluorophores bleach and where they do not.

    python benchmarks/frames.py [--lengths 200 …] [--scenes steady] [--seed 98001] [--plain-mean]

Movies of 60×60 pixels (×8: 480×480), two structures in each scene, of which the methods get so many
of the first frames. The network was trained on 20 to 400. Where a movie fades, late frames count
less (`dlbi.inference.measurement.bleaching`); with ``--plain-mean`` all count alike. The PSF is
measured from the movie. Columns: correlation with the true fluorophores at 2 and 4 fine pixels,
PSNR and SSIM with the true density after the best scale, and of the methods that tell p-values the
share of empty pixels among those with p ≤ 0.05.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.rng import derived_seed, stream
from dlbi.evaluation.image import score_truth
from dlbi.inference.measurement import bleaching
from dlbi.learning.confidence import discovery_table
from dlbi.reconstruction import reconstruct
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import camera, custom, meos32
from dlbi.simulation.scene import Scene
from dlbi.simulation.structures import draw
from dlbi.training.pairs import STRUCTURE_SHARE, TARGET_SIGMA_PX
from dlbi.training.scenes import thick

METHODS = ("rl", "bayes", "network", "dlbi")
LENGTHS = (200, 600, 2000)
SCENES = {
    "steady": ("filaments", "er"),
    "bleaching": ("filaments", "er"),
    "mEos3.2": ("rings", "mesh"),
    "random cameras": ("bundles", "mitochondria"),
    "thick": ("filaments", "chromatin"),
}
PIXEL_NM, FIELD_PX = 160.0, 60
LEVEL = 0.05


def scene(name: str, seed: int) -> Scene:
    match name:
        case "mEos3.2":
            return meos32()
        case "random cameras":
            return camera(seed)
        case "thick":
            return thick(seed)
    return custom(n_emitters=4000, bleaching=0.005 if name == "bleaching" else 0.0)


def film(name: str, family: str, n_frames: int, seed: int) -> SimulatedMovie:
    side = 8 * FIELD_PX
    seed = derived_seed(seed, name, family)
    structure = draw(family, PixelGrid((side, side), PIXEL_NM / 8), stream(seed, family))
    return simulate(structure, scene(name, seed), n_frames=n_frames, rng=seed)


def scores(movie: SimulatedMovie, stack: ImageStack, method: str) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        image = reconstruct(stack, method=method, rng=1)
    fluorophores = score_truth(image, movie.emitters).image
    density = score_truth(image, movie.truth_density(8)).image
    found = [
        fluorophores.corr_2px, fluorophores.corr_4px, density.psnr_ls_db, density.ssim_ls,
    ]  # fmt: skip
    if image.p_value is not None:
        light = gaussian_filter(movie.truth_density(8).density, TARGET_SIGMA_PX, mode="nearest")
        empty = light <= STRUCTURE_SHARE * light.max()
        found += [row.observed for row in discovery_table(image.p_value, empty, (LEVEL,))]
    return found


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{share:.0%}"


def without_fading(stack: ImageStack, *_: object) -> np.ndarray:
    return np.ones(stack.n_frames, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS))
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=list(SCENES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, default=98_001)
    parser.add_argument("--plain-mean", action="store_true")
    options = parser.parse_args()
    if options.plain_mean:
        bleaching.fading_of = without_fading
    print("| scene | frames | " + " | ".join(options.methods) + " |")
    print("|---" * (len(options.methods) + 2) + "|")
    for name in options.scenes:
        movies = [film(name, f, max(options.lengths), options.seed) for f in SCENES[name]]
        for length in options.lengths:
            cells = []
            for method in options.methods:
                rows = [scores(m, m.stack.select(slice(0, length)), method) for m in movies]
                mean = np.mean(rows, axis=0)
                cells.append("{:.3f} / {:.3f} / {:.2f} / {:.3f}".format(*mean[:4]))
                cells[-1] += "".join(f" / {_percent(share)}" for share in mean[4:])
            print(f"| {name} | {length} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
