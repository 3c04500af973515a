"""Batches of the training: each is a pure function of the seed and the number of its step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlbi.core.rng import derived_seed, stream
from dlbi.learning.dropout import dropout_mask
from dlbi.learning.symmetry import SYMMETRIES, apply, apply_image
from dlbi.training.compact.config import BORDER_PX
from dlbi.training.compact.network import UPSCALING

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees; N crops of Y×X camera pixels.

    Parameters
    ----------
    statistics : Tensor, (N, S, Y, X)
    guide, target, structure : Tensor, (N, 1, 8Y, 8X)
        As in the pool.
    counted : Tensor, (N, 1, Y, X)
        1 for camera pixels that count, 0 for those whose surroundings the crop cut off.
    """

    statistics: Tensor
    guide: Tensor
    target: Tensor
    structure: Tensor
    counted: Tensor


@dataclass(frozen=True, slots=True)
class Crop:
    """A square part of a series, turned.

    Parameters
    ----------
    series : int
    corner : tuple of int
        First row and column, camera pixels.
    side : int
        Camera pixels.
    orientation : int
        One of `dlbi.learning.symmetry.SYMMETRIES`.
    """

    series: int
    corner: tuple[int, int]
    side: int
    orientation: int

    def of(self, array: NDArray[Any]) -> NDArray[np.float32]:
        """This part of an array (N, …, fY, fX) whose pixels are f times finer; not yet turned."""
        whole = array[self.series]
        factor = 1 if whole.ndim == 3 else UPSCALING
        row, column = (factor * start for start in self.corner)
        end = factor * self.side
        part = whole[..., row : row + end, column : column + end]
        return np.asarray(part, np.float32)

    def counted(self, field_px: int) -> NDArray[np.float32]:
        """1 where a camera pixel counts, (side, side); a border of the field itself does."""
        before = [BORDER_PX if start > 0 else 0 for start in self.corner]
        after = [BORDER_PX if start + self.side < field_px else 0 for start in self.corner]
        counts = np.zeros((self.side, self.side), np.float32)
        rows, columns = (slice(b, self.side - a) for b, a in zip(before, after, strict=True))
        counts[rows, columns] = 1.0
        return counts


def crops_of_step(
    n_series: int, field_px: int, *, n_crops: int, crop_px: int, seed: int, step: int
) -> list[Crop]:
    """The crops that a step sees.

    Every epoch is a new permutation of the series. Corners beyond the field are moved to its
    border, so that the border is seen about as often as the middle.

    Parameters
    ----------
    n_series, field_px : int
        Of the pool.
    n_crops, crop_px : int
        Of a batch.
    seed : int
    step : int
        Counted from 0.
    """
    rng = stream(seed, "batch", step)
    last = field_px - crop_px
    reach = BORDER_PX if last else 0
    crops = []
    for n in range(step * n_crops, (step + 1) * n_crops):
        epoch, place = divmod(n, n_series)
        series = int(stream(seed, "epoch", epoch).permutation(n_series)[place])
        row, column = np.clip(rng.integers(-reach, last + reach, 2, endpoint=True), 0, last)
        orientation = int(rng.choice(SYMMETRIES))
        crops.append(Crop(series, (int(row), int(column)), crop_px, orientation))
    return crops


def read_batch(arrays: Arrays, crops: list[Crop]) -> Batch:
    """Read crops from a pool and turn them.

    Parameters
    ----------
    arrays : mapping of ndarray
        ``statistics`` (N, S, Y, X); ``guide``, ``target`` and ``structure`` (N, 8Y, 8X).
    crops : list of Crop
        All of one side.
    """
    field_px = arrays["statistics"].shape[-1]
    images = (
        torch.from_numpy(np.stack([_turned(c, c.of(arrays[name])) for c in crops]))
        for name in ("guide", "target", "structure")
    )
    guide, target, structure = (image.unsqueeze(1) for image in images)
    statistics = np.stack([apply(c.of(arrays["statistics"]), c.orientation) for c in crops])
    counted = np.stack([_turned(c, c.counted(field_px)) for c in crops])
    return Batch(
        torch.from_numpy(statistics),
        guide,
        target,
        structure,
        torch.from_numpy(counted).unsqueeze(1),
    )


def dropout_masks(shape: tuple[int, int, int, int], *, keep: float, seed: int, step: int) -> Tensor:
    """Masks of one step (N, C, Y, X), those of `dlbi.learning.dropout`.

    Parameters
    ----------
    shape : tuple of int
        N, C, Y, X.
    keep : float
        Probability of keeping a feature.
    seed, step : int
    """
    n, channels, height, width = shape
    mask = dropout_mask(
        derived_seed(seed, "mask"),
        step,
        keep=keep,
        n_channels=n * channels,
        shape=(height, width),
        region=(slice(0, height), slice(0, width)),
    )
    return torch.from_numpy(mask.reshape(shape))


def _turned(crop: Crop, image: NDArray[np.float32]) -> NDArray[np.float32]:
    return apply_image(image, crop.orientation)
