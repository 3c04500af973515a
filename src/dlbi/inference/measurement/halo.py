"""The halo of the PSF from the movie itself, and frames without it.

Objectives, cover slips and thick specimens leave a part of the light far from where a Gaussian PSF
expects it. It blinks with its emitter, so the temporal covariance of distant pixels shows it. All
that reconstructs here expects a Gaussian PSF; the halo is taken off the frames before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from dlbi.core.images import FRAMES_AT_ONCE, ChangedFrames, FloatImage, ImageStack, as_slice
from dlbi.core.optics import Halo
from dlbi.inference.measurement.covariance_fit import (
    SIGMA_RANGE_PX,
    Curve,
    Tails,
    few_blocks,
)
from dlbi.inference.measurement.pixel_covariance import BlinkingCovariance

F64 = NDArray[np.float64]

REACH_PX = 12.0
"""Distances of the pixels that are compared."""

SHARE_RANGE = (0.0, 0.8)
WIDTH_RANGE = (1.5, 5.0)
"""Width of a halo in σ of the PSF: a narrower one is a wider PSF, a wider one is haze."""

LEAST_SHARE, LEAST_Z = 0.05, 4.0
"""Share of the light and standard errors from which on a halo counts."""

REACH_SIGMA = 6.0
"""Distance, in σ of the halo, beyond which light no longer influences what is taken off."""

_TINY = float(np.finfo(np.float64).tiny)
_STARTS = np.array(list(product((0.6, 0.9, 1.3, 1.8), (0.1, 0.4), (2.0, 3.5))))
"""σ, share and relative width from which the fit may start."""


class HaloEstimate(NamedTuple):
    """What a movie says of the halo.

    Parameters
    ----------
    share, share_error : float
        Of the light, and its standard error.
    sigma_px, sigma_error_px : float
        Standard deviation of the spread on top of the PSF, camera pixels.
    z : float
        Standard errors by which it stands out of a PSF without a halo.
    core_variance : float
        Variance that not knowing the halo adds to the σ of the PSF beside it, pixels².
    """

    share: float
    share_error: float
    sigma_px: float
    sigma_error_px: float
    z: float
    core_variance: float

    @property
    def stands_out(self) -> bool:
        """Whether it counts."""
        return self.share >= LEAST_SHARE and self.z >= LEAST_Z

    @property
    def tails(self) -> Tails:
        """The halo, if it counts."""
        return Tails(self.share, self.sigma_px) if self.stands_out else Tails()

    def halo(self, pixel_size_nm: float) -> Halo:
        """The halo, if it counts, in the sample."""
        return Halo(self.share, self.sigma_px * pixel_size_nm) if self.stands_out else Halo()


def estimate_halo(covariance: BlinkingCovariance) -> HaloEstimate | None:
    """Fit PSF and halo together; None if nothing blinks.

    Notes
    -----
    Least squares of σ, share h and width s; amplitude, constant, row and column follow linearly.
    Errors are those of the scatter between blocks of frames. How far the halo stands out is the
    mean of the covariances, along the difference of the best fits with and without one, over its
    scatter. Emitters out of focus that blink by themselves have a covariance of the same form;
    what is taken off for them is too little or too much by their brightness, but broad light all
    the same.
    """
    curve = Curve.of(covariance, REACH_PX)
    blocks = curve.without_offsets(curve.blocks)
    target = blocks.mean(axis=0)
    if not target.any():
        return None

    def light(p: F64) -> F64:
        return curve.without_offsets(curve.light(p[0], 0.0, Tails(p[1], p[2] * p[0])))

    def misfit(p: F64) -> F64:
        left: F64 = _fitted(light(p), target) - target
        return left

    def bare(p: F64) -> F64:
        return misfit(np.array([p[0], 0.0, 1.0]))

    start = min(_STARTS, key=lambda p: float((misfit(p) ** 2).sum()))
    low, high = zip(SIGMA_RANGE_PX, SHARE_RANGE, WIDTH_RANGE, strict=True)
    best = least_squares(misfit, start, bounds=(low, high))
    without = least_squares(bare, best.x[:1], bounds=SIGMA_RANGE_PX)
    shape = light(best.x)
    if not (target @ shape > 0.0 and best.x[1] > 0.0):
        return None
    n_blocks, jacobian = len(blocks), np.asarray(best.jac)
    rest, scale = blocks - target, few_blocks(n_blocks) / (n_blocks * (n_blocks - 1))

    def errors(*columns: F64) -> F64:
        steps: F64 = rest @ np.linalg.pinv(np.column_stack(columns)).T
        squared: F64 = scale * (steps**2).sum(axis=0)
        return np.sqrt(squared)

    sigma, share, width = best.x.tolist()
    sigma_error, share_error, width_error, _ = errors(jacobian, shape).tolist()
    beside = _difference(shape, light(np.array([without.x[0], 0.0, 1.0])))
    return HaloEstimate(
        share=share,
        share_error=share_error,
        sigma_px=width * sigma,
        sigma_error_px=float(np.hypot(width_error * sigma, sigma_error * width)),
        z=float((target @ beside) / np.sqrt(max(scale * ((rest @ beside) ** 2).sum(), _TINY))),
        core_variance=max(0.0, sigma_error**2 - float(errors(jacobian[:, :1], shape)[0]) ** 2),
    )


def bared(stack: ImageStack, mean: FloatImage, halo: Halo) -> ImageStack:
    """The movie with the fluctuations of the halo taken off, lazily; its time average stays.

    Parameters
    ----------
    stack : ImageStack
    mean : ndarray, (Y, X), counts
        Its time average. The halo in it is background, `Halo.part_of`.
    halo : Halo
    """
    if halo.share == 0.0:
        return stack
    return replace(stack, data=_Bared(stack.data, mean, halo, stack.grid.pixel_size_nm))


@dataclass(frozen=True, slots=True)
class _Bared(ChangedFrames):
    """Frames whose halo is taken off when they are read."""

    mean: FloatImage
    halo: Halo
    pixel_size_nm: float

    def read(self, frames: range, rows: range, columns: range) -> FloatImage:
        """Without the fluctuations of the halo, a few frames at a time: more pixels count."""
        reach = int(np.ceil(REACH_SIGMA * self.halo.sigma_nm / self.pixel_size_nm))
        outer = tuple(
            slice(max(part.start - reach, 0), part.stop + reach) for part in (rows, columns)
        )
        inner = tuple(
            slice(part.start - wide.start, part.stop - wide.start, part.step)
            for part, wide in zip((rows, columns), outer, strict=True)
        )
        out = np.empty((len(frames), len(rows), len(columns)), np.float32)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            run = as_slice(frames[start : start + FRAMES_AT_ONCE])
            taken = np.asarray(self.source[(run, *outer)], np.float32)
            taken = taken - self.halo.part_of(taken - self.mean[outer], self.pixel_size_nm)
            out[start : start + FRAMES_AT_ONCE] = taken[(slice(None), *inner)]
        return out


def _fitted(shape: F64, target: F64) -> F64:
    """A shape with the amplitude that fits best, not negative."""
    return max(float(shape @ target) / float(shape @ shape), 0.0) * shape


def _difference(shape: F64, other: F64) -> F64:
    """What of one shape another does not have, whatever their amplitudes."""
    return shape - other * (shape @ other) / (other @ other)
