"""The factorial HMM over a whole field: tile by tile, so that memory is bounded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import derived_seed
from dlbi.forward import Projection
from dlbi.inference.fusion import density_bandwidth
from dlbi.inference.hmm.chains import LARGE_R_HAT, run_chains
from dlbi.inference.hmm.refinement import MarkovChain, Schedule
from dlbi.inference.hmm.start import NOTHING_KNOWN, KnownBlinking, emission_nats, splitting
from dlbi.inference.measurement.moments import blinking_moments
from dlbi.inference.uncertainty import occupancy, with_p_real
from dlbi.reconstruction.measurement import MARGIN_PX, Movie
from dlbi.tiling import Region, plan, scale

PRESET_CHAIN = BlinkingChain(0.79, 0.305, 0.005)
"""mEos3.2 (paper's table) with a little bleaching: where learning the blinking starts."""

LIGHT_CV = 0.3
"""Coefficient of variation of the light of single emitting frames that is assumed."""

MAX_TILE_VOXELS = 50_000_000
"""Pixels × frames sampled at once, of all chains together; about 1.5 GB with all that goes with
them."""

TILE_HALO_PX = 8
"""Camera pixels around a tile that are sampled but not kept: about a PSF window."""

FAINT_TILE = 0.01
"""Light of a tile ÷ that of the brightest, below which its chains need not agree."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Posterior of the fluorophores of a field.

    Parameters
    ----------
    density, std : ndarray, (Y·f, X·f), counts
        Mean signal of a fine pixel and its deviation over the sweeps.
    occupancy : ndarray, (Y·f, X·f)
        Probability of a fluorophore in the square of 5×5 fine pixels around each pixel.
    emitters : Emitters
    per_fluorophore : float
        Emitters per fluorophore in the whole field; 1 if each stands for one.
    splitting : float
        Emitters per fluorophore that the precision of single emissions asks for, ≥ 1.
    record : dict
        Diagnostics for the provenance.
    """

    density: FloatImage
    std: FloatImage
    occupancy: FloatImage
    emitters: Emitters
    per_fluorophore: float
    splitting: float
    record: dict[str, Any]


def sample(
    movie: Movie,
    guide: FloatImage,
    projection: Projection,
    *,
    schedule: Schedule,
    seed: int,
    n_workers: int,
    progress: Callable[[int, int], None],
    on_preview: Callable[[], None] | None = None,
    known: KnownBlinking = NOTHING_KNOWN,
) -> Sampled:
    """Sample the fluorophores of a movie under a guide density (paper 2.3).

    Parameters
    ----------
    movie : Movie
    guide : ndarray, fine grid of the projection, counts
        Where fluorophores are expected, with the light of the movie.
    projection : Projection
    schedule : Schedule
    seed, n_workers : int
        The result depends on the seed only.
    progress : callable
        Called with (done, total) sweeps.
    on_preview : callable, optional
        Called once when the whole field has been sampled well enough to look at.
    known : KnownBlinking
        Blinking and light that are not to be measured.
    """
    camera = projection.camera
    f = round(camera.pixel_size_nm / projection.fine.pixel_size_nm)
    fine = camera.refine(f)
    light_cv = LIGHT_CV if known.light_cv is None else known.light_cv
    moments = blinking_moments(movie.stack, guide, projection, light_cv=light_cv)
    density, std = np.zeros(fine.shape, np.float32), np.zeros(fine.shape, np.float32)
    occupied = np.zeros(fine.shape, np.float32)
    max_px = MAX_TILE_VOXELS // (movie.stack.n_frames * schedule.n_chains)
    everywhere = plan(camera.shape, max_px=max_px, halo_px=TILE_HALO_PX)
    tiles = [t for t in everywhere if guide[_fine_with_margin(t.outer, f)].any()]  # not masked
    variance = movie.variance_under(projection.psf)
    q = known.in_place_of(PRESET_CHAIN).steady_on_fraction
    if known.dark_to_emitting is None:
        q = moments.on_fraction(PRESET_CHAIN.steady_on_fraction)
    nats = emission_nats(known.flux or moments.flux(q), variance, guide, projection)
    parts = splitting(nats)
    tables, diagnostics, lights = [], [], []
    for n, tile in enumerate(tiles):
        expected = guide[_fine_with_margin(tile.outer, f)]
        chain = partial(
            MarkovChain, movie.frames(tile.outer), variance[tile.outer], expected, moments,
            projection.crop(tile.outer), chain=PRESET_CHAIN, known=known, schedule=schedule,
            splitting=parts, fading=movie.fading,
        )  # fmt: skip
        result = run_chains(
            chain, schedule,
            seed=seed if len(everywhere) == 1 else derived_seed(seed, *tile.index),
            n_workers=n_workers,
            progress=partial(_report_tile, progress, n, len(tiles)),
            on_preview=on_preview if n == len(tiles) - 1 else None,
        )  # fmt: skip
        in_tile = _of_chains(result.diagnostics)
        found = occupancy(result.p_empty, per_fluorophore=in_tile)
        core, inner = scale(tile.core, f), scale(tile.inner, f)
        for whole, part in (
            (density, result.density),
            (std, result.std),
            (occupied, found),
        ):
            whole[core] = part[inner]
        own = result.emitters.within(camera.crop_region(tile.core))
        outer = camera.crop_region(tile.outer).refine(f)
        tables.append(with_p_real(own, found, outer, per_fluorophore=in_tile))
        diagnostics.append(result.diagnostics)
        lights.append(float(expected.sum(dtype=np.float64)))
    emitters = Emitters.concatenate(tables)
    bandwidth = density_bandwidth(emitters, fine.pixel_size_nm)
    density, std = (gaussian_filter(m, bandwidth, mode="nearest") for m in (density, std))
    chains = [chain for tile in diagnostics for chain in tile["chains"]]
    per_fluorophore = _per_fluorophore(diagnostics, lights)
    record = {
        "bandwidth_px": bandwidth,
        "sampling": _stopping(diagnostics, lights, schedule),
        "blinking_moments": moments._asdict(),
        "emitters_identifiable": all(c["identifiable"] for c in chains),
        "emitters_per_fluorophore": per_fluorophore,
        "emission_nats": nats,
        "tiles": diagnostics,
    } | _agreement(diagnostics)
    return Sampled(density, std, occupied, emitters, per_fluorophore, parts, record)


def _per_fluorophore(tiles: list[dict[str, Any]], lights: list[float]) -> float:
    """Emitters ÷ fluorophores of all tiles; a tile has as many fluorophores as it has light."""
    if not tiles:
        return 1.0
    return float(np.average([_of_chains(tile) for tile in tiles], weights=lights))


def _of_chains(tile: dict[str, Any]) -> float:
    """Emitters ÷ fluorophores of a tile."""
    return float(np.mean([chain["emitters_per_fluorophore"] for chain in tile["chains"]]))


def _stopping(
    tiles: list[dict[str, Any]], lights: list[float], schedule: Schedule
) -> dict[str, Any]:
    """Sweeps of each chain in the tile that took most, and why they ended.

    Of what shows hardly any light there is nothing to agree on, so such tiles do not decide.
    """
    n_sweeps = max((tile["n_sweeps"] for tile in tiles), default=0)
    least = FAINT_TILE * max(lights, default=0.0)
    alike = bool(tiles) and all(
        tile["stopped"] for tile, light in zip(tiles, lights, strict=True) if light >= least
    )
    why = "the chains agree" if alike else "the most of this quality"
    return {"n_sweeps_done": n_sweeps, "n_sweeps_most": schedule.n_sweeps, "stopped_because": why}


def _agreement(tiles: list[dict[str, Any]]) -> dict[str, float]:
    """R-hat of the worst tile, with a warning if the chains have not come together."""
    worst = {
        key: max(tile[key] for tile in tiles if key in tile)
        for key in ("r_hat_median", "r_hat_95")
        if any(key in tile for tile in tiles)
    }
    median = worst.get("r_hat_median", 1.0)
    if median > LARGE_R_HAT:
        warnings.warn(
            f"the chains of the sampler differ more than each of them tells (R-hat {median:.2f} in "
            "half of the bright pixels); --quality best samples longer",
            DlbiWarning,
            stacklevel=4,
        )
    return worst


def _report_tile(
    progress: Callable[[int, int], None], n: int, n_tiles: int, done: int, total: int
) -> None:
    progress(n * total + done, n_tiles * total)


def _fine_with_margin(region: Region, upscaling: int) -> Region:
    """The region and its margin on the fine grid that starts `MARGIN_PX` before the field."""
    y, x = region
    return scale(
        (slice(y.start, y.stop + 2 * MARGIN_PX), slice(x.start, x.stop + 2 * MARGIN_PX)), upscaling
    )
