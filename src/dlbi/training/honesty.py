"""How well a trained network knows its own errors, measured on series with known truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError
from dlbi.core.rng import derived_seed, stream
from dlbi.learning.confidence import (
    Confidence,
    calibration_table,
    discovery_table,
    false_discovery_tail,
    fit_confidence,
)
from dlbi.learning.network import Network
from dlbi.learning.observation import Observation
from dlbi.learning.passes import run_passes
from dlbi.training.pool import Pool

PIXELS_PER_SERIES = 8192
"""Fine pixels drawn of each series; neighbours tell the same."""

LEAST_AMPLITUDE = 0.2
"""Amplitude from which on the error of a pixel counts although there is no structure; below it
the image is dark and right."""


class _Pixels(NamedTuple):
    """Some pixels of a series, all (n,)."""

    score: NDArray[np.float32]
    empty: NDArray[np.bool_]
    spread: NDArray[np.float32]
    residual: NDArray[np.float32]
    counted: NDArray[np.bool_]


def measure_honesty(
    network: Network,
    pool: Pool,
    *,
    seed: int,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Confidence, dict[str, Any]]:
    """Fit the correction of the uncertainty on every other series and test it on the rest.

    Parameters
    ----------
    network : Network
        Of kind `compact`.
    pool : Pool
        At least two series that it was not trained on.
    seed : int
        Draws the dropout masks and the pixels.
    n_workers : int
        Threads.
    progress : callable, optional
        Called with (done, total) series.

    Returns
    -------
    confidence : Confidence
    tested : dict
        ``calibration``: rows of stated and observed share of empty pixels; ``discovery``: share of
        empty pixels among those with p up to a level, where there are any; ``within_one_std``:
        share of pixels whose amplitude lies within one standard deviation of the truth.

    Raises
    ------
    InputError
        If there are fewer than two series.
    """
    if len(pool) < 2:
        raise InputError(
            f"the uncertainty is fitted on one series and tested on another, got {len(pool)}; set "
            "data.n_validation to 2 or more"
        )
    found = []
    for i, record in enumerate(pool.records):
        arrays = {name: values[i].astype(np.float32) for name, values in pool.arrays.items()}
        seen = Observation(arrays["statistics"], arrays["guide"], 1.0, record["summary"])
        passes = run_passes(network, seen, seed=derived_seed(seed, i), n_workers=n_workers)
        size = arrays["target"].size
        drawn = stream(seed, "pixels", i).choice(size, min(PIXELS_PER_SERIES, size), replace=False)
        target, structure = (arrays[name].ravel()[drawn] for name in ("target", "structure"))
        amplitude, spread, score = (image.ravel()[drawn] for image in passes)
        shown = np.maximum(amplitude, 0.0)
        found.append(
            _Pixels(
                score, structure == 0, spread, target - shown,
                (structure > 0) | (shown > LEAST_AMPLITUDE),
            )
        )  # fmt: skip
        if progress is not None:
            progress(i + 1, len(pool))
    confidence = _fitted(found[::2])
    return confidence, _tested(confidence, found[1::2])


def _fitted(found: list[_Pixels]) -> Confidence:
    score, empty, spread, residual, counted = map(np.concatenate, zip(*found, strict=True))
    return fit_confidence(score, empty, spread[counted], residual[counted])


def _tested(confidence: Confidence, found: list[_Pixels]) -> dict[str, Any]:
    score, empty, spread, residual, counted = map(np.concatenate, zip(*found, strict=True))
    # Every field has its own tail of p-values.
    p_values = [false_discovery_tail(confidence.p_empty(p.score)) for p in found]
    discovery = discovery_table(np.concatenate(p_values), empty)
    inside = np.abs(residual) <= confidence.std(spread)
    return {
        "calibration": [
            row._asdict() for row in calibration_table(confidence.p_empty(score), empty)
        ],
        "discovery": [row._asdict() for row in discovery if row.n_pixels],
        "within_one_std": float(inside[counted].mean()),
    }
