"""The spot of 3B: its image, the derivatives by its parameters, and their priors.

A spot is a row (brightness B, radius s, column x, row y); positions are camera pixels with
integers at the pixel centres, the radius is a Gaussian sigma in camera pixels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import F64, kernel

BRIGHTNESS, RADIUS, X, Y = range(4)

WINDOW_SIGMAS = 6.0
WINDOW_EXTRA_PX = 1.0
"""A spot is drawn within 6 s + 1 px of its centre along each axis: the square around the program's
disc. Beyond, it is below 2·10⁻⁸ of its peak."""


class LogNormal(NamedTuple):
    """A log-normal law of one positive number, ln v ~ N(mu, sigma²)."""

    mu: float
    sigma: float

    def log_density(self, v: F64) -> F64:
        """ln p(v)."""
        z = (np.log(v) - self.mu) / self.sigma
        return np.asarray(-0.5 * z**2 - np.log(v) - math.log(self.sigma * math.sqrt(2 * math.pi)))

    def slope(self, v: float) -> float:
        """First derivative of ln p(v)."""
        return -(1.0 + (math.log(v) - self.mu) / self.sigma**2) / v

    def curvature(self, v: float) -> float:
        """Second derivative of ln p(v)."""
        return (1.0 + (math.log(v) - self.mu - 1.0) / self.sigma**2) / v**2

    @property
    def mode(self) -> float:
        """The most likely value."""
        return math.exp(self.mu - self.sigma**2)

    @property
    def deviation(self) -> float:
        """Standard deviation of v."""
        s2 = self.sigma**2
        return math.sqrt(math.expm1(s2)) * math.exp(self.mu + 0.5 * s2)


class Priors(NamedTuple):
    """Laws of brightness and radius, and the dimensions that a spot is normalised in."""

    brightness: LogNormal
    radius: LogNormal
    dimensions: int

    def log_density(self, spots: F64) -> float:
        """Sum of ln p(B) + ln p(s) over spots, (N, 4)."""
        laws = (
            self.brightness.log_density(spots[:, BRIGHTNESS]),
            self.radius.log_density(spots[:, RADIUS]),
        )
        return float(sum(law.sum() for law in laws))

    def slope(self, spot: F64) -> F64:
        """Gradient of ln p(B) + ln p(s), (4,)."""
        b, s = float(spot[BRIGHTNESS]), float(spot[RADIUS])
        return np.array([self.brightness.slope(b), self.radius.slope(s), 0.0, 0.0])

    def curvature(self, spot: F64) -> F64:
        """Hessian of ln p(B) + ln p(s), (4, 4)."""
        b, s = float(spot[BRIGHTNESS]), float(spot[RADIUS])
        return np.diag([self.brightness.curvature(b), self.radius.curvature(s), 0.0, 0.0])

    def at(self, x_px: float, y_px: float) -> F64:
        """A spot of the most likely brightness and radius, (4,)."""
        return np.array([self.brightness.mode, self.radius.mode, x_px, y_px])


def priors_of(sigma_px: float, *, dimensions: int = 1) -> Priors:
    """The program's priors for a PSF of given width.

    Notes
    -----
    B ~ LogNormal(2, 1) in deviations of the movie; s ~ LogNormal(ln σ + 0.1², 0.1), whose mode is
    the PSF's σ. With two dimensions, B is larger by σ√2π for the same peak.
    """
    shift = (dimensions - 1) * math.log(sigma_px * math.sqrt(2 * math.pi))
    return Priors(
        LogNormal(2.0 + shift, 1.0), LogNormal(math.log(sigma_px) + 0.1**2, 0.1), dimensions
    )


def spot_image(spot: F64, rows: F64, columns: F64, dimensions: int = 1) -> F64:
    """Image of an emitting spot at pixel centres, (rows, columns).

    Notes
    -----
    m = B / (s√2π)ⁿ · exp(−r²/2s²), sampled at the pixel centre; n = `dimensions`.
    """
    b, s, x, y = spot
    r2 = (rows[:, None] - y) ** 2 + (columns - x) ** 2
    return np.asarray(b / (s * math.sqrt(2 * math.pi)) ** dimensions * np.exp(-0.5 * r2 / s**2))


def derivatives(spot: F64, rows: F64, columns: F64, dimensions: int = 1) -> tuple[F64, F64, F64]:
    """Image of a spot with its first and second derivatives by (B, s, x, y).

    Returns
    -------
    image : ndarray, (rows, columns)
    first : ndarray, (4, rows, columns)
    second : ndarray, (4, 4, rows, columns)

    Notes
    -----
    With q = −r²/2s² and n dimensions: ∂m/∂B = m/B, ∂m/∂s = −(m/s)(n + 2q), ∂m/∂x = m (x_p − x)/s²;
    ∂²m/∂s² = m((n + 2q)² + n + 6q)/s², ∂²m/∂s∂x = −m (n + 2 + 2q)(x_p − x)/s³.
    """
    b, s, x, y = spot
    m = spot_image(spot, rows, columns, dimensions)
    dy, dx = np.broadcast_arrays(rows[:, None] - y, columns - x)
    q = -(dx**2 + dy**2) / (2 * s**2)
    n = dimensions
    by_s = -(n + 2 * q) / s
    first = m * np.stack([np.full_like(m, 1 / b), by_s, dx / s**2, dy / s**2])
    second = np.empty((4, 4, *m.shape))
    second[0] = first / b
    second[0, 0] = 0.0
    second[1, 1] = m * ((n + 2 * q) ** 2 + n + 6 * q) / s**2
    second[1, 2] = -m * (n + 2 + 2 * q) * dx / s**3
    second[1, 3] = -m * (n + 2 + 2 * q) * dy / s**3
    second[2, 2] = m * (dx**2 - s**2) / s**4
    second[3, 3] = m * (dy**2 - s**2) / s**4
    second[2, 3] = m * dx * dy / s**4
    for i in range(4):
        for j in range(i):
            second[i, j] = second[j, i]
    return m, first, second


class Profiles(NamedTuple):
    """Spots as outer products: image of spot n = peak[n] · rows[n] ⊗ columns[n].

    Parameters
    ----------
    spots : ndarray, (N, 4)
    peak : ndarray, (N,)
    rows : ndarray, (N, Y)
    columns : ndarray, (N, X)
    """

    spots: F64
    peak: F64
    rows: F64
    columns: F64

    def without(self, k: int) -> Profiles:
        """All spots but one."""
        return Profiles(*(np.delete(a, k, axis=0) for a in self))

    def replace(self, k: int, other: Profiles) -> None:
        """Put the only spot of `other` in the place of spot k."""
        for mine, new in zip(self, other, strict=True):
            mine[k] = new[0]

    def overlaps_of(self, k: int) -> F64:
        """Σ_p m_j m_k of all spots j with spot k, (N,)."""
        rows = np.einsum("jy,y->j", self.rows, self.rows[k])
        columns = np.einsum("jx,x->j", self.columns, self.columns[k])
        return np.asarray(self.peak * self.peak[k] * rows * columns)

    def overlaps(self) -> F64:
        """Σ_p m_j m_k over the field, (N, N)."""
        # Sums in a fixed order: the threads of a matrix product would change the last bits.
        rows = np.einsum("jy,ky->jk", self.rows, self.rows)
        columns = np.einsum("jx,kx->jk", self.columns, self.columns)
        return np.asarray(np.outer(self.peak, self.peak) * rows * columns)


def profiles_of(spots: F64, shape: tuple[int, int], dimensions: int = 1) -> Profiles:
    """Profiles of spots on a field of rows × columns."""
    b, s, x, y = np.ascontiguousarray(spots.T)[:, :, None]
    peak = (b / (s * math.sqrt(2 * math.pi)) ** dimensions)[:, 0]
    rows = np.exp(-0.5 * ((np.arange(shape[0]) - y) / s) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1]) - x) / s) ** 2)
    return Profiles(np.array(spots, np.float64), peak, rows, columns)


@kernel
def window_of(centre: float, radius: float, size: int) -> tuple[int, int]:
    """First pixel and end of the window of a spot along an axis of `size` pixels; may be empty."""
    half = WINDOW_SIGMAS * radius + WINDOW_EXTRA_PX
    first = max(0, math.ceil(centre - half))
    end = min(size, math.floor(centre + half) + 1)
    return first, max(first, end)


@kernel
def project(profiles: Profiles, data: F64, out: F64) -> None:
    """Σ_p m_kp D_tp of every spot into `out` (N, T); `data` is (Y, X, T)."""
    height, width, n_frames = data.shape
    for k in range(profiles.peak.size):
        radius, x, y = profiles.spots[k, 1], profiles.spots[k, 2], profiles.spots[k, 3]
        top, bottom = window_of(y, radius, height)
        left, right = window_of(x, radius, width)
        out[k] = 0.0
        for i in range(top, bottom):
            for j in range(left, right):
                weight = profiles.peak[k] * profiles.rows[k, i] * profiles.columns[k, j]
                for t in range(n_frames):
                    out[k, t] += weight * data[i, j, t]


def project_reference(profiles: Profiles, data: NDArray[np.float64]) -> F64:
    """Σ_p m_kp D_tp over the whole field in NumPy, (N, T); the reference of `project`."""
    return np.asarray(
        np.einsum("k,ky,kx,yxt->kt", profiles.peak, profiles.rows, profiles.columns, data)
    )
