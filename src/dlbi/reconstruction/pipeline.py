"""The whole-field pipeline: a movie passes measurement, guide, network and factorial HMM.

All methods return the same kind of image, so they can be exchanged and compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, Reconstruction, Reconstructor
from dlbi.core.optics import GaussianPSF
from dlbi.core.rng import RngLike, root_seed
from dlbi.core.scope import Scope
from dlbi.forward import Projection
from dlbi.inference.classical import mean_image, sofi2
from dlbi.inference.fusion import product_of_experts, same_relative_std, std_of_experts
from dlbi.inference.refinement import STARTS, Schedule
from dlbi.inference.significance import light_z, p_dark, shows_light
from dlbi.learning.network import UPSCALING as NETWORK_UPSCALING
from dlbi.learning.network import Network, load_network
from dlbi.learning.passes import MIN_SIDE_PX as NETWORK_SIDE_PX
from dlbi.learning.prediction import Prediction
from dlbi.reconstruction.measurement import (
    RL_ITERATIONS,
    Movie,
    deconvolve,
    measure,
    projection_of,
    psf_of,
    with_margin,
    without_margin,
)
from dlbi.reconstruction.prior import disagreement, look, report_disagreement
from dlbi.reconstruction.sampling import sample
from dlbi.reconstruction.scoping import Given, given_by
from dlbi.reconstruction.threeb import sample_threeb

METHODS = ("dlbi", "network", "bayes", "3b", "rl", "sofi", "mean")
"""Network and Bayesian refinement (the paper), the network alone, Bayesian refinement alone, the 3B
baseline, Richardson–Lucy, second-order SOFI, upscaled mean."""

LEARNED = ("dlbi", "network")
GUIDED = ("bayes", "rl")
"""Methods that start from a guide of the user; `dlbi` makes its own."""

QUALITIES = {
    "preview": Schedule(n_sweeps=20, n_burn_in=10),
    "standard": Schedule(n_sweeps=40, n_burn_in=15, n_chains=2),
    "best": Schedule(n_sweeps=60, n_burn_in=20, n_chains=4),
}

GUIDED_ITERATIONS = 20
"""Richardson–Lucy steps from the network's image: they bring in light that it missed. More of them
make the guide noisier again and the result worse (docs/training.md)."""

FUSION_BANDWIDTH_PX, FUSION_WEIGHT = 2.0, 0.75
"""Fine pixels over which sampled and network's image are compared where they are joined, and the
weight of the sampled one (docs/training.md)."""

MIN_SIDE_PX = 8

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the steps done and the steps in all."""


def reconstruct(
    stack: ImageStack,
    *,
    method: str = "dlbi",
    psf: GaussianPSF | None = None,
    scope: Scope | None = None,
    guide: FloatImage | None = None,
    model: Network | None = None,
    quality: str = "standard",
    start: str = "guide",
    upscaling: int = 8,
    rng: RngLike = None,
    n_workers: int = 1,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct the structure behind a movie.

    Parameters
    ----------
    stack : ImageStack
        At least 8×8 pixels and 2 frames; 16×16 for the network.
    method : {"dlbi", "network", "bayes", "3b", "rl", "sofi", "mean"}
        Network and Bayesian inference, either alone, the 3B baseline, Richardson–Lucy,
        second-order SOFI, interpolated mean.
    psf : GaussianPSF, optional
        Measured from the movie if not given; where the movie hardly shows it, a prior counts as
        well, and a warning says so.
    scope : Scope, optional
        What `calibrate` found, on this movie or another of the same microscope. Its identified
        figures are taken in place of measuring: PSF (unless `psf` is given), camera noise,
        blinking, flux and brightness of the fluorophores. The background is always measured.
    guide : ndarray, (Y·upscaling, X·upscaling), optional
        Non-negative first guess of the structure for `bayes` and `rl`. Without it both start from
        a flat image; `dlbi` makes its own with the network.
    model : Network, optional
        The network of `dlbi` and `network`; the one that comes with the package if not given.
    quality : {"preview", "standard", "best"}
        How long `dlbi` and `bayes` sample, and how many iterations `3b` makes.
    start : {"guide", "resampled"}
        Where their first emitters are: as dense as the guide, or resampled from it by the paper's
        rule (`dlbi.inference.resampling`).
    upscaling : int
        Fine pixels per camera pixel along one axis; the network knows 8 only.
    rng : int, Generator or None
        The same seed gives the same result at any number of workers.
    n_workers : int
        Threads of the network and the sampler.
    progress : callable, optional
        Called with (stage, done, total).

    Returns
    -------
    Reconstruction
        Mean light of each fine pixel, (Y·upscaling, X·upscaling), in the unit of the movie;
        `std` and `p_value` from `dlbi`, `network` and `bayes`; `emitters` from `dlbi` and `bayes`;
        `std` and `emitters` from `3b`.

    Raises
    ------
    ShapeError
        If the movie is too small for the method, or the guide has another shape.
    InputError
        If an option has an unknown value or does not fit the others.

    Warns
    -----
    DlbiWarning
        If the movie hardly shows its PSF, shows no light, leaves the ranges of the training, is
        not explained by the network's image, or if the chains of the sampler differ.

    References
    ----------
    Li et al. 2018, doi:10.1093/bioinformatics/bty241, sections 2.2 and 2.3; docs/paper-map.md
    lists the deviations.
    """
    _check_options(stack, method, quality, start, upscaling, n_workers, guided=guide is not None)
    schedule = replace(QUALITIES[quality], start=start)
    fine = stack.grid.refine(upscaling)
    if guide is not None and guide.shape != fine.shape:
        raise ShapeError(
            f"the guide must be {fine.shape[1]}×{fine.shape[0]} pixels "
            f"(×{upscaling} of the movie), got shape {guide.shape}"
        )
    record: dict[str, Any] = {"method": method, "seed": root_seed(rng), "upscaling": upscaling}
    given = given_by(scope, stack)
    if given.record is not None:
        record["scope"] = given.record
    network = (model or load_network()) if method in LEARNED else None
    movie = measure(stack, given.noise)
    record["noise"] = movie.noise._asdict()
    if method in ("mean", "sofi"):
        image = mean_image(movie.mean, movie.background.haze, upscaling)
        if method == "sofi":
            image = _with_light_of(image, sofi2(stack, upscaling))
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    psf, record["psf"] = (
        psf_of(stack, given.psf, origin="scope") if psf is None else psf_of(stack, psf)
    )
    report = progress or _silent
    if method == "3b":
        image, std, emitters, done = sample_threeb(
            stack, psf, mean_image(movie.mean, movie.background.haze, upscaling),
            quality=quality, upscaling=upscaling, seed=record["seed"],
            progress=partial(report, "3b"),
        )  # fmt: skip
        return Reconstruction(
            image, fine, std=std, emitters=emitters, background=movie.background.haze,
            provenance=record | done,
        )  # fmt: skip
    projection = projection_of(stack, psf, upscaling)
    first = None if guide is None else with_margin(guide, projection)
    density = deconvolve(movie, projection, start=first, progress=partial(report, "guide"))
    record |= {"guided": guide is not None, "rl_iterations": RL_ITERATIONS}
    if method == "rl":
        image = without_margin(density, projection)
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    z = light_z(movie.signal, movie.variance_of_mean, psf.sigma_px(stack.grid.pixel_size_nm))
    record["largest_light_z"] = float(z.max())
    if not shows_light(z):
        return _empty(movie, fine, record)
    prior = None
    if network is not None:
        prior, record["network"] = look(
            network, movie, density, projection,
            seed=record["seed"], n_workers=n_workers, progress=partial(report, "network"),
        )  # fmt: skip
        record["network"] |= report_disagreement(disagreement(movie, prior.mean, projection))
        if method == "network":
            return Reconstruction(
                prior.mean, fine, std=prior.std, p_value=prior.p_value,
                background=movie.background.haze, provenance=record,
            )  # fmt: skip
        if not prior.mean.any():
            warnings.warn(
                "the network sees nothing although the movie shows light; the result is that of "
                "method bayes",
                DlbiWarning,
                stacklevel=2,
            )
            prior = None
    return _refined(
        movie, prior, density, projection, p_dark(z, upscaling), record,
        schedule=schedule, given=given, n_workers=n_workers, report=report,
    )  # fmt: skip


def reconstructor(method: str, **options: Any) -> Reconstructor:
    """One method as an exchangeable object: ``reconstructor("rl")(stack, generator)``.

    Parameters
    ----------
    method : str
        As in `reconstruct`.
    **options
        Its other options, all but `stack` and `rng`.

    Returns
    -------
    Reconstructor
    """

    def run(stack: ImageStack, rng: np.random.Generator) -> Reconstruction:
        return reconstruct(stack, method=method, rng=rng, **options)

    return run


def _refined(
    movie: Movie,
    prior: Prediction | None,
    density: FloatImage,
    projection: Projection,
    dark: FloatImage,
    record: dict[str, Any],
    *,
    schedule: Schedule,
    given: Given,
    n_workers: int,
    report: Progress,
) -> Reconstruction:
    """Sample the fluorophores and join them with the network's image, or the deconvolution."""
    if prior is not None:
        density = deconvolve(
            movie, projection, start=with_margin(prior.mean, projection),
            n_iterations=GUIDED_ITERATIONS, progress=partial(report, "guided deconvolution"),
        )  # fmt: skip
    sampled = sample(
        movie, density, projection,
        schedule=schedule, seed=record["seed"], n_workers=n_workers,
        known=given.blinking, progress=partial(report, "sampling"),
    )  # fmt: skip
    record |= sampled.record | {"schedule": asdict(schedule)}
    if prior is None:
        image = product_of_experts(sampled.density, without_margin(density, projection))
        std = same_relative_std(sampled.std, sampled.density, image)
    else:
        image = product_of_experts(
            sampled.density, prior.mean, weight=FUSION_WEIGHT, bandwidth_px=FUSION_BANDWIDTH_PX
        )
        std = std_of_experts(
            sampled.std, prior.std, sampled.density, prior.mean, weight=FUSION_WEIGHT
        )
    p_value = None if prior is None else prior.p_value
    return Reconstruction(
        image, projection.camera.refine(record["upscaling"]), std=std,
        p_value=np.maximum(sampled.p_empty, dark) if p_value is None else p_value,
        emitters=sampled.emitters, background=movie.background.haze, provenance=record,
    )  # fmt: skip


def _empty(movie: Movie, fine: PixelGrid, record: dict[str, Any]) -> Reconstruction:
    """What is left of a movie without light."""
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


def _check_options(
    stack: ImageStack,
    method: str,
    quality: str,
    start: str,
    upscaling: int,
    n_workers: int,
    *,
    guided: bool,
) -> None:
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if quality not in QUALITIES:
        raise InputError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}")
    if start not in STARTS:
        raise InputError(f"start must be one of {', '.join(STARTS)}, got {start!r}")
    if not 1 <= upscaling <= 16:
        raise InputError(f"upscaling must lie in 1…16, got {upscaling}")
    if n_workers < 1:
        raise InputError(f"the number of workers must be at least 1, got {n_workers}")
    side = NETWORK_SIDE_PX if method in LEARNED else MIN_SIDE_PX
    if min(stack.grid.shape) < side:
        h, w = stack.grid.shape
        hint = "; bayes needs 8×8" if method in LEARNED else ""
        raise ShapeError(
            f"{method} needs a field of at least {side}×{side} camera pixels, got {w}×{h}{hint}"
        )
    if method in LEARNED and upscaling != NETWORK_UPSCALING:
        raise InputError(
            f"the network refines {NETWORK_UPSCALING} times, not {upscaling}; take method bayes"
        )
    if guided and method not in GUIDED:
        why = "takes its guide from the network" if method in LEARNED else "has no use for a guide"
        raise InputError(f"method {method} {why}; give a guide to {' or '.join(GUIDED)}")


def _with_light_of(reference: FloatImage, image: FloatImage) -> FloatImage:
    """An image of arbitrary unit, scaled to the light of the reference."""
    total = float(image.sum(dtype=np.float64))
    share = float(reference.sum(dtype=np.float64)) / total if total > 0 else 0.0
    return image * np.float32(share)


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
