"""Random points and smooth random curves in nanometres, the material of the shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from dlbi.core.grid import PixelGrid
from dlbi.simulation.strokes import Curve

FIELD_UM2 = 92.16
"""Area of the paper's field, 480 × 480 pixels of 20 nm; numbers of objects refer to it."""
STEP_NM = 80.0
"""Distance of the points of a curve."""

Point = NDArray[np.float64]
"""(y, x) in nm."""


def count(per_field: float, grid: PixelGrid, rng: np.random.Generator) -> int:
    """A random number of objects of the given mean per paper field, at least one."""
    height, width = grid.extent_nm
    return max(1, int(rng.poisson(per_field * height * width * 1e-6 / FIELD_UM2)))


def points(grid: PixelGrid, n: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """n uniform points of the field, (n, 2)."""
    uniform: NDArray[np.float64] = rng.random((n, 2)) * grid.extent_nm + grid.origin_nm
    return uniform


def through(curve: Curve, point: Point, rng: np.random.Generator) -> Curve:
    """The curve moved so that a random one of its points lies at `point`."""
    moved: Curve = curve + (point - curve[rng.integers(len(curve))])
    return moved


def random_curve(angle: float, length_nm: float, bending: float, rng: np.random.Generator) -> Curve:
    """A smooth random curve from the origin.

    Parameters
    ----------
    angle : float
        Direction at the start, rad.
    length_nm : float
    bending : float
        Standard deviation of the curvature, rad/µm; it changes over about 2 µm.
    rng : Generator
    """
    n = max(3, int(length_nm / STEP_NM))
    curvature = smooth_noise(n, 2000.0 / STEP_NM, rng) * bending * STEP_NM * 1e-3
    direction = angle + np.cumsum(curvature)
    return np.cumsum(STEP_NM * np.stack([np.sin(direction), np.cos(direction)], 1), axis=0)


def wavy_line(a: Point, b: Point, strength: float, rng: np.random.Generator) -> Curve:
    """A line from a to b with a random bow and S-bend of `strength` × its length."""
    length = float(np.hypot(*(b - a)))
    s = np.linspace(0, 1, max(3, int(length / STEP_NM)))[:, None]
    bow = rng.normal(0, strength, 2)
    normal = np.array([b[1] - a[1], a[0] - b[0]])
    shift = bow[0] * np.sin(np.pi * s) + bow[1] * np.sin(2 * np.pi * s)
    curve: Curve = a + s * (b - a) + shift * normal
    return curve


def wobbly_outline(radius_nm: float, rng: np.random.Generator) -> Curve:
    """A closed outline around the origin that misses its start a little, as drawn by hand."""
    n = max(16, int(2 * np.pi * radius_nm / STEP_NM))
    angle = np.linspace(0, 2 * np.pi * rng.uniform(0.96, 1.02), n)
    order = np.arange(2, 7)
    cosine, sine = rng.normal(0, 0.28 / order, (2, order.size))
    wobble = cosine @ np.cos(np.outer(order, angle)) + sine @ np.sin(np.outer(order, angle))
    r = radius_nm * (1 + wobble).clip(0.2)
    outline = np.stack([r * np.sin(angle), r * np.cos(angle)], 1)
    return outline @ rotation(rng.uniform(0, 2 * np.pi))


def rotation(angle: float) -> NDArray[np.float64]:
    """2 × 2 matrix that turns row vectors."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def normals(curve: Curve) -> Curve:
    """Unit normals of a curve."""
    tangent = np.gradient(curve, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    return np.stack([tangent[:, 1], -tangent[:, 0]], 1)


def modulation(
    n: int, strength: float, rng: np.random.Generator, *, scale_nm: float = 1200.0
) -> NDArray[np.float64]:
    """Positive factor around 1 that changes over `scale_nm` of a curve, (n,)."""
    factor: NDArray[np.float64] = np.exp(strength * smooth_noise(n, scale_nm / STEP_NM, rng))
    return factor


def smooth_noise(n: int, scale: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise of about unit variance that changes over `scale` points, (n,)."""
    knots = rng.standard_normal(int(n / scale) + 3)
    at = rng.random() + np.arange(n) / scale
    k = at.astype(np.int64)
    f = at - k
    f = f * f * (3 - 2 * f)
    smooth: NDArray[np.float64] = (1 - f) * knots[k] + f * knots[k + 1]
    return smooth


def smooth_field(
    grid: PixelGrid, rng: np.random.Generator, *, sigma_nm: float, slope: float = 0.0
) -> NDArray[np.float64]:
    """Gaussian random field of about unit variance.

    Parameters
    ----------
    grid : PixelGrid
    rng : Generator
    sigma_nm : float
        Standard deviation of the Gaussian low-pass.
    slope : float
        Amplitudes fall as frequency^−slope; natural images have about 1.
    """
    margin = int(np.ceil(4 * sigma_nm / grid.pixel_size_nm)) + 8
    shape = [next_fast_len(n + margin, real=True) for n in grid.shape]
    spectrum = rfft2(rng.standard_normal(shape, dtype=np.float32))
    fy = np.fft.fftfreq(shape[0], grid.pixel_size_nm)[:, None]
    fx = np.fft.rfftfreq(shape[1], grid.pixel_size_nm)
    f2 = fy**2 + fx**2
    f2[0, 0] = f2[0, 1]
    response = np.exp(-2 * np.pi**2 * sigma_nm**2 * f2)
    if slope > 0:
        response *= f2 ** (-slope / 2)
    field = irfft2(spectrum * response.astype(np.float32), shape)
    crop = field[: grid.shape[0], : grid.shape[1]] / field.std()
    return np.asarray(crop, np.float64)
