"""Whole-field reconstruction: every method behind one function.

A movie passes background, guide and, for `bayes`, the factorial HMM; all methods return the same
kind of image, so they can be exchanged and compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.calibration import estimate_psf
from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, Reconstruction, Reconstructor
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import RngLike, derived_seed, root_seed
from dlbi.forward import Projection
from dlbi.inference.background import Background, estimate_background
from dlbi.inference.classical import mean_image, sofi2
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.fusion import density_bandwidth, product_of_experts, same_relative_std
from dlbi.inference.moments import blinking_moments
from dlbi.inference.noise import NoiseModel, fit_noise
from dlbi.inference.refinement import Schedule, refine
from dlbi.inference.significance import light_z, p_dark, shows_light
from dlbi.tiling import Region, plan, scale

METHODS = ("bayes", "rl", "sofi", "mean")
"""Bayesian refinement (paper 2.3), Richardson–Lucy, second-order SOFI, upscaled mean."""

QUALITIES = {
    "preview": Schedule(n_sweeps=20, n_burn_in=10),
    "standard": Schedule(n_sweeps=60, n_burn_in=20),
    "best": Schedule(n_sweeps=150, n_burn_in=30),
}

PRESET_FWHM_NM = 422.0
"""mEos3.2 in the paper's microscope; taken with a warning if the movie does not show its PSF."""

PRESET_CHAIN = BlinkingChain(0.79, 0.305, 0.005)
"""mEos3.2 (paper's table) with a little bleaching: where learning the blinking starts."""

LIGHT_CV = 0.3
"""Coefficient of variation of the light of single emitting frames assumed by `bayes`."""

MARGIN_PX = 4
"""Camera pixels around the field in which light may arise."""

RL_ITERATIONS = 200
MIN_SIDE_PX = 8
MAX_TILE_VOXELS = 100_000_000
"""Pixels × frames sampled at once; about 3 GB with all that goes with them."""

TILE_HALO_PX = 8
"""Camera pixels around a tile that are sampled but not kept: more than two PSF windows."""

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the steps done and the steps in all."""


def reconstruct(
    stack: ImageStack,
    *,
    method: str = "bayes",
    psf: GaussianPSF | None = None,
    guide: FloatImage | None = None,
    quality: str = "standard",
    upscaling: int = 8,
    rng: RngLike = None,
    n_workers: int = 1,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct the structure behind a movie.

    Parameters
    ----------
    stack : ImageStack
        At least 8×8 pixels and 2 frames.
    method : {"bayes", "rl", "sofi", "mean"}
    psf : GaussianPSF, optional
        Measured from the movie if not given; where the movie does not show it, the mEos3.2 preset
        is taken with a warning.
    guide : ndarray, (Y·upscaling, X·upscaling), optional
        Non-negative first guess of the structure for `bayes` and `rl`, e.g. a network's image.
        Without it both start from a flat image.
    quality : {"preview", "standard", "best"}
        How long `bayes` samples.
    upscaling : int
        Fine pixels per camera pixel along one axis.
    rng : int, Generator or None
        The same seed gives the same result at any number of workers.
    n_workers : int
        Threads of `bayes`.
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    Reconstruction
        `std`, `p_value` and `emitters` only from `bayes`.

    Raises
    ------
    InputError, ShapeError
        If an option or the shape of the movie or guide does not fit.

    References
    ----------
    Paper, section 2.3; docs/paper-map.md lists the deviations.
    """
    _check_options(stack, method, quality, upscaling, n_workers)
    fine = stack.grid.refine(upscaling)
    start = None if guide is None else _with_margin(guide, fine, upscaling)
    record: dict[str, Any] = {"method": method, "seed": root_seed(rng), "upscaling": upscaling}
    movie = _measure(stack)
    record["noise"] = movie.noise._asdict()
    if method in ("mean", "sofi"):
        image = mean_image(movie.mean, movie.background.haze, upscaling)
        if method == "sofi":
            image = _with_light_of(image, sofi2(stack, upscaling))
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    psf, record["psf"] = _psf_of(stack, psf)
    projection = Projection(stack.grid.pad(MARGIN_PX).refine(upscaling), stack.grid, psf)
    report = progress or _silent
    density = richardson_lucy(
        movie.mean, movie.background.haze, projection, n_iterations=RL_ITERATIONS, start=start,
        progress=partial(report, "guide"),
    )  # fmt: skip
    record |= {"guided": guide is not None, "rl_iterations": RL_ITERATIONS}
    if method == "rl":
        image = _without_margin(density, upscaling)
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    return _bayes(
        movie, density, projection, record,
        schedule=QUALITIES[quality], n_workers=n_workers, progress=partial(report, "sampling"),
    )  # fmt: skip


def reconstructor(method: str, **options: Any) -> Reconstructor:
    """One method as an exchangeable object: ``reconstructor("rl")(stack, generator)``."""

    def run(stack: ImageStack, rng: np.random.Generator) -> Reconstruction:
        return reconstruct(stack, method=method, rng=rng, **options)

    return run


@dataclass(frozen=True, slots=True)
class _Movie:
    """A movie with what is measured on it once."""

    stack: ImageStack
    mean: FloatImage
    noise: NoiseModel
    background: Background

    @property
    def variance(self) -> FloatImage:
        """Noise variance of one frame, counts²."""
        return self.noise.variance(self.mean)

    @property
    def variance_of_mean(self) -> FloatImage:
        """Noise variance of the mean image, counts²."""
        return self.noise.variance(self.mean) / np.float32(self.stack.n_frames)

    def signal(self, region: Region) -> FloatImage:
        """Background-free frames of a region, (T, Y, X)."""
        y, x = region
        part = self.stack.select(roi=(x.start, y.start, x.stop - x.start, y.stop - y.start))
        frames = part.load().copy()
        frames -= self.background.trend[:, None, None]
        frames -= self.background.haze[region]
        return frames


def _measure(stack: ImageStack) -> _Movie:
    mean = stack.mean()
    noise = fit_noise(stack)
    variance_of_mean = noise.variance(mean) / np.float32(stack.n_frames)
    return _Movie(stack, mean, noise, estimate_background(stack, mean, variance_of_mean))


def _bayes(
    movie: _Movie,
    density: FloatImage,
    projection: Projection,
    record: dict[str, Any],
    *,
    schedule: Schedule,
    n_workers: int,
    progress: Callable[[int, int], None],
) -> Reconstruction:
    """Sample tile by tile, so that memory is bounded, and join the cores."""
    camera, f = projection.camera, record["upscaling"]
    fine = camera.refine(f)
    sigma = projection.psf.sigma_px(camera.pixel_size_nm)
    z = light_z(movie.mean - movie.background.haze, movie.variance_of_mean, sigma)
    record["largest_light_z"] = float(z.max())
    if not shows_light(z):
        warnings.warn(
            "no light stands out of the background noise: the reconstruction is empty",
            DlbiWarning,
            stacklevel=3,
        )
        nothing = np.zeros(fine.shape, np.float32)
        return Reconstruction(
            nothing, fine, std=nothing, p_value=np.ones_like(nothing),
            emitters=Emitters(np.zeros(0), np.zeros(0)), background=movie.background.haze,
            provenance=record,
        )  # fmt: skip
    moments = blinking_moments(movie.stack, density, projection, light_cv=LIGHT_CV)
    sampled, std = np.zeros(fine.shape, np.float32), np.zeros(fine.shape, np.float32)
    p_empty = np.ones(fine.shape, np.float32)
    tiles = plan(camera.shape, max_px=MAX_TILE_VOXELS // movie.stack.n_frames, halo_px=TILE_HALO_PX)
    tables, diagnostics = [], []
    for n, tile in enumerate(tiles):
        guide = density[_fine_with_margin(tile.outer, f)]
        if not guide.any():  # a masked part of the field
            continue
        result = refine(
            movie.signal(tile.outer), movie.variance[tile.outer],
            guide, moments, projection.crop(tile.outer),
            chain=PRESET_CHAIN, schedule=schedule,
            seed=record["seed"] if len(tiles) == 1 else derived_seed(record["seed"], *tile.index),
            n_workers=n_workers,
            progress=partial(_report_tile, progress, n, len(tiles)),
        )  # fmt: skip
        core, inner = scale(tile.core, f), scale(tile.inner, f)
        for whole, part in (
            (sampled, result.maps.mean()),
            (std, result.maps.std()),
            (p_empty, result.maps.p_empty()),
        ):
            whole[core] = part[inner]
        tables.append(result.emitters.within(camera.crop_region(tile.core)))
        diagnostics.append(result.diagnostics())
    emitters = Emitters.concatenate(tables)
    bandwidth = density_bandwidth(emitters, fine.pixel_size_nm)
    sampled, std = (gaussian_filter(m, bandwidth, mode="nearest") for m in (sampled, std))
    image = product_of_experts(sampled, _without_margin(density, f))
    record |= {
        "bandwidth_px": bandwidth,
        "schedule": asdict(schedule),
        "blinking_moments": moments._asdict(),
        "tiles": diagnostics,
    }
    return Reconstruction(
        image, fine, std=same_relative_std(std, sampled, image),
        p_value=np.maximum(p_empty, p_dark(z, f)),
        emitters=emitters, background=movie.background.haze, provenance=record,
    )  # fmt: skip


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


def _check_options(
    stack: ImageStack, method: str, quality: str, upscaling: int, n_workers: int
) -> None:
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if quality not in QUALITIES:
        raise InputError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}")
    if not 1 <= upscaling <= 16:
        raise InputError(f"upscaling must lie in 1…16, got {upscaling}")
    if n_workers < 1:
        raise InputError(f"the number of workers must be at least 1, got {n_workers}")
    if min(stack.grid.shape) < MIN_SIDE_PX:
        h, w = stack.grid.shape
        raise ShapeError(
            f"a field needs at least {MIN_SIDE_PX}×{MIN_SIDE_PX} camera pixels, got {w}×{h}"
        )


def _psf_of(stack: ImageStack, psf: GaussianPSF | None) -> tuple[GaussianPSF, dict[str, Any]]:
    if psf is not None:
        return psf, {"fwhm_nm": psf.fwhm_nm, "origin": "given"}
    found = estimate_psf(stack)
    if found.identified:
        return GaussianPSF(found.fwhm_nm), {
            "fwhm_nm": found.fwhm_nm,
            "standard_error_nm": found.standard_error_nm,
            "origin": "movie",
        }
    warnings.warn(
        f"{found}; FWHM {PRESET_FWHM_NM:.0f} nm (mEos3.2 preset) is taken, "
        "give yours with --psf-fwhm",
        DlbiWarning,
        stacklevel=3,
    )
    return GaussianPSF(PRESET_FWHM_NM), {"fwhm_nm": PRESET_FWHM_NM, "origin": "preset"}


def _with_margin(guide: FloatImage | None, fine: PixelGrid, upscaling: int) -> FloatImage | None:
    """The guide continued into the margin by its border pixels."""
    if guide is None:
        return None
    if guide.shape != fine.shape:
        raise ShapeError(
            f"the guide must be {fine.shape[1]}×{fine.shape[0]} pixels "
            f"(×{upscaling} of the movie), got shape {guide.shape}"
        )
    return np.pad(guide, MARGIN_PX * upscaling, mode="edge")


def _with_light_of(reference: FloatImage, image: FloatImage) -> FloatImage:
    """An image of arbitrary unit, scaled to the light of the reference."""
    total = float(image.sum(dtype=np.float64))
    share = float(reference.sum(dtype=np.float64)) / total if total > 0 else 0.0
    return image * np.float32(share)


def _without_margin(image: FloatImage, upscaling: int) -> FloatImage:
    m = MARGIN_PX * upscaling
    return np.ascontiguousarray(image[m:-m, m:-m])


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
