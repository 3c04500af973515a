"""Whether P(real) of the emitters and the occupancy map hold on held-out simulations.

    python benchmarks/emitters.py [--regimes camera S] [--families er] [--seed 29000]

Movies of 44×44×200 (×8: 352×352) of the regimes of the training, and of 60×60×200 of those of
`benchmarks/regimes.py` (`--regimes R H B S`), with seeds that no constant of the package was fitted
to; the last three families were never trained on. Methods run as for a user, with the PSF measured.

- P(real): an emitter is true if it pairs one-to-one with a true fluorophore within 2.5 fine pixels;
  the closest pairs are made first. Groups of rising `p_real`, stated → true; the slope through the
  origin should be 1. "By chance" is the share of as many places drawn from the image that pair.
- Occupancy: true if a fluorophore lies in the square of 5×5 fine pixels around the pixel; ten
  bands of stated occupancy.
"""

from __future__ import annotations

import argparse
import warnings
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import KDTree

import regimes
from dlbi.bench.experiments.families import FAMILIES
from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.core.rng import stream
from dlbi.inference.hmm.maps import OCCUPANCY_WINDOW_PX
from dlbi.inference.uncertainty import MATCH_RADIUS_PX
from dlbi.reconstruction import reconstruct
from dlbi.training.pairs import MARGIN_PX, simulate_experiment
from dlbi.training.scenes import REGIMES

METHODS = ("dlbi", "bayes")
FIELD_PX, N_FRAMES = 44, 200
FIRST_SEED = 29_000
N_GROUPS, N_BANDS = 5, 10
KINDS = ("one", "several", "a part of one")


class Found(NamedTuple):
    """What one movie tells: stated and true of its emitters, and of the pixels of its map."""

    stated: NDArray[np.floating]
    true: NDArray[np.bool_]
    chance: float
    stands_for: str
    occupancy: NDArray[np.floating]
    occupied: NDArray[np.bool_]


def film(regime: str, family: str, seed: int) -> tuple[ImageStack, Emitters]:
    """A movie and its true fluorophores, those beyond its margins included."""
    if regime in regimes.REGIMES:
        movie = regimes.film(regime, family, seed)
        return movie.stack, movie.emitters
    _, movie = simulate_experiment(
        seed, field_px=FIELD_PX, n_frames=(N_FRAMES, N_FRAMES),
        families={family: 1.0}, regimes={regime: 1.0},
    )  # fmt: skip
    return movie.select(roi=(MARGIN_PX, MARGIN_PX, FIELD_PX, FIELD_PX)), movie.emitters


def paired(
    places: NDArray[np.float64], truth: NDArray[np.float64], radius: float
) -> NDArray[np.bool_]:
    """Which places pair one-to-one with true ones, the closest pairs first; (N, 2) → (N,)."""
    near = KDTree(places).sparse_distance_matrix(KDTree(truth), radius, output_type="coo_matrix")
    found, taken = np.zeros(len(places), bool), np.zeros(len(truth), bool)
    for n in np.argsort(near.data, kind="stable"):
        place, other = near.row[n], near.col[n]
        if not (found[place] or taken[other]):
            found[place] = taken[other] = True
    return found


def pixels(emitters: Emitters, grid: PixelGrid) -> NDArray[np.float64]:
    """Positions in fine pixels, (N, 2)."""
    return np.stack(grid.to_px(emitters.y_nm, emitters.x_nm), axis=1)


def drawn(image: NDArray[np.float32], n: int, seed: int) -> NDArray[np.float64]:
    """Places drawn from an image, uniform within their pixels."""
    rng = stream(seed, "places")
    share = image.ravel().astype(np.float64)
    flat = rng.choice(share.size, size=n, p=share / share.sum())
    rows, columns = np.unravel_index(flat, image.shape)
    return np.stack([rows, columns], axis=1) + rng.uniform(-0.5, 0.5, (n, 2))


def compare(result: Reconstruction, emitters: Emitters, seed: int) -> Found:
    found, truth = pixels(result.emitters, result.grid), pixels(emitters, result.grid)
    rows, columns = np.floor(truth + 0.5).astype(int).T
    height, width = result.grid.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    there = np.zeros(result.grid.shape, bool)
    there[rows[inside], columns[inside]] = True
    by_chance = paired(drawn(result.mean, len(found), seed), truth, MATCH_RADIUS_PX)
    return Found(
        result.emitters.p_real, paired(found, truth, MATCH_RADIUS_PX), float(by_chance.mean()),
        stands_for(result.provenance["emitters_per_fluorophore"]), result.occupancy.ravel(),
        maximum_filter(there, OCCUPANCY_WINDOW_PX).ravel(),
    )  # fmt: skip


def stands_for(per_fluorophore: float) -> str:
    """What each emitter of a movie stands for, one of `KINDS`."""
    one, several, part = KINDS
    return one if per_fluorophore == 1.0 else several if per_fluorophore < 1.0 else part


def slope(stated: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    return float(stated @ true / (stated @ stated))


def grouped(stated: NDArray[np.floating], true: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean stated and share of true in groups of rising statement, (2, N_GROUPS)."""
    groups = np.array_split(np.argsort(stated, kind="stable"), N_GROUPS)
    return np.array([[stated[g].mean() for g in groups], [true[g].mean() for g in groups]])


def table(movies: dict[tuple[str, str], list[Found]]) -> None:
    print("\n| regime | method | emitters | stated → true | slope | all | by chance |")
    print("|---" * 7 + "|")
    for (regime, method), found in movies.items():
        for kind in KINDS:
            chosen = [f for f in found if f.stands_for == kind]
            if not chosen:
                continue
            stated, true = (
                np.concatenate([getattr(f, name) for f in chosen]) for name in ("stated", "true")
            )
            steps = grouped(stated, true)
            pairs = " ".join(f"{s:.2f}→{t:.2f}" for s, t in steps.T)
            chance = np.average([f.chance for f in chosen], weights=[len(f.true) for f in chosen])
            print(
                f"| {regime} | `{method}` | {kind}, {len(chosen)} movies "
                f"| {pairs} | {slope(*steps):.2f} | {true.mean():.2f} | {chance:.2f} |"
            )
    print("\n| regime | method | occupancy, stated → true | slope |\n|---|---|---|---|")
    for (regime, method), found in movies.items():
        occupancy, occupied = (
            np.concatenate([getattr(f, name) for f in found]) for name in ("occupancy", "occupied")
        )
        band = np.minimum((occupancy * N_BANDS).astype(int), N_BANDS - 1)
        n = np.bincount(band, minlength=N_BANDS)
        shown = np.flatnonzero(n)
        stated, true = (
            np.bincount(band, x, N_BANDS)[shown] / n[shown] for x in (occupancy, occupied)
        )
        pairs = " ".join(f"{s:.2f}→{t:.2f}" for s, t in zip(stated, true, strict=True))
        print(f"| {regime} | `{method}` | {pairs} | {slope(stated, true):.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--regimes", nargs="+", default=[*REGIMES, *regimes.REGIMES])
    parser.add_argument("--families", nargs="+", default=list(FAMILIES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seed", type=int, default=FIRST_SEED)
    options = parser.parse_args()
    movies: dict[tuple[str, str], list[Found]] = {}
    for regime in options.regimes:
        for family in options.families:
            seed = options.seed + crc32(f"{regime} {family}".encode()) % 1000
            stack, emitters = film(regime, family, seed)
            for method in options.methods:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DlbiWarning)
                    result = reconstruct(stack, method=method, rng=seed)
                if len(result.emitters or ()) < N_GROUPS:
                    print(f"{regime} {family} {method}: no emitters", flush=True)
                    continue
                movies.setdefault((regime, method), []).append(compare(result, emitters, seed))
                print(f"{regime} {family} {method}: {len(result.emitters)} emitters", flush=True)
    table(movies)


if __name__ == "__main__":
    main()
