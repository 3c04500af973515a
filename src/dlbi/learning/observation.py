"""What the network sees of a movie: statistics at camera resolution and a fine deconvolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.learning.statistics import fluctuation_maps

CHANNELS = (
    "signal", "haze", "detail", "noise", "noise_of_mean", "few_frames", "misfit", "psf",
    "excess", "along_x", "along_y", "across_x", "across_y", "falling", "rising",
    "lag", "neighbour_lag", "third", "highest", "lowest",
)  # fmt: skip
"""Camera-resolution channels in their order."""

DETAIL_SIGMA_PX = 1.5
DETAIL_GAIN = 4.0
MISFIT_LIMIT = 10.0
LEAST_MEAN = 0.01
"""Mean signal ÷ signal level below which a movie counts as dark."""

SECOND_SOFTENING, THIRD_SOFTENING = 1e-3, 1e-4

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Observation:
    """The input of the network.

    Parameters
    ----------
    statistics : ndarray, (S, Y, X), float32
        `CHANNELS`, dimensionless.
    guide : ndarray, (Y·8, X·8), float32
        √(64 · Richardson–Lucy density ÷ scale): its square averages to signal ÷ scale.
    scale : float, counts
        Signal level of the movie; the unit of all amplitudes.
    summary : dict
        Physical figures that say whether a movie is like those of the training.
    """

    statistics: NDArray[np.float32]
    guide: FloatImage
    scale: float
    summary: dict[str, float]


def observe(
    stack: ImageStack,
    *,
    mean: FloatImage,
    haze: FloatImage,
    trend: NDArray[np.float32],
    noise_variance: FloatImage,
    row_correlation: float = 0.0,
    density: FloatImage,
    projection: Projection,
    frames_worth: float,
) -> Observation:
    """Gather what the network needs to know about a movie.

    Parameters
    ----------
    stack : ImageStack
    mean, haze : ndarray, (Y, X), counts
        Time average and its smooth background.
    trend : ndarray, (T,), counts
        Background change from frame to frame.
    noise_variance : ndarray, (Y, X), counts²
        Camera noise of one frame.
    row_correlation : float
        Correlation of that noise between neighbours in a row; its part of `along_x` is taken off.
    density : ndarray, fine grid of the projection, counts
        Richardson–Lucy estimate.
    projection : Projection
    frames_worth : float
        Noise variance of a frame ÷ that of `mean`.

    Notes
    -----
    All normalisation is global: one scale for the movie, so tiles have no seams. The scale is the
    signal-weighted mean signal Σs²/Σs, which empty surroundings do not change.
    """
    signal = mean - haze
    scale = signal_level(signal)
    unit = np.float32(1.0 / scale)
    noise = np.sqrt(noise_variance) * unit
    root_worth = np.float32(np.sqrt(frames_worth))
    misfit = (signal - projection.forward(density)) * unit * root_worth / noise
    maps = fluctuation_maps(stack, trend)
    excess = maps.variance - noise_variance
    along_x = maps.along_x - np.float32(row_correlation) * noise_variance
    level = np.ones_like(signal)
    sigma_px = projection.psf.sigma_px(projection.camera.pixel_size_nm)
    second = [
        _soft_root(m * unit**2, 2, SECOND_SOFTENING)
        for m in (
            excess, along_x, maps.along_y, maps.across_x, maps.across_y,
            maps.falling, maps.rising, maps.lag, maps.neighbour_lag,
        )
    ]  # fmt: skip
    statistics = np.stack(
        [
            signal * unit,
            (haze - haze.min()) * unit,
            DETAIL_GAIN * unit * (signal - gaussian_filter(signal, DETAIL_SIGMA_PX)),
            noise,
            10.0 * noise / root_worth,
            10.0 / np.float32(np.sqrt(stack.n_frames)) * level,
            0.2 * np.clip(misfit, -MISFIT_LIMIT, MISFIT_LIMIT),
            np.float32(sigma_px) * level,
            *second,
            _soft_root(maps.third * unit**3, 3, THIRD_SOFTENING),
            0.25 * maps.highest * unit,
            0.25 * maps.lowest * unit,
        ]
    ).astype(np.float32)
    return Observation(
        statistics,
        guide=guide_of(density, scale, projection),
        scale=scale,
        summary={
            "n_frames": float(stack.n_frames),
            "psf_sigma_px": float(sigma_px),
            "signal_to_noise": float(1.0 / np.median(noise)),
            "fluctuation": float(along_x.mean() + maps.along_y.mean())
            / (2.0 * scale * max(float(signal.mean()), LEAST_MEAN * scale)),
            "haze": float((haze - haze.min()).mean()) / scale,
        },
    )


def signal_level(signal: FloatImage) -> float:
    """Σs²/Σs over the positive part of a signal image, counts."""
    positive = np.maximum(signal, 0.0).astype(np.float64)
    return max(float((positive**2).sum()) / max(float(positive.sum()), _TINY), _TINY)


def guide_of(density: FloatImage, scale: float, projection: Projection) -> FloatImage:
    """Amplitude √(f² · density ÷ scale) of the part of a fine image inside the field."""
    factor = round(projection.camera.pixel_size_nm / projection.fine.pixel_size_nm)
    margin = (projection.fine.shape[0] - factor * projection.camera.shape[0]) // 2
    inside = density[margin : density.shape[0] - margin, margin : density.shape[1] - margin]
    guide: FloatImage = np.sqrt(inside * np.float32(factor**2 / scale))
    return guide


def _soft_root(values: FloatImage, order: int, softening: float) -> FloatImage:
    """Signed root that is linear near zero, so that noise about zero is not blown up."""
    power = 1.0 / order
    rooted = (np.abs(values) + softening) ** power - softening**power
    return np.asarray(np.sign(values) * rooted, np.float32)
