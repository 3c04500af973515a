"""How well a trained network knows its own errors, measured on series with known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlbi.core.rng import derived_seed, stream
from dlbi.learning.confidence import Confidence, fit_confidence
from dlbi.learning.network import Network
from dlbi.learning.observation import Observation
from dlbi.learning.passes import run_passes
from dlbi.training.pool import Pool

PIXELS_PER_SERIES = 8192
"""Fine pixels drawn of each series; neighbours tell the same."""

LEAST_AMPLITUDE = 0.2
"""Amplitude from which on the error of a pixel counts although there is no structure; below it
the image is dark and right."""


def measure_confidence(
    network: Network,
    pool: Pool,
    *,
    seed: int,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Confidence:
    """Fit the correction of the network's spread and logits.

    Parameters
    ----------
    network : Network
        Of kind `compact`.
    pool : Pool
        Series that it was not trained on.
    seed : int
        Draws the dropout masks and the pixels.
    n_workers : int
        Threads.
    progress : callable, optional
        Called with (done, total) series.
    """
    scores, empty, spreads, residuals = [], [], [], []
    for i, record in enumerate(pool.records):
        arrays = {name: values[i].astype(np.float32) for name, values in pool.arrays.items()}
        seen = Observation(arrays["statistics"], arrays["guide"], 1.0, record["summary"])
        passes = run_passes(network, seen, seed=derived_seed(seed, i), n_workers=n_workers)
        drawn = stream(seed, "pixels", i).choice(
            arrays["target"].size, min(PIXELS_PER_SERIES, arrays["target"].size), replace=False
        )
        target, structure = (arrays[k].ravel()[drawn] for k in ("target", "structure"))
        amplitude, spread, score = (image.ravel()[drawn] for image in passes)
        scores.append(score)
        empty.append(structure == 0)
        bright = (structure > 0) | (amplitude > LEAST_AMPLITUDE)
        spreads.append(spread[bright])
        residuals.append((target - np.maximum(amplitude, 0.0))[bright])
        if progress is not None:
            progress(i + 1, len(pool))
    return fit_confidence(*map(np.concatenate, (scores, empty, spreads, residuals)))
