"""Whole-field reconstruction: every method behind one function.

A movie passes background, guide and, for `bayes`, the factorial HMM; all methods return the same
kind of image, so they can be exchanged and compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from dlbi.calibration import estimate_psf
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, Reconstruction, Reconstructor
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import RngLike, root_seed
from dlbi.forward import Projection
from dlbi.inference.background import Background, estimate_background
from dlbi.inference.classical import mean_image, sofi2
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.moments import blinking_moments
from dlbi.inference.noise import fit_noise
from dlbi.inference.refinement import Schedule, refine

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
    margin = _with_margin(guide, fine, upscaling)
    seed = root_seed(rng)
    report = progress or _silent
    record: dict[str, Any] = {"method": method, "seed": seed, "upscaling": upscaling}
    mean = stack.mean()
    background = estimate_background(stack, mean)
    if method == "mean":
        return Reconstruction(mean_image(mean, background.haze, upscaling), fine, provenance=record)
    if method == "sofi":
        return Reconstruction(sofi2(stack, upscaling), fine, provenance=record)
    psf, record["psf"] = _psf_of(stack, psf)
    projection = Projection(stack.grid.pad(MARGIN_PX).refine(upscaling), stack.grid, psf)
    density = richardson_lucy(
        mean, background.haze, projection, n_iterations=RL_ITERATIONS, start=margin,
        progress=partial(report, "guide"),
    )  # fmt: skip
    record |= {"guided": guide is not None, "rl_iterations": RL_ITERATIONS}
    if method == "rl":
        return Reconstruction(_without_margin(density, upscaling), fine, provenance=record)
    return _bayes(
        stack, mean, background, density, projection, record,
        schedule=QUALITIES[quality], n_workers=n_workers, progress=partial(report, "sampling"),
    )  # fmt: skip


def reconstructor(method: str, **options: Any) -> Reconstructor:
    """One method as an exchangeable object: ``reconstructor("rl")(stack, generator)``."""

    def run(stack: ImageStack, rng: np.random.Generator) -> Reconstruction:
        return reconstruct(stack, method=method, rng=rng, **options)

    return run


def _bayes(
    stack: ImageStack,
    mean: FloatImage,
    background: Background,
    density: FloatImage,
    projection: Projection,
    record: dict[str, Any],
    *,
    schedule: Schedule,
    n_workers: int,
    progress: Callable[[int, int], None],
) -> Reconstruction:
    noise = fit_noise(stack)
    moments = blinking_moments(stack, density, projection, light_cv=LIGHT_CV)
    movie = stack.load()
    movie -= background.trend[:, None, None]
    movie -= background.haze
    result = refine(
        movie, noise.variance(mean), density, moments, projection,
        chain=PRESET_CHAIN, schedule=schedule, seed=record["seed"], n_workers=n_workers,
        progress=progress,
    )  # fmt: skip
    record |= {
        "schedule": asdict(schedule),
        "noise": noise._asdict(),
        "blinking": {
            "table_p1_to_p5": result.chain.table,
            "flux": result.flux,
            "skewness": moments.skewness,
            "identifiable": result.identifiable,
        },
        "noise_scale": result.noise_scale,
        "n_live": result.n_live,
    }
    return Reconstruction(
        result.maps.mean(), projection.camera.refine(record["upscaling"]),
        std=result.maps.std(), p_value=result.maps.p_empty(), emitters=result.emitters,
        provenance=record,
    )  # fmt: skip


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
        f"the movie does not show its PSF; FWHM {PRESET_FWHM_NM:.0f} nm (mEos3.2 preset) is "
        "taken, give yours with --psf-fwhm",
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


def _without_margin(image: FloatImage, upscaling: int) -> FloatImage:
    m = MARGIN_PX * upscaling
    return np.ascontiguousarray(image[m:-m, m:-m])


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
