"""The whole-field pipeline: a movie passes measurement, guide, network and factorial HMM.

All methods return the same kind of image, so they can be exchanged and compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, Reconstruction, Reconstructor
from dlbi.core.optics import GaussianPSF
from dlbi.core.rng import RngLike, root_seed
from dlbi.core.scope import Scope
from dlbi.forward import Projection
from dlbi.inference.classical import mean_image, sofi2
from dlbi.inference.fusion import with_light_of
from dlbi.inference.hmm.refinement import Schedule
from dlbi.inference.measurement.significance import p_dark, shows_light
from dlbi.inference.uncertainty import NETWORK_SHARE, image_std, p_empty
from dlbi.learning.confidence import false_discovery_tail
from dlbi.learning.network import Network, load_network
from dlbi.learning.prediction import Prediction
from dlbi.reconstruction.binning import show
from dlbi.reconstruction.joining import (
    joined_with_deconvolution,
    joined_with_network,
    nearer_to_movie,
)
from dlbi.reconstruction.measurement import (
    RL_ITERATIONS,
    Movie,
    deconvolve,
    measure,
    optics_of,
    projection_of,
    tell_defects,
    tell_gaps,
    with_margin,
    without_halo,
    without_margin,
)
from dlbi.reconstruction.options import GUIDED_ITERATIONS, LEARNED, UNBLURRED, Options
from dlbi.reconstruction.prior import (
    disagreement,
    led_back,
    report_disagreement,
    with_background_beside,
)
from dlbi.reconstruction.sampling import sample
from dlbi.reconstruction.scoping import Given, given_by
from dlbi.reconstruction.threeb import announce_threeb, sample_threeb

PREVIEW = "first useful preview"
"""Milestone that is reported when the sampler has seen the whole field often enough to look at."""

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
    n_chains: int | None = None,
    guide_iterations: int = GUIDED_ITERATIONS,
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
        rule (`dlbi.inference.hmm.resampling`).
    n_chains : int, optional
        Chains of the sampler; as many as `quality` says if not given.
    guide_iterations : int
        Richardson–Lucy steps by which `dlbi` and `network` make the network's image agree with the
        movie; 0 leaves that image as it is.
    upscaling : int
        Fine pixels per camera pixel along one axis; the network knows 8 only.
    rng : int, Generator or None
        The same seed gives the same result at any number of workers.
    n_workers : int
        Threads of the deconvolution, the network and the sampler.
    progress : callable, optional
        Called with (stage, done, total); a milestone (`PREVIEW`) has none.

    Returns
    -------
    Reconstruction
        Mean light of each fine pixel, (Y·upscaling, X·upscaling), in the unit of the movie;
        `std` and `p_value` from `dlbi`, `network` and `bayes`; `occupancy` and `emitters` from
        `dlbi` and `bayes`; `std` and `emitters` from `3b`.

    Raises
    ------
    ShapeError
        If the movie is too small for the method, or the guide has another shape.
    InputError
        If an option has an unknown value or does not fit the others.

    Warns
    -----
    DlbiWarning
        If camera pixels do not work, the movie hardly shows its PSF, shows no light, leaves the
        ranges of the training, is not explained by the network's image, or if the chains of the
        sampler differ.

    References
    ----------
    Li et al. 2018, doi:10.1093/bioinformatics/bty241, sections 2.2 and 2.3; docs/paper-map.md
    lists the deviations.
    """
    options = Options(
        method, guide, model, quality, start, upscaling, n_workers, n_chains, guide_iterations
    )
    options.check(stack)
    if method == "3b":
        announce_threeb(stack, quality)
    return reconstruct_given(
        stack, given_by(scope, stack, psf), options, seed=root_seed(rng), progress=progress
    )


def reconstruct_given(
    stack: ImageStack,
    given: Given,
    options: Options,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Reconstruction:
    """`reconstruct` with checked options and figures that are not to be measured."""
    method, guide, upscaling = options.method, options.guide, options.upscaling
    n_workers = options.n_workers
    fine = stack.grid.refine(upscaling)
    record: dict[str, Any] = {"method": method, "seed": seed, "upscaling": upscaling}
    if given.record is not None:
        record["scope"] = given.record
    network = (options.model or load_network()) if method in LEARNED else None
    movie = measure(stack, given.noise, given.defects)
    stack = movie.stack
    record |= {"noise": movie.noise._asdict(), "defective_pixels": movie.defects}
    if method != "3b":  # which looks at every frame alike
        record["light_left"] = float(movie.fading[-1] / movie.fading[0])
    if given.defects is None:
        tell_defects(movie.defects)
        tell_gaps(movie.stack, movie.noise)
    if method in UNBLURRED:
        image = mean_image(movie.mean, movie.background.haze, upscaling)
        if method == "sofi":
            image = with_light_of(image, sofi2(stack, upscaling))
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    psf, halo, record["psf"] = optics_of(stack, given.psf, given.halo, given.psf_record)
    report = progress or _silent
    if method == "3b":
        image, std, emitters, done = sample_threeb(
            stack, psf, mean_image(movie.mean, movie.background.haze, upscaling),
            quality=options.quality, upscaling=upscaling, seed=seed,
            progress=partial(report, "3b"),
        )  # fmt: skip
        return Reconstruction(
            image, fine, std=std, emitters=emitters, background=movie.background.haze,
            provenance=record | done,
        )  # fmt: skip
    whole = movie
    movie, record["halo"] = without_halo(whole, halo), asdict(halo)
    projection = projection_of(stack, psf, upscaling)
    first = None if guide is None else with_margin(guide, projection)
    n_steps = RL_ITERATIONS if guide is None else GUIDED_ITERATIONS
    density = deconvolve(
        movie, projection, start=first, n_iterations=n_steps, n_workers=n_workers,
        progress=partial(report, "guide"),
    )  # fmt: skip
    record |= {"guided": guide is not None, "rl_iterations": n_steps}
    if method == "rl":
        image = without_margin(density, projection)
        return Reconstruction(image, fine, background=movie.background.haze, provenance=record)
    z = movie.light_z(psf)
    record["largest_light_z"] = float(z.max())
    if not shows_light(z):
        return _empty(movie, fine, record)
    prior = None
    if network is not None:
        prior, record["network"] = show(
            network, movie, density, projection, whole=whole, halo=halo,
            seed=seed, n_workers=n_workers, progress=partial(report, "network"),
        )  # fmt: skip
        if prior.mean.any():
            movie = with_background_beside(movie, prior.mean, projection)
        record["network"] |= report_disagreement(disagreement(movie, prior.mean, projection))
        if prior.mean.any():
            density = deconvolve(
                movie, projection, start=with_margin(prior.mean, projection),
                n_iterations=options.guide_iterations, n_workers=n_workers,
                progress=partial(report, "guided deconvolution"),
            )  # fmt: skip
            record["guide_iterations"] = options.guide_iterations
        if method == "network":
            image, std = prior.mean, prior.std
            if options.guide_iterations > 0:
                image = nearer_to_movie(image, without_margin(density, projection))
                std = np.float32(NETWORK_SHARE) * std
            return Reconstruction(
                image, fine, std=std, p_value=prior.p_value,
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
        guide=guide, schedule=options.schedule, given=given, n_workers=n_workers, report=report,
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
    guide: FloatImage | None,
    schedule: Schedule,
    given: Given,
    n_workers: int,
    report: Progress,
) -> Reconstruction:
    """Sample the fluorophores and join them with the network's image, or the deconvolution."""
    sampled = sample(
        movie, density, projection,
        schedule=schedule, seed=record["seed"], n_workers=n_workers,
        known=given.blinking, progress=partial(report, "sampling"),
        on_preview=partial(report, PREVIEW, 0, 0),
    )  # fmt: skip
    record |= sampled.record | {"schedule": asdict(schedule)}
    if prior is None:
        image = joined_with_deconvolution(
            sampled.density, without_margin(density, projection), guide,
            per_fluorophore=sampled.per_fluorophore, splitting=sampled.splitting,
        )  # fmt: skip
        std = image_std(image, sampled.std)
    else:
        told = led_back(
            prior.mean, movie, projection,
            n_workers=n_workers, progress=partial(report, "leading back"),
        )  # fmt: skip
        image = joined_with_network(
            sampled.density, told,
            per_fluorophore=sampled.per_fluorophore, splitting=sampled.splitting,
        )  # fmt: skip
        std = image_std(
            image, sampled.std, expected=prior.std, disagreement=sampled.density - prior.mean
        )
    p_value = None if prior is None else prior.p_value
    if p_value is None:
        p_value = np.maximum(false_discovery_tail(p_empty(image)), dark)
    return Reconstruction(
        image, projection.camera.refine(record["upscaling"]), std=std, p_value=p_value,
        occupancy=sampled.occupancy, emitters=sampled.emitters,
        background=movie.background.haze, provenance=record,
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
        nothing, fine, std=nothing, p_value=np.ones_like(nothing), occupancy=nothing,
        emitters=Emitters(np.zeros(0), np.zeros(0)), background=movie.background.haze,
        provenance=record,
    )  # fmt: skip


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
