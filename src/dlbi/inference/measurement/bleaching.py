"""The mean image of a movie that fades: late frames count as little as they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar, nnls

from dlbi.core.images import FloatImage, ImageStack
from dlbi.inference.measurement.background import Background, estimate_background, haze_of

N_BLOCKS = 20
"""Blocks of frames whose light the curve is fitted to: blinking averages out within one."""

MOST_DECAYS = 20.0
"""Fastest fading looked for, in 1/e times per movie."""

N_FITTED = 3
"""Numbers that describe the curve: what fades, how fast, and what stays."""

CLEAR = 25.0
"""What the curve explains of the blocks ÷ what it leaves by degree of freedom, from which on a
movie is taken to fade."""

WORTH = 1.02
"""Σ fading² ÷ T from which on it matters: light that falls by less than 40 % changes nothing."""


@dataclass(frozen=True, slots=True)
class TimeAverage:
    """A movie reduced to one image: frame[t] = background + fading[t] · signal + noise.

    Parameters
    ----------
    mean : ndarray, (Y, X), counts
        Haze and signal; the mean of all frames unless the movie fades.
    background : Background
    fading : ndarray, (T,)
        Light of each frame ÷ its mean over the movie.
    """

    mean: FloatImage
    background: Background
    fading: NDArray[np.float32]


def frames_worth(fading: NDArray[np.float32]) -> float:
    """Σ fading²: noise variance of a frame ÷ that of the mean; the number of frames if steady."""
    return float(np.square(fading, dtype=np.float64).sum())


def time_average(stack: ImageStack, variance: Callable[[FloatImage], FloatImage]) -> TimeAverage:
    """The image that explains the frames of a movie best, and its background.

    Parameters
    ----------
    stack : ImageStack
    variance : callable
        Noise variance of one frame, (Y, X), counts², at a mean image.

    Notes
    -----
    Least squares: Σ fading · light ÷ Σ fading², light being what lies above the darkest level of
    the background, below which only the offset of the camera can be. Where fluorophores bleach the
    late frames hold noise and the few that happened to survive; the plain mean would show both,
    and its noise is larger.
    """
    mean, n_frames = stack.mean(), np.float32(stack.n_frames)
    background = estimate_background(stack, mean, variance(mean) / n_frames)
    fading = fading_of(stack, mean - background.haze)
    worth = frames_worth(fading)
    if worth == n_frames:
        return TimeAverage(mean, background, fading)
    mean = _weighted(stack, background.trend, float(background.haze.min()), fading)
    haze = haze_of(mean, variance(mean) / np.float32(worth))
    return TimeAverage(mean, Background(background.trend, haze), fading)


def fading_of(stack: ImageStack, signal: FloatImage) -> NDArray[np.float32]:
    """Light of each frame ÷ its mean over the movie: an exponential and what stays.

    Parameters
    ----------
    stack : ImageStack
    signal : ndarray, (Y, X), counts
        Its time average without background.

    Returns
    -------
    ndarray, (T,)
        Ones where no fading stands out of the blinking, or where it hardly matters.
    """
    n_frames = stack.n_frames
    still = np.ones(n_frames, np.float32)
    if n_frames < N_BLOCKS or not np.isfinite(signal).all():
        return still
    edges = np.linspace(0, n_frames, N_BLOCKS + 1).astype(int)
    blocks = np.add.reduceat(_contrast(stack, signal), edges[:-1]) / np.diff(edges)
    middles = 0.5 * (edges[:-1] + edges[1:]) / n_frames

    def fitted(decays: float) -> tuple[NDArray[np.float64], float]:
        return nnls(_courses(middles, decays), blocks)

    found = minimize_scalar(lambda d: fitted(d)[1], bounds=(0.0, MOST_DECAYS), method="bounded")
    shares, left = fitted(float(found.x))
    if float(blocks.var()) * N_BLOCKS <= (1.0 + CLEAR / (N_BLOCKS - N_FITTED)) * left**2:
        return still
    light = _courses((np.arange(n_frames) + 0.5) / n_frames, float(found.x)) @ shares
    fading = (light / light.mean()).astype(np.float32)
    return fading if frames_worth(fading) >= WORTH * n_frames else still


def _courses(phase: NDArray[np.float64], decays: float) -> NDArray[np.float64]:
    """Light that fades and light that stays, (n, 2)."""
    return np.stack([np.exp(-decays * phase), np.ones_like(phase)], axis=1)


def _contrast(stack: ImageStack, signal: FloatImage) -> NDArray[np.float64]:
    """Light of each frame where the signal is above its mean, less that where it is below, (T,).

    Blind to whatever lies on the whole field alike.
    """
    seen = np.maximum(signal, 0.0).astype(np.float64)
    seen -= seen.mean()
    light = np.empty(stack.n_frames)
    for frames, images in stack.chunks():
        light[frames] = np.einsum("tyx,yx->t", images, seen)
    return light


def _weighted(
    stack: ImageStack, trend: NDArray[np.float32], level: float, fading: NDArray[np.float32]
) -> FloatImage:
    """Level + Σ fading · (frame − trend − level) ÷ Σ fading², (Y, X), counts."""
    total = np.zeros(stack.grid.shape, np.float64)
    share = fading.astype(np.float64)
    for frames, images in stack.chunks():
        total += np.einsum("t,tyx->yx", share[frames], images)
    total -= np.sum(share * (trend + level))
    return (level + total / frames_worth(fading)).astype(np.float32)
