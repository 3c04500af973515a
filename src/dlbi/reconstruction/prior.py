"""The network's image of a movie as a prior for the inference (paper 2.2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage
from dlbi.evaluation.squirrel import temporal_variance
from dlbi.forward import Projection
from dlbi.learning.network import Network
from dlbi.learning.prediction import Prediction, out_of_range, predict, predict_frames
from dlbi.reconstruction.measurement import (
    Movie,
    deconvolve,
    observed,
    with_margin,
    without_margin,
)

DISAGREEMENT = 5.0
"""Standard errors of the mean image by which the network's image may miss a pixel."""

MODEL_ERROR = 0.05
"""Share of the signal by which it may miss besides: PSF and background are not known better."""

LARGE_SHARE = 0.10
"""Share of the field in disagreement from which on the user is told."""

STRAY_SHARE, EXPLAINED_SHARE = 0.3, 0.15
"""The network leads astray where it draws light that the movie does not show in more than the first
share of the field, while the sampled density disagrees with less than the second. Light that it
leaves out does not count: mostly that is haze, whose level was estimated too low."""

LEADING_STEPS = 10
"""Damped Richardson–Lucy steps that lead a result back."""


def look(
    network: Network,
    movie: Movie,
    density: FloatImage,
    projection: Projection,
    *,
    seed: int,
    n_workers: int,
    progress: Callable[[int, int], None],
) -> tuple[Prediction, dict[str, Any]]:
    """Show a movie to a network.

    Parameters
    ----------
    network : Network
    movie : Movie
    density : ndarray, fine grid of the projection, counts
        Richardson–Lucy estimate.
    projection : Projection
    seed, n_workers : int
        The result depends on the seed only.
    progress : callable
        Called with (done, total) passes.

    Returns
    -------
    prediction : Prediction
        In counts per fine pixel and frame, of the field without margin.
    record : dict
        For the provenance.

    Warns
    -----
    DlbiWarning
        If the movie leaves the ranges of the training.
    """
    record: dict[str, Any] = {"name": network.metadata.name, "sha256": network.sha256}
    if network.metadata.kind == "paper":
        raw = predict_frames(
            network, movie.stack, seed=seed, n_workers=n_workers, progress=progress
        )
        return _in_counts(raw, movie), record
    observation = observed(movie, density, projection)
    unlike = out_of_range(network.metadata, observation.summary)
    if unlike:
        warnings.warn(
            f"the movie is unlike those the network was trained on: {'; '.join(unlike)}; compare "
            "with --method bayes",
            DlbiWarning,
            stacklevel=3,
        )
    record |= {"summary": observation.summary, "out_of_range": unlike}
    prediction = predict(network, observation, seed=seed, n_workers=n_workers, progress=progress)
    return prediction, record


def disagreement(movie: Movie, prior: FloatImage, projection: Projection) -> FloatImage:
    """How far the mean image lies from what the network's image predicts, standard errors.

    Parameters
    ----------
    movie : Movie
    prior : ndarray, (Y·f, X·f), counts
        Image of the field; it is continued into the margin and scaled to the light of the movie.
    projection : Projection

    Returns
    -------
    ndarray, (Y, X)
        Positive where the movie shows more light. The standard error holds the camera noise of
        the mean and `MODEL_ERROR` of the signal.
    """
    expected = projection.forward(with_margin(prior, projection))
    signal = movie.signal
    power = float((expected.astype(np.float64) ** 2).sum())
    share = max(float((signal * expected).sum(dtype=np.float64)), 0.0) / power if power else 0.0
    expected = expected * np.float32(share)
    error = np.sqrt(movie.variance_of_mean + (MODEL_ERROR * np.maximum(signal, expected)) ** 2)
    return np.asarray((signal - expected) / error, np.float32)


def report_disagreement(z: FloatImage) -> dict[str, float]:
    """Figures for the provenance, and a warning if much of the field disagrees."""
    share = float((np.abs(z) > DISAGREEMENT).mean())
    if share > LARGE_SHARE:
        warnings.warn(
            f"network and movie disagree in {share:.0%} of the field: the network's image does not "
            "explain the mean image there; compare with --method bayes",
            DlbiWarning,
            stacklevel=3,
        )
    return {"share_in_disagreement": share, "rms_z": float(np.sqrt(np.mean(z**2)))}


def is_astray(image: FloatImage, sampled: FloatImage, movie: Movie, projection: Projection) -> bool:
    """Whether fluorophores explain the mean image, and the network draws light that is not there.

    Parameters
    ----------
    image, sampled : ndarray, (Y·f, X·f), counts
        The network's image and the sampled density.
    movie : Movie
    projection : Projection
    """
    network, fluorophores = (disagreement(movie, x, projection) for x in (image, sampled))
    invented = float((network < -DISAGREEMENT).mean())
    unexplained = float((np.abs(fluorophores) > DISAGREEMENT).mean())
    return invented > STRAY_SHARE and unexplained < EXPLAINED_SHARE


def led_back(
    image: FloatImage,
    movie: Movie,
    projection: Projection,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None],
) -> FloatImage:
    """An image that the network led astray, corrected where it does not explain the mean image.

    Parameters
    ----------
    image : ndarray, (Y·f, X·f), counts
    movie : Movie
    projection : Projection
    n_workers : int
        Threads; any number gives the same result.
    progress : callable
        Called with (done, total) steps.

    Notes
    -----
    Deconvolution of the mean, damped by its standard error with the blinking in it
    (`temporal_variance`): what noise or luck may have done stays, so no grain arises.
    """
    variance = temporal_variance(movie.stack) / np.float32(movie.stack.n_frames)
    start = with_margin(image, projection)
    corrected = deconvolve(
        movie, projection, start=start, n_iterations=LEADING_STEPS, variance=variance,
        n_workers=n_workers, progress=progress,
    )  # fmt: skip
    return without_margin(corrected, projection)


def _in_counts(raw: Prediction, movie: Movie) -> Prediction:
    """A prediction of arbitrary unit with the light of the movie."""
    light = float(np.maximum(movie.signal, 0.0).sum(dtype=np.float64))
    total = float(raw.mean.sum(dtype=np.float64))
    share = np.float32(light / total if total > 0 else 0.0)
    return Prediction(raw.mean * share, raw.std * share, raw.p_value)
