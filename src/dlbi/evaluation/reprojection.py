"""Fit of a fine image, blurred and binned, to the mean frame of a movie."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.optics import GaussianPSF
from dlbi.forward import Projection

WIDTHS_PX = (0.125, 8.0)
"""FWHM of the narrowest and the widest resolution-scaling function tried, camera pixels."""

FLOAT32_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Match:
    """A fine image, the camera image it should explain, and the pixels that count.

    Parameters
    ----------
    image : ndarray, (Y, X), float32
    fine : PixelGrid
    target : ndarray, (Y, X), float32
    camera : PixelGrid
    border_px : int
        Camera pixels left out along each edge.
    """

    image: FloatImage
    fine: PixelGrid
    target: FloatImage
    camera: PixelGrid
    border_px: int

    def project(self, fwhm_nm: float, shift_nm: tuple[float, float] = (0.0, 0.0)) -> FloatImage:
        """The image moved by (y, x), blurred and binned to the camera grid."""
        y, x = self.fine.origin_nm
        moved = replace(self.fine, origin_nm=(y + shift_nm[0], x + shift_nm[1]))
        return Projection(moved, self.camera, GaussianPSF(fwhm_nm)).forward(self.image)

    def inner(self, picture: FloatImage) -> NDArray[np.float64]:
        """The pixels that count, (N,)."""
        b, (h, w) = self.border_px, picture.shape
        return picture[b : h - b, b : w - b].astype(np.float64).ravel()

    def correlation(self, projected: FloatImage) -> float:
        """Pearson correlation with the target over the pixels that count."""
        return correlation(self.inner(projected), self.inner(self.target))

    def loss(self, fwhm_nm: float, shift_nm: tuple[float, float] = (0.0, 0.0)) -> float:
        """Minus the correlation at a width and shift; 0 for a constant image."""
        found = self.correlation(self.project(fwhm_nm, shift_nm))
        return 0.0 if math.isnan(found) else -found

    def linear_fit(self, projected: FloatImage) -> tuple[float, float]:
        """Least-squares scale and offset from the projected image to the target."""
        x, y = self.inner(projected), self.inner(self.target)
        dx = x - x.mean()
        scale = 0.0 if is_constant(x) else float(dx @ (y - y.mean())) / float(dx @ dx)
        return scale, float(y.mean() - scale * x.mean())


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson correlation of two arrays of equal shape; NaN if one is constant."""
    if is_constant(a) or is_constant(b):
        return math.nan
    da = np.asarray(a, np.float64) - a.mean(dtype=np.float64)
    db = np.asarray(b, np.float64) - b.mean(dtype=np.float64)
    return float(np.vdot(da, db)) / math.sqrt(float(np.vdot(da, da)) * float(np.vdot(db, db)))


def is_constant(a: NDArray[np.floating]) -> bool:
    """Whether an array has one value, up to float32 rounding."""
    return float(np.ptp(a)) <= FLOAT32_ROUNDING * float(np.abs(a).max())


def best_fwhm_nm(match: Match, *, n_scan: int = 13) -> float:
    """Width of the Gaussian with the highest correlation: a scan, then Brent's method.

    A constant image fits at any width; it gets the narrowest.

    Warns
    -----
    DlbiWarning
        If the widest width tried is the best.
    """
    pixel_nm = match.camera.pixel_size_nm
    log_widths = np.log(np.geomspace(*WIDTHS_PX, n_scan) * pixel_nm)

    def loss(log_width: float) -> float:
        return match.loss(math.exp(log_width))

    losses = [loss(w) for w in log_widths]
    best = int(np.argmin(losses))
    if best == n_scan - 1:
        warnings.warn(
            f"the image fits the mean frame best at the widest blur tried, {WIDTHS_PX[1]:g} camera "
            "pixels; it may not show this field",
            DlbiWarning,
            stacklevel=3,
        )
    bracket = log_widths[max(best - 1, 0)], log_widths[min(best + 1, n_scan - 1)]
    found = minimize_scalar(loss, bounds=bracket, method="bounded", options={"xatol": 1e-3})
    return math.exp(found.x)


def best_shift_nm(
    match: Match, fwhm_nm: float, *, fit_width: bool
) -> tuple[float, tuple[float, float]]:
    """Width and (y, x) shift with the highest correlation, by the simplex method.

    Parameters
    ----------
    match : Match
    fwhm_nm : float
        Width to start from, and to keep unless `fit_width`.
    fit_width : bool
    """
    pixel_nm = match.camera.pixel_size_nm

    def unpack(p: NDArray[np.float64]) -> tuple[float, tuple[float, float]]:
        width_nm = fwhm_nm * math.exp(p[2]) if fit_width else fwhm_nm
        return width_nm, (float(p[0] * pixel_nm), float(p[1] * pixel_nm))

    def loss(p: NDArray[np.float64]) -> float:
        return match.loss(*unpack(p))

    n = 3 if fit_width else 2
    simplex = np.vstack([np.zeros(n), 0.25 * np.eye(n)])
    found = minimize(
        loss,
        np.zeros(n),
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "xatol": 1e-3, "fatol": 1e-6},
    )
    return unpack(found.x)
