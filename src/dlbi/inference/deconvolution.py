"""Guided Richardson–Lucy deconvolution of the mean image (the deterministic stage of 2.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.images import FloatImage
from dlbi.core.sharing import shared_among
from dlbi.forward import Projection

START_FLOOR = 1e-3
"""Share of the mean level added to a guide, so that light may appear where it is zero."""

SHARE_PX = 300_000
"""Fine pixels of a step that keep one thread busy long enough."""

_TINY = float(np.finfo(np.float32).tiny)

DAMPING_SIGMA = 2.0
"""Standard deviations of the mean image within which a damped deconvolution leaves it alone."""

MARGIN_SENSITIVITY = 0.02
"""Fine pixels that send less than this share of their light into the field are not updated."""


def richardson_lucy(
    mean: FloatImage,
    background: FloatImage,
    projection: Projection,
    *,
    n_iterations: int,
    start: FloatImage | None = None,
    variance: FloatImage | None = None,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FloatImage:
    """Maximum-likelihood density of the mean image under Poisson noise, stopped early.

    Parameters
    ----------
    mean : ndarray, (Y, X), counts
        Time average of the movie.
    background : ndarray, (Y, X), counts
        Additive background of the mean.
    projection : Projection
        Fine grid (with its margin) to camera grid.
    n_iterations : int
        More iterations are sharper and noisier.
    start : ndarray, fine grid, optional
        Non-negative guide; it is scaled to the light of the movie. Flat if not given. Within
        the reach of the PSF, light enters where the guide has none only slowly.
    variance : ndarray, (Y, X), counts², optional
        Variance of `mean`. With it the steps are damped: a pixel that is missed by less than
        `DAMPING_SIGMA` standard deviations draws no correction, so no noise is amplified.
    n_workers : int
        Threads; any number gives the same result.
    progress : callable, optional
        Called with (done, total) iterations.

    Returns
    -------
    ndarray, fine grid, float32
        Signal emitted per fine pixel and frame, counts.

    Raises
    ------
    InputError, ShapeError
        If the guide is negative, not finite, empty or of another shape.

    Notes
    -----
    x ← x ⊙ [Hᵀ(signal / Hx)] / Hᵀ1 (Richardson 1972, doi:10.1364/JOSA.62.000055; Lucy 1974,
    doi:10.1086/111605). It is also expectation–maximisation for the first moment of the
    factorial HMM, which makes its result the guide density of the sampler.

    Damped (White 1994, doi:10.1117/12.176819), signal / Hx is 1 + u (2 − u) (signal − Hx) / Hx with
    u = min(1, (signal − Hx)² / (4 variance)).
    """
    signal = np.maximum(mean - background, 0.0)
    sensitivity = projection.adjoint(np.ones_like(signal))
    visible = sensitivity >= MARGIN_SENSITIVITY
    total = float(signal.sum())
    if start is None:
        x = np.ones(projection.fine.shape, np.float32)
    else:
        x = _checked_guide(start, projection.fine.shape)
        x = x + np.float32(START_FLOOR * x.mean())
    x *= np.float32(total / max(float((x * sensitivity).sum()), _TINY))
    x[~visible] = 0.0
    inverse = np.where(visible, 1.0 / np.maximum(sensitivity, MARGIN_SENSITIVITY), 0.0)
    inverse = inverse.astype(np.float32)
    floor = np.float32(max(total / signal.size * 1e-6, _TINY))
    half = np.empty((signal.shape[0], x.shape[1]), np.float32)

    def compare(start: int, stop: int) -> None:
        rows = slice(start, stop)
        expected = np.maximum(projection.forward_rows(x, rows), floor)
        ratio = signal[rows] / expected
        if variance is not None:
            ratio = 1.0 + _damping(signal[rows] - expected, variance[rows]) * (ratio - 1.0)
        half[rows] = projection.spread_columns(ratio)

    def update(start: int, stop: int) -> None:
        projection.scale_rows(x, half, inverse, slice(start, stop))

    with shared_among(_useful(n_workers, x.size)) as share:
        for done in range(n_iterations):
            share(compare, len(signal))
            share(update, len(x))
            if progress is not None:
                progress(done + 1, n_iterations)
    return x


def _useful(n_workers: int, n_fine: int) -> int:
    """Threads that are worth starting: below `SHARE_PX` each, they wait longer than they work."""
    return max(min(n_workers, n_fine // SHARE_PX), 1)


def _damping(misfit: FloatImage, variance: FloatImage) -> FloatImage:
    """Share of a misfit that is corrected: 1 beyond `DAMPING_SIGMA`, falling to 0 at none."""
    limit = DAMPING_SIGMA * np.sqrt(variance)
    size = np.abs(misfit)
    u = (size / np.maximum(np.maximum(limit, size), _TINY)) ** 2
    return np.asarray(u * (2.0 - u), np.float32)


def _checked_guide(guide: FloatImage, shape: tuple[int, int]) -> FloatImage:
    if guide.shape != shape:
        raise ShapeError(
            f"the guide must have the shape of the fine grid {shape}, not {guide.shape}"
        )
    if not np.isfinite(guide).all() or guide.min() < 0 or not guide.any():
        raise InputError("a guide image must be finite, non-negative and not all zero")
    return guide.astype(np.float32, copy=True)
