"""Pixel grids: the only place where pixel indices become nanometres.

Convention: positions are measured from the outer corner of the field, so the centre of
pixel ``i`` lies at ``(i + 0.5) * pixel_size_nm``. Grids of the same field share that corner
(area alignment). For an upscaling factor ``f`` the centre of fine pixel ``X`` therefore lies at
the camera coordinate ``x_LR = (X + 0.5) / f - 0.5``, where integers are camera pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError, ShapeError


@dataclass(frozen=True, slots=True)
class PixelGrid:
    """A rectangular grid of square pixels.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns, (Y, X).
    pixel_size_nm : float
        Edge of one pixel in the sample plane.
    origin_nm : tuple of float
        (y, x) of the outer corner of pixel (0, 0).

    Raises
    ------
    ShapeError
        If the shape is not two positive whole numbers.
    InputError
        If the pixel size is not positive and finite.
    """

    shape: tuple[int, int]
    pixel_size_nm: float
    origin_nm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Validate shape and pixel size."""
        whole = all(isinstance(n, int | np.integer) for n in self.shape)
        if len(self.shape) != 2 or not whole or min(self.shape) < 1:
            raise ShapeError(
                f"a grid needs two positive whole side lengths (Y, X), got {self.shape}"
            )
        if not (np.isfinite(self.pixel_size_nm) and self.pixel_size_nm > 0):
            raise InputError(
                f"pixel size must be positive, got {self.pixel_size_nm} nm; "
                "give it with --pixel-size NM"
            )

    @property
    def extent_nm(self) -> tuple[float, float]:
        """Height and width of the field."""
        return self.shape[0] * self.pixel_size_nm, self.shape[1] * self.pixel_size_nm

    def refine(self, factor: int) -> PixelGrid:
        """The same field with pixels `factor` times smaller."""
        h, w = self.shape
        return PixelGrid((h * factor, w * factor), self.pixel_size_nm / factor, self.origin_nm)

    def coarsen(self, factor: int) -> PixelGrid:
        """The same field with pixels `factor` times larger; sides must divide."""
        h, w = self.shape
        if h % factor or w % factor:
            raise ShapeError(f"a {h}×{w} grid does not divide into {factor}×{factor} blocks")
        return PixelGrid((h // factor, w // factor), self.pixel_size_nm * factor, self.origin_nm)

    def pad(self, margin_px: int) -> PixelGrid:
        """The grid extended by `margin_px` pixels on every side."""
        h, w = self.shape
        y, x = self.origin_nm
        shift = margin_px * self.pixel_size_nm
        return PixelGrid(
            (h + 2 * margin_px, w + 2 * margin_px), self.pixel_size_nm, (y - shift, x - shift)
        )

    def crop(self, y0: int, x0: int, height: int, width: int) -> PixelGrid:
        """The part of the grid that starts at pixel (y0, x0)."""
        y, x = self.origin_nm
        p = self.pixel_size_nm
        return PixelGrid((height, width), p, (y + y0 * p, x + x0 * p))

    def crop_region(self, region: tuple[slice, slice]) -> PixelGrid:
        """The part of the grid inside a region of rows and columns."""
        y, x = region
        return self.crop(y.start, x.start, y.stop - y.start, x.stop - x.start)

    def centres_nm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centre coordinates of the rows and of the columns."""
        h, w = self.shape
        return self.to_nm(np.arange(h), np.arange(w))

    def to_nm(
        self, y_px: NDArray[np.number], x_px: NDArray[np.number]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel coordinates (integers are pixel centres) to nanometres."""
        oy, ox = self.origin_nm
        p = self.pixel_size_nm
        return (
            oy + (np.asarray(y_px, np.float64) + 0.5) * p,
            ox + (np.asarray(x_px, np.float64) + 0.5) * p,
        )

    def to_px(
        self, y_nm: NDArray[np.floating], x_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Nanometres to pixel coordinates (integers are pixel centres)."""
        oy, ox = self.origin_nm
        p = self.pixel_size_nm
        return (
            (np.asarray(y_nm, np.float64) - oy) / p - 0.5,
            (np.asarray(x_nm, np.float64) - ox) / p - 0.5,
        )


def block_sum(image: NDArray[np.floating], factor: int) -> NDArray[np.floating]:
    """Sum of each factor×factor block of an image, (Y, X) → (Y/factor, X/factor).

    Raises
    ------
    ShapeError
        If a side does not divide by `factor`.
    """
    h, w = image.shape
    if h % factor or w % factor:
        raise ShapeError(f"a {h}×{w} image does not divide into {factor}×{factor} blocks")
    blocks: NDArray[np.floating] = image.reshape(h // factor, factor, w // factor, factor).sum(
        axis=(1, 3)
    )
    return blocks
