"""The network's image of a movie as a prior for the inference (paper 2.2)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage
from dlbi.evaluation.squirrel import temporal_variance
from dlbi.forward import Projection
from dlbi.learning.network import Network
from dlbi.learning.observation import signal_level
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

BESIDE_SIGMA_PX = 3.0
"""Camera pixels over which what an image leaves over counts as background."""

LEADING_STEPS = 10
"""Damped Richardson–Lucy steps that lead an image back to the movie."""

NOTHING = 1e-9
"""Share of the brightest pixel up to which a pixel is empty."""

MISSED = 1.5
"""Standard errors by which an image misses the movie where it is led back by half."""

AROUND_SIGMA_PX = 1.0
"""Camera pixels over which that is averaged."""

DARK_SHARE = 0.03
"""Expected signal, relative to the signal level, at which an image is led back by half."""


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
    return np.asarray((signal - expected) / np.sqrt(_error_variance(movie, expected)), np.float32)


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


def with_background_beside(movie: Movie, image: FloatImage, projection: Projection) -> Movie:
    """A movie whose background is what an image leaves over, smooth on the scale of a PSF.

    Parameters
    ----------
    movie : Movie
    image : ndarray, (Y·f, X·f), counts
        The network's image of the field.
    projection : Projection

    Notes
    -----
    The lower envelope of the mean cannot tell haze from structure that is broad or dense; the
    network can, by its blinking. What it leaves over of the signal, averaged with weights
    1 ÷ variance, joins the background. That stays at or above its darkest level, below which only
    the offset of the camera can be, so there is not room everywhere for light that is invented.
    """
    expected = projection.forward(with_margin(image, projection))
    weight = 1.0 / _error_variance(movie, expected)
    left, total = (
        gaussian_filter(x, BESIDE_SIGMA_PX, mode="nearest")
        for x in (weight * (movie.signal - expected), weight)
    )
    haze = movie.background.haze
    beside = np.maximum(haze + left / total, haze.min()).astype(np.float32)
    return replace(movie, background=replace(movie.background, haze=beside))


def _error_variance(movie: Movie, expected: FloatImage) -> FloatImage:
    """Squared standard error of the mean image beside what is expected of it, (Y, X), counts²."""
    lit = np.maximum(movie.signal, expected)
    return np.asarray(movie.variance_of_mean + (MODEL_ERROR * lit) ** 2, np.float32)


def led_back(
    image: FloatImage,
    movie: Movie,
    projection: Projection,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None],
) -> FloatImage:
    """An image corrected where it draws light that does not explain the mean image.

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
    (`temporal_variance`): what noise or luck may have done stays, so no grain arises. With the
    signal e that the image predicts, in units of the signal level, and the mean square z² of what
    it misses around a pixel, in units of that standard error, the correction counts with the
    exponent e² ÷ (e² + 0.03²) · z⁴ ÷ (z⁴ + 1.5⁴): what is left where the image is dark is
    background, and where it explains the movie it knows the structure better than the light of one
    movie.
    """
    blinking = temporal_variance(movie.stack) / np.float32(movie.frames_worth)
    variance = np.maximum(blinking, movie.variance_of_mean)
    start = with_margin(image, projection)
    corrected = without_margin(
        deconvolve(
            movie, projection, start=start, n_iterations=LEADING_STEPS, variance=variance,
            n_workers=n_workers, progress=progress,
        ),
        projection,
    )  # fmt: skip
    expected = projection.forward(start)
    dark = np.float32((DARK_SHARE * signal_level(movie.signal)) ** 2)
    lit = expected**2 / (expected**2 + dark)
    z2 = gaussian_filter((movie.signal - expected) ** 2 / variance, AROUND_SIGMA_PX, mode="nearest")
    share = lit * z2**2 / (z2**2 + np.float32(MISSED**4))
    weight = zoom(share, image.shape[0] // share.shape[0], order=1, mode="nearest", grid_mode=True)
    drawn = image > NOTHING * image.max()
    ratio = np.divide(corrected, image, out=np.ones_like(image), where=drawn)
    return np.asarray(image * ratio**weight, np.float32)


def _in_counts(raw: Prediction, movie: Movie) -> Prediction:
    """A prediction of arbitrary unit with the light of the movie."""
    light = float(np.maximum(movie.signal, 0.0).sum(dtype=np.float64))
    total = float(raw.mean.sum(dtype=np.float64))
    share = np.float32(light / total if total > 0 else 0.0)
    return Prediction(raw.mean * share, raw.std * share, raw.p_value)
