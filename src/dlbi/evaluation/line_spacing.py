"""Smallest distance at which an image still separates lines that are known to be there.

An image is averaged along the middle of a group of lines (`core.lines`). Between two neighbours it
shows a valley and at both sides a peak. They count as resolved if the valley is below 0.8 of the
mean of both peaks, and below either: about Rayleigh's criterion, by which the valley between the
images of two slits is 8/π² = 0.81 of the peaks. Sparrow's limit asks for any valley at all, and
noise makes valleys anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.lines import LineGroup
from dlbi.evaluation.rings import Image

RESOLVED = 0.8
"""Valley ÷ mean of both peaks below which neighbours are resolved."""

MEASURED_SHARE = 0.8
"""Middle part of the lines over which the image is averaged."""

STEP_NM = 5.0


def valley_ratio(image: Image, grid: PixelGrid, group: LineGroup) -> float:
    """Valley ÷ mean of both peaks where two neighbours are told apart least; 1 if not at all.

    A ladder is resolved only if all its neighbours are: deconvolved beyond its limit it becomes
    three lines or two, with deep valleys where there are none. A band that looks resolved is made
    up too.

    Parameters
    ----------
    image : ndarray, (Y, X)
    grid : PixelGrid
    group : LineGroup

    Raises
    ------
    ShapeError
        If the image does not fit the grid.
    """
    across, profile = line_profile(image, grid, group)

    def near(place_nm: float) -> NDArray[np.float64]:
        return profile[np.abs(across - place_nm) <= 0.25 * group.spacing_nm]

    ratios = []
    for left, right in pairwise(group.offsets_nm):
        peaks = near(left).max(), near(right).max()
        valley = near(0.5 * (left + right)).min()
        ratios.append(float(valley / np.mean(peaks)) if valley < min(peaks) else 1.0)
    return max(ratios)


def line_profile(
    image: Image, grid: PixelGrid, group: LineGroup
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances across the lines from their centre, nm, and the image there, averaged along them.

    Raises
    ------
    ShapeError
        If the image does not fit the grid.
    """
    if image.shape != grid.shape:
        raise ShapeError(f"image {image.shape} does not fit grid {grid.shape}")
    reach = group.offsets_nm[-1] + 0.5 * group.spacing_nm
    half = 0.5 * MEASURED_SHARE * group.length_nm
    step = min(STEP_NM, group.spacing_nm / 8)
    across = np.arange(-reach, reach + step, step)
    along = np.arange(-half, half, grid.pixel_size_nm)
    y_nm, x_nm = group.at(across[:, None], along)
    values = map_coordinates(image, grid.to_px(y_nm, x_nm), order=1, mode="nearest")
    return across, values.mean(axis=1, dtype=np.float64)


def share_resolved(ratios: Iterable[float]) -> float:
    """Share of the groups whose `valley_ratio` is below `RESOLVED`; of bands, those made up.

    NaN without a group.
    """
    values = np.array(list(ratios), np.float64)
    return float(np.mean(values < RESOLVED)) if values.size else float("nan")


def resolved_spacing(shares: Mapping[float, float]) -> float | None:
    """Smallest spacing, nm, from which on most groups of every larger one are resolved.

    Parameters
    ----------
    shares : mapping
        Share resolved by spacing.

    Returns
    -------
    float or None
        None if not even the largest is resolved.
    """
    found = None
    for spacing in sorted(shares, reverse=True):
        if not shares[spacing] > 0.5:
            break
        found = spacing
    return found
