"""The network's image of a movie with calibrated uncertainty."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage, ImageStack
from dlbi.learning.confidence import Confidence, false_discovery_tail
from dlbi.learning.network import UPSCALING, ModelMetadata, Network
from dlbi.learning.observation import Observation
from dlbi.learning.passes import (
    COMPACT_PASSES,
    COMPACT_TILE_PX,
    PAPER_PASSES,
    PAPER_TILE_PX,
    Progress,
    run_frame_passes,
    run_passes,
)

MAY_BE_LESS, MAY_BE_MORE = ("haze",), ("n_frames",)
"""Figures that may lie below, and above, those of the training: less haze than any of its series
had is none that counts, and more frames make the statistics surer."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The network's image, (Y·8, X·8) float32.

    Parameters
    ----------
    mean : ndarray
        Light per fine pixel and frame, background removed: in counts from `predict`, in units of
        the brightest training structure from `predict_frames`.
    std : ndarray
        Its standard deviation, same unit.
    p_value : ndarray or None
        Share of empty pixels among those that look at least as clear; None if the network cannot
        tell.
    """

    mean: FloatImage
    std: FloatImage
    p_value: FloatImage | None


def predict(
    network: Network,
    observation: Observation,
    *,
    seed: int,
    n_passes: int = COMPACT_PASSES,
    n_workers: int = 1,
    progress: Progress | None = None,
    max_tile_px: int = COMPACT_TILE_PX,
) -> Prediction:
    """Image, standard deviation and p-value from a compact network.

    Parameters
    ----------
    network : Network
        Of kind `compact`.
    observation : Observation
        At least 16×16 camera pixels.
    seed : int
        Decides which features each pass drops.
    n_passes : int
        Multiples of 8 see all orientations equally often. Confidence is measured with the default.
    n_workers : int
        Threads; any number gives the same result.
    progress : callable, optional
    max_tile_px : int
        Camera pixels computed at once; less needs less memory and more time. The result stays the
        same but for rounding.

    Raises
    ------
    InputError, ShapeError
        If an option, the network's kind or the size of the field does not fit.

    Notes
    -----
    With the mean amplitude a ≥ 0 and its corrected standard deviation s, the density is
    a² · scale ÷ 64 with the standard deviation √(2s⁴ + 4a²s²) · scale ÷ 64 of a squared normal
    variable, which does not vanish at a = 0.
    """
    passes = run_passes(
        network, observation, seed=seed, n_passes=n_passes, n_workers=n_workers,
        progress=progress, max_tile_px=max_tile_px,
    )  # fmt: skip
    confidence = network.metadata.confidence
    if confidence is None:
        warnings.warn(
            "the network was never compared with known truth: its std and p-value are uncorrected "
            "and probably too small",
            DlbiWarning,
            stacklevel=2,
        )
        confidence = Confidence()
    unit = np.float32(observation.scale / UPSCALING**2)
    amplitude = np.maximum(passes.amplitude, 0.0)
    variance = confidence.std(passes.spread) ** 2
    return Prediction(
        unit * amplitude**2,
        unit * np.sqrt(2.0 * variance**2 + 4.0 * amplitude**2 * variance),
        false_discovery_tail(confidence.p_empty(passes.score)),
    )


def predict_frames(
    network: Network,
    stack: ImageStack,
    *,
    seed: int,
    n_passes: int = PAPER_PASSES,
    n_workers: int = 1,
    progress: Progress | None = None,
    max_tile_px: int = PAPER_TILE_PX,
) -> Prediction:
    """Image and its spread from a network of the paper's kind.

    Parameters
    ----------
    network : Network
        Of kind `paper`.
    stack : ImageStack
        As many frames as the network was trained on, at least 16×16 pixels.
    seed, n_workers, progress, max_tile_px
        As `predict`.
    n_passes : int
        Passes over the movie, and as many over the movie turned by 90°.

    Returns
    -------
    Prediction
        In (0, 1), so it has to be scaled to the light of the movie. The p-value is there if the
        network was compared with known truth.

    Raises
    ------
    InputError, ShapeError
        If an option, the network's kind, the size or the number of frames does not fit.

    References
    ----------
    Paper, section 2.2.3.
    """
    passes = run_frame_passes(
        network, stack, seed=seed, n_passes=n_passes, n_workers=n_workers,
        progress=progress, max_tile_px=max_tile_px,
    )  # fmt: skip
    confidence = network.metadata.confidence
    return Prediction(
        passes.amplitude,
        passes.spread if confidence is None else confidence.std(passes.spread),
        None if confidence is None else false_discovery_tail(confidence.p_empty(passes.score)),
    )


def out_of_range(metadata: ModelMetadata, summary: Mapping[str, float]) -> list[str]:
    """Physical figures of a movie that lie outside those of the training.

    Parameters
    ----------
    metadata : ModelMetadata
    summary : mapping of str to float
        As ``Observation.summary``.

    Returns
    -------
    list of str
        Such as ``"psf_sigma_px 2.3 (trained on 0.7 to 1.4)"``, in the order of the ranges; a
        figure that is missing or NaN counts as outside, one of `MAY_BE_LESS` only above and one of
        `MAY_BE_MORE` only below.
    """
    outside = []
    for name, (low, high) in metadata.ranges.items():
        value = summary.get(name, math.nan)
        harmless = (value < low and name in MAY_BE_LESS) or (value > high and name in MAY_BE_MORE)
        if not (low <= value <= high or harmless):
            outside.append(f"{name} {value:.3g} (trained on {low:.3g} to {high:.3g})")
    return outside
