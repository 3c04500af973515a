"""The one physical model: fine density or emitters → expected camera image.

Simulation, deconvolution, inference and scoring all project with these functions, so they share
one PSF, one pixel integration and one pixel-centre convention (`dlbi.core.grid`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dlbi.core.emitters import Emitters
from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.kernels import F32, F64, fill_profile, kernel
from dlbi.core.optics import GaussianPSF, integrated_profile

PROFILE_REACH_SIGMA = 4.0
"""Half width of a projected PSF in σ; 6e-5 of the light lies outside."""


@dataclass(frozen=True, slots=True)
class BandedMatrix:
    """A matrix whose row i is zero outside columns first[i] … first[i] + band − 1.

    Parameters
    ----------
    first : ndarray, (n_rows,), int64
    values : ndarray, (n_rows, band), float32
    n_columns : int
    """

    first: NDArray[np.int64]
    values: NDArray[np.float32]
    n_columns: int

    def dense(self) -> NDArray[np.float32]:
        """The full matrix, (n_rows, n_columns)."""
        full = np.zeros((len(self.first), self.n_columns), np.float32)
        columns = self.first[:, None] + np.arange(self.values.shape[1])
        np.put_along_axis(full, columns, self.values, axis=1)
        return full

    def sparse(self) -> csr_array:
        """The same matrix for sums and products of its entries."""
        n_rows, band = self.values.shape
        columns = self.first[:, None] + np.arange(band)
        ends = np.arange(n_rows + 1) * band
        return csr_array(
            (self.values.ravel(), columns.ravel(), ends), shape=(n_rows, self.n_columns)
        )


def _axis_matrix(
    n_camera: int, n_fine: int, factor: float, shift_px: float, sigma_px: float
) -> BandedMatrix:
    centres = (np.arange(n_fine) + 0.5) / factor - 0.5 - shift_px
    band = min(n_fine, int(np.ceil((2 * PROFILE_REACH_SIGMA * sigma_px + 1) * factor)))
    pixel = np.arange(n_camera)
    middle = (pixel + shift_px + 0.5) * factor - 0.5
    first = np.clip(np.rint(middle - (band - 1) / 2), 0, n_fine - band).astype(np.int64)
    columns = first[:, None] + np.arange(band)
    values = integrated_profile(pixel[:, None], centres[columns], sigma_px)
    return BandedMatrix(first, values.astype(np.float32), n_fine)


class Projection:
    """Linear map from a fine image to the expected camera image, and its adjoint.

    Every fine pixel is a point source at its centre, seen through the pixel-integrated PSF
    (paper Eq. 1, linear optics of 2.1.1). The map is separable: forward(x) = B_y x B_xᵀ.

    Parameters
    ----------
    fine, camera : PixelGrid
        The fine grid may reach beyond the camera field: light from the margin counts.
    psf : GaussianPSF
    """

    def __init__(self, fine: PixelGrid, camera: PixelGrid, psf: GaussianPSF) -> None:
        self.fine = fine
        self.camera = camera
        self.psf = psf
        factor = camera.pixel_size_nm / fine.pixel_size_nm
        sigma = psf.sigma_px(camera.pixel_size_nm)
        shift = (np.array(camera.origin_nm) - np.array(fine.origin_nm)) / camera.pixel_size_nm
        self.rows = _axis_matrix(camera.shape[0], fine.shape[0], factor, shift[0], sigma)
        self.columns = _axis_matrix(camera.shape[1], fine.shape[1], factor, shift[1], sigma)

    def crop(self, region: tuple[slice, slice]) -> Projection:
        """The projection of a region of camera pixels, with the same margin around it."""
        margin = round(
            (self.camera.origin_nm[0] - self.fine.origin_nm[0]) / self.camera.pixel_size_nm
        )
        factor = round(self.camera.pixel_size_nm / self.fine.pixel_size_nm)
        camera = self.camera.crop_region(region)
        return Projection(camera.pad(margin).refine(factor), camera, self.psf)

    def forward(self, fine: FloatImage) -> FloatImage:
        """Expected camera image of a fine image, (Y, X) float32."""
        return self.forward_rows(fine, slice(0, self.camera.shape[0]))

    def adjoint(self, camera: FloatImage) -> FloatImage:
        """Transpose of `forward`: a camera image spread back onto the fine grid."""
        _expect(camera, self.camera)
        out = np.empty(self.fine.shape, np.float32)
        _rows_adjoint(self.rows.first, self.rows.values, self.spread_columns(camera), out)
        return out

    def forward_rows(self, fine: FloatImage, rows: slice) -> FloatImage:
        """Some rows of `forward`, bit for bit as in the whole."""
        _expect(fine, self.fine)
        first, values = self.rows.first[rows], self.rows.values[rows]
        half = np.empty((len(first), self.fine.shape[1]), np.float32)
        out = np.empty((len(first), self.camera.shape[1]), np.float32)
        _rows_forward(first, values, np.ascontiguousarray(fine), half)
        _columns_forward(self.columns.first, self.columns.values, half, out)
        return out

    def spread_columns(self, camera_rows: FloatImage) -> FloatImage:
        """First half of `adjoint`: camera rows (n, X) with fine columns, (n, fine X)."""
        half = np.zeros((len(camera_rows), self.fine.shape[1]), np.float32)
        image = np.ascontiguousarray(camera_rows)
        _columns_adjoint(self.columns.first, self.columns.values, image, half)
        return half

    def scale_rows(
        self, image: FloatImage, half: FloatImage, weights: FloatImage, rows: slice
    ) -> None:
        """Multiply rows of a fine image in place by those of weights × `adjoint`.

        Parameters
        ----------
        image, weights : ndarray, fine grid
        half : ndarray, (Y, fine X)
            All camera rows with fine columns (`spread_columns`).
        rows : slice
        """
        _rows_scaled(
            self.rows.first, self.rows.values, half, weights[rows], rows.start, image[rows]
        )


def _expect(image: FloatImage, grid: PixelGrid) -> None:
    if image.shape != grid.shape:
        raise ShapeError(f"the projection maps images of shape {grid.shape}, got {image.shape}")


# The inner loops run along views that begin at 0: where an index may be negative numba checks each
# one, which keeps the loop from being vectorised. Four rows at a time halve the reads and writes of
# the sum, and are added in the same order.


@kernel
def _add_four(total: F32, rows: F32, a: float, b: float, c: float, d: float) -> None:
    """Add a, b, c and d times the rows of an image (4, X)."""
    first, second, third, fourth = rows[0], rows[1], rows[2], rows[3]
    for j in range(total.size):
        t = total[j]
        t += a * first[j]
        t += b * second[j]
        t += c * third[j]
        t += d * fourth[j]
        total[j] = t


@kernel
def _add_one(total: F32, row: F32, share: float) -> None:
    for j in range(total.size):
        total[j] += share * row[j]


@kernel
def _rows_forward(first: NDArray[np.int64], values: F32, image: F32, out: F32) -> None:
    n_band = values.shape[1]
    for i in range(out.shape[0]):
        total, share, rows = out[i], values[i], image[first[i] : first[i] + n_band]
        total[:] = np.float32(0.0)
        k = 0
        while k + 4 <= n_band:
            _add_four(total, rows[k : k + 4], share[k], share[k + 1], share[k + 2], share[k + 3])
            k += 4
        while k < n_band:
            _add_one(total, rows[k], share[k])
            k += 1


@kernel
def _row_adjoint(
    first: NDArray[np.int64], values: F32, image: F32, low: int, row: int, total: F32
) -> int:
    """One row of the transpose; returns the first camera row, from `low` on, that reaches it.

    `first` never falls from row to row.
    """
    n_band, n = values.shape[1], image.shape[0]
    while low < n and first[low] + n_band <= row:
        low += 1
    high = low
    while high < n and first[high] <= row:
        high += 1
    total[:] = np.float32(0.0)
    i = low
    while i + 4 <= high:
        _add_four(
            total, image[i : i + 4], values[i, row - first[i]], values[i + 1, row - first[i + 1]],
            values[i + 2, row - first[i + 2]], values[i + 3, row - first[i + 3]],
        )  # fmt: skip
        i += 4
    while i < high:
        _add_one(total, image[i], values[i, row - first[i]])
        i += 1
    return low


@kernel
def _rows_adjoint(first: NDArray[np.int64], values: F32, image: F32, out: F32) -> None:
    low = 0
    for row in range(out.shape[0]):
        low = _row_adjoint(first, values, image, low, row, out[row])


@kernel
def _rows_scaled(
    first: NDArray[np.int64], values: F32, image: F32, weights: F32, start: int, scaled: F32
) -> None:
    """Multiply rows, from `start` on, by those of weights × transpose."""
    low = 0
    total = np.empty(image.shape[1], np.float32)
    for r in range(scaled.shape[0]):
        low = _row_adjoint(first, values, image, low, start + r, total)
        weight, row = weights[r], scaled[r]
        for j in range(total.size):
            total[j] *= weight[j]
        for j in range(total.size):
            row[j] *= total[j]


@kernel
def _columns_forward(first: NDArray[np.int64], values: F32, image: F32, out: F32) -> None:
    n_band = values.shape[1]
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            part, share = image[i, first[j] : first[j] + n_band], values[j]
            total = np.float32(0.0)
            for k in range(n_band):
                total += share[k] * part[k]
            out[i, j] = total


@kernel
def _columns_adjoint(first: NDArray[np.int64], values: F32, image: F32, out: F32) -> None:
    n_band = values.shape[1]
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            part, share, v = out[i, first[j] : first[j] + n_band], values[j], image[i, j]
            for k in range(n_band):
                part[k] += share[k] * v


def expected_image(
    emitters: Emitters, weights: NDArray[np.floating], grid: PixelGrid, psf: GaussianPSF
) -> FloatImage:
    """Expected camera image of point emitters, (Y, X) float32.

    Parameters
    ----------
    emitters : Emitters
        Positions; those outside the field still send their light into it.
    weights : ndarray, (N,)
        Signal of each emitter.
    grid : PixelGrid
        Camera pixels.
    psf : GaussianPSF
    """
    y, x = grid.to_px(emitters.y_nm, emitters.x_nm)
    sigma = psf.sigma_px(grid.pixel_size_nm)
    out = np.zeros(grid.shape, np.float32)
    reach = int(np.ceil(PROFILE_REACH_SIGMA * sigma))
    _splat(y, x, np.asarray(weights, np.float64), sigma, reach, out)
    return out


@kernel
def _splat(y: F64, x: F64, weights: F64, sigma: float, reach: int, out: F32) -> None:
    n = 2 * reach + 1
    py = np.empty(n)
    px = np.empty(n)
    for e in range(y.size):
        y0 = int(np.floor(y[e] + 0.5)) - reach
        x0 = int(np.floor(x[e] + 0.5)) - reach
        fill_profile(y[e], sigma, y0, py)
        fill_profile(x[e], sigma, x0, px)
        for i in range(max(0, -y0), min(n, out.shape[0] - y0)):
            for j in range(max(0, -x0), min(n, out.shape[1] - x0)):
                out[y0 + i, x0 + j] += weights[e] * py[i] * px[j]
