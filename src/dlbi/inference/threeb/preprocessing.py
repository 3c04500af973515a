"""What 3B sees of a movie: high-passed frames in units of their own standard deviation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.kernels import F64
from dlbi.inference.threeb.options import NoiseKind

HIGH_PASS_SIGMA_PX = 5.0
HIGH_PASS_RADIUS_PX = 15

REACH_PX = 2.3
"""A spot may lie this far outside of the field."""

MIN_SIDE_PX = 8
MAD_TO_DEVIATION = 1.4826


class Field(NamedTuple):
    """A preprocessed movie.

    Parameters
    ----------
    data : ndarray, (Y, X, T), float64
        High-passed counts ÷ `scale`.
    scale : float
        Counts of one unit.
    variance : float
        Noise variance, square units; 1 in the program.
    square : float
        Sum of the squares of `data`.
    allowed : ndarray, (Y + 2 m, X + 2 m), bool
        Pixels in which a spot may lie, with m = `allowed_margin` around the field.
    """

    data: F64
    scale: float
    variance: float
    square: float
    allowed: NDArray[np.bool_]

    @property
    def allowed_margin(self) -> int:
        """Pixels that `allowed` reaches beyond the field on each side."""
        return int(self.allowed.shape[0] - self.data.shape[0]) // 2

    @property
    def allowed_area(self) -> int:
        """Number of pixels in which a spot may lie."""
        return int(self.allowed.sum())

    def is_allowed(self, x_px: float, y_px: float) -> bool:
        """Whether the pixel of a position is one in which a spot may lie."""
        if not (np.isfinite(x_px) and np.isfinite(y_px)):
            return False
        m = self.allowed_margin
        row, column = (int(np.floor(v + 0.5)) + m for v in (y_px, x_px))
        height, width = self.allowed.shape
        return 0 <= row < height and 0 <= column < width and bool(self.allowed[row, column])


def preprocess(frames: NDArray[np.floating], *, noise: NoiseKind = "movie") -> Field:
    """High-pass and scale a movie.

    Parameters
    ----------
    frames : ndarray, (T, Y, X), counts
    noise : {"movie", "median"}
        What the noise variance is taken from, see `ThreeBOptions`.

    Raises
    ------
    InputError, ShapeError
        If the field is smaller than 8×8 pixels, or no pixel differs from its surroundings.

    Notes
    -----
    D = (I − G₅ * I) / std, with a Gaussian of 5 px cut at 15 px and the border pixels continued;
    the outermost pixels of D are zero. The deviation is one number, over all pixels and frames,
    and the mean is not taken off. There is no mask: the field is the whole image.
    """
    height, width = frames.shape[1:]
    if min(height, width) < MIN_SIDE_PX:
        raise ShapeError(
            f"3b needs a field of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} camera pixels, "
            f"got {width}×{height}"
        )
    smooth = frames.astype(np.float64)
    for axis in (1, 2):
        smooth = gaussian_filter1d(
            smooth, HIGH_PASS_SIGMA_PX, axis=axis, mode="nearest", radius=HIGH_PASS_RADIUS_PX
        )
    data = np.zeros((height, width, frames.shape[0]))
    data[1:-1, 1:-1] = (frames - smooth)[:, 1:-1, 1:-1].transpose(1, 2, 0)
    largest = float(np.abs(frames).max(initial=0.0))
    scale = float(data.std())
    if not scale > 1e-9 * largest:
        raise InputError("3b needs a movie that shows something, but its frames are even")
    data /= scale
    variance = 1.0
    if noise == "median":
        variance = float((MAD_TO_DEVIATION * np.median(np.abs(data[1:-1, 1:-1]))) ** 2)
        if variance == 0.0:
            raise InputError("noise 'median' needs a movie with noise in most pixels")
    margin = int(REACH_PX)
    outside = np.pad(np.zeros((height, width), np.bool_), margin, constant_values=True)
    allowed = distance_transform_edt(outside) <= REACH_PX
    return Field(data, scale, variance, float((data**2).sum()), allowed)
