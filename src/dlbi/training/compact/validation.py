"""Scores of the network on fields it was not trained on, beside those of its guide."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dlbi.core.images import FloatImage
from dlbi.evaluation.reprojection import correlation
from dlbi.training.compact.batches import Arrays
from dlbi.training.compact.network import CompactNetwork

BLUR_PX = 2.0
"""σ of the blur in fine pixels before densities are correlated."""

_AT_ONCE = 4

Amplitudes = Callable[[slice], NDArray[np.float32]]
"""√density (n, 8Y, 8X) of some series."""


@dataclass(frozen=True, slots=True)
class FieldScores:
    """Means over fields; NaN where there is none.

    Parameters
    ----------
    psnr_db : float
        Of √density, relative to the largest true value of the field; fields with structure.
    corr_2px : float
        Pearson correlation of the densities after a blur of σ = 2 fine pixels; likewise.
    false_light : float
        Mean density shown in fields where all light is out of focus, in units of the signal level.
    """

    psnr_db: float
    corr_2px: float
    false_light: float


def score_network(network: CompactNetwork, arrays: Arrays) -> FieldScores:
    """Scores of the network without dropout on all fields of a pool."""
    return _scores(lambda part: predicted(network, arrays, part), arrays)


def score_guide(arrays: Arrays) -> FieldScores:
    """Scores of the guide itself: what the network must beat."""
    return _scores(lambda part: arrays["guide"][part].astype(np.float32), arrays)


def predicted(network: CompactNetwork, arrays: Arrays, part: slice) -> NDArray[np.float32]:
    """√density of some series of a pool, (n, 8Y, 8X), ≥ 0."""
    device = next(network.parameters()).device
    statistics, guide = (
        torch.from_numpy(arrays[name][part].astype(np.float32)).to(device)
        for name in ("statistics", "guide")
    )
    mask = statistics.new_ones(len(statistics), network.channels, *statistics.shape[-2:])
    with torch.no_grad():
        fine = network(statistics, guide.unsqueeze(1), mask)[-1]
    amplitude: NDArray[np.float32] = fine[:, 0].clamp(min=0.0).cpu().numpy()
    return amplitude


def _scores(amplitudes: Amplitudes, arrays: Arrays) -> FieldScores:
    psnr, corr, light = [], [], []
    for image, target in _fields(amplitudes, arrays):
        if target.max() > 0.0:
            psnr.append(psnr_db(image, target))
            corr.append(_blurred_correlation(image**2, target**2))
        else:
            light.append(float((image**2).mean(dtype=np.float64)))
    return FieldScores(_mean(psnr), _mean(corr), _mean(light))


def _fields(amplitudes: Amplitudes, arrays: Arrays) -> Iterator[tuple[FloatImage, FloatImage]]:
    n = len(arrays["target"])
    for start in range(0, n, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, n))
        yield from zip(amplitudes(part), arrays["target"][part].astype(np.float32), strict=True)


def psnr_db(image: FloatImage, target: FloatImage) -> float:
    """10 lg(max² ÷ mean squared error), max being that of the target, which is not all zero."""
    error = float(np.square(image - target, dtype=np.float64).mean())
    return 10.0 * math.log10(float(target.max()) ** 2 / error) if error > 0.0 else math.inf


def _blurred_correlation(image: FloatImage, target: FloatImage) -> float:
    """0 for a constant image, which is like nothing."""
    found = correlation(gaussian_filter(image, BLUR_PX), gaussian_filter(target, BLUR_PX))
    return 0.0 if math.isnan(found) else found


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan
