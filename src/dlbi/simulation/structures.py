"""Structure images: procedural kinds by name, and any grey image (paper 2.1, 3.1)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, laplace, zoom

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.core.rng import RngLike, as_generator
from dlbi.simulation import shapes
from dlbi.simulation.shapes import Shape

KINDS: dict[str, Shape] = {
    "filaments": shapes.filaments,
    "bundles": shapes.bundles,
    "mesh": shapes.mesh,
    "er": shapes.er,
    "rings": shapes.rings,
    "points": shapes.clusters,
    "line_pairs": shapes.line_pairs,
    "sketch": shapes.sketch,
    "texture": shapes.texture,
    "haze": shapes.haze,
    "asters": shapes.asters,
    "domains": shapes.domains,
    "mixed": shapes.mixed,
    "mitochondria": shapes.mitochondria,
    "chromatin": shapes.chromatin,
    "star": shapes.star,
}
"""Procedural structures by name."""

Preparation = Literal["natural", "sketch", "density"]

_LUMINANCE = np.array([0.2125, 0.7154, 0.0721])


def draw(kind: str, grid: PixelGrid, rng: RngLike = None) -> StructureImage:
    """Draw a random structure of a kind, scaled to maximum 1.

    Parameters
    ----------
    kind : str
        One of `KINDS`: filaments, bundles, mesh, er, rings, points, line_pairs, sketch, texture,
        haze, asters, domains, mixed, mitochondria, chromatin, star.
    grid : PixelGrid
        Fine pixels; sizes are physical, so any grid shows the same kind of structure.
    rng : int, Generator or None
        Decides where the structure lies.

    Returns
    -------
    StructureImage
        Density of fluorophores, maximum 1, on `grid`.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"no structure is called {kind!r}; choose one of {', '.join(KINDS)}")
    return StructureImage(_scaled(KINDS[kind](grid, as_generator(rng))), grid)


def from_image(
    image: ArrayLike, grid: PixelGrid, preparation: Preparation = "density"
) -> StructureImage:
    """Turn a grey image of any size into a structure on a grid.

    Parameters
    ----------
    image : array-like, (Y, X) or (Y, X, 3)
        Grey or RGB values; the whole image is stretched over the field.
    grid : PixelGrid
    preparation : {"natural", "sketch", "density"}
        `prepare_natural`, `prepare_sketch`, or the grey values as they are.

    Raises
    ------
    InputError, ShapeError
        If the image is not one grey or RGB image of finite values, or is empty once prepared.
    """
    prepare = {"natural": prepare_natural, "sketch": prepare_sketch, "density": _prepare_density}
    if preparation not in prepare:
        raise InputError(f"preparation must be one of {', '.join(prepare)}, got {preparation!r}")
    return StructureImage(_scaled(_resize(prepare[preparation](image), grid.shape)), grid)


def prepare_natural(image: ArrayLike) -> FloatImage:
    """Edges of a natural image: magnitude of the Laplacian of the grey values, maximum 1."""
    return _scaled(np.abs(laplace(_grey(image), mode="nearest")))


def prepare_sketch(image: ArrayLike) -> FloatImage:
    """Strokes of a sketch, 0 … 1; dark strokes on a light ground are inverted."""
    grey = _grey(image)
    low, high = float(grey.min()), float(grey.max())
    if low == high:
        raise InputError("the sketch is one flat grey; it needs strokes on a ground")
    strokes = (grey - low) / (high - low)
    dark_on_light = np.median(strokes) > 0.5
    return _scaled(1.0 - strokes if dark_on_light else strokes)


def _prepare_density(image: ArrayLike) -> FloatImage:
    grey = _grey(image)
    if grey.min() < 0:
        raise InputError(f"a density must not be negative, the image reaches {grey.min():g}")
    return _scaled(grey)


def _grey(image: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(image, np.float64)
    if values.ndim == 3 and values.shape[2] == 3:
        values = values @ _LUMINANCE
    if values.ndim != 2 or values.size == 0:
        raise ShapeError(f"a structure needs one grey or RGB image, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise InputError("the structure image holds NaN or infinite values")
    return values


def _scaled(image: NDArray[np.floating]) -> FloatImage:
    peak = image.max()
    if not peak > 0:
        raise InputError("the structure is empty: no pixel is brighter than the ground")
    return np.asarray(np.clip(image / peak, 0.0, 1.0), np.float32)


def _resize(image: FloatImage, shape: tuple[int, int]) -> FloatImage:
    """Linear interpolation after a low-pass where pixels are merged; outer corners stay aligned."""
    factor = np.array(shape) / image.shape
    blur = np.maximum(0.5 * (1 / factor - 1), 0.0)
    smooth = gaussian_filter(image, blur, mode="nearest")
    resized: FloatImage = zoom(smooth, factor, order=1, mode="nearest", grid_mode=True)
    return resized
