"""Batches of the training: each is a pure function of the seed and the number of its step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from dlbi.core.rng import stream
from dlbi.learning.dropout import dropout_mask
from dlbi.training.paper.generator import SCALES


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step sees.

    Parameters
    ----------
    frames : Tensor, (N, T, Y, X)
        Movies, as `Generator` takes them.
    truths : tuple of Tensor
        Structures at ×2, ×4 and ×8, (N, 1, lY, lX) in [−1, 1].
    """

    frames: Tensor
    truths: tuple[Tensor, Tensor, Tensor]


def series_of_step(n_series: int, batch_size: int, seed: int, step: int) -> NDArray[np.intp]:
    """Which series a step sees: every epoch is a new permutation, cut into whole batches.

    Parameters
    ----------
    n_series, batch_size : int
    seed : int
    step : int
        Counted from the start of the training, 0 first.
    """
    epoch, place = divmod(step, n_series // batch_size)
    order = stream(seed, "epoch", epoch).permutation(n_series)
    return order[place * batch_size : (place + 1) * batch_size]


def read_batch(
    arrays: dict[str, NDArray[Any]], series: NDArray[np.intp], device: torch.device
) -> Batch:
    """Series of a pool as tensors.

    Parameters
    ----------
    arrays : dict of ndarray
        ``frames``, (N, T, Y, X), normalised to the first frame; ``density``, (N, 8Y, 8X) in [0, 1].
    series : ndarray of int
    device : torch.device
    """
    frames = torch.from_numpy(arrays["frames"][series].astype(np.float32)).to(device)
    truths = [truth(arrays["density"][series], scale).to(device) for scale in SCALES]
    return Batch(frames, (truths[0], truths[1], truths[2]))


def truth(density: NDArray[np.float16], scale: int) -> Tensor:
    """True images at one scale, (N, 1, lY, lX): mean density of each pixel, from [0, 1] to [−1, 1].

    Parameters
    ----------
    density : ndarray, (N, 8Y, 8X)
    scale : {2, 4, 8}
    """
    fine = torch.from_numpy(density.astype(np.float32)).unsqueeze(1)
    return 2.0 * avg_pool2d(fine, SCALES[-1] // scale) - 1.0


def dropout_masks(
    shape: tuple[int, int, int, int], keep: float, seed: int, step: int, device: torch.device
) -> Tensor:
    """Masks of one step, those of `dlbi.learning.dropout`, another for each movie.

    Parameters
    ----------
    shape : tuple of int
        Of the features they multiply, (N, C, Y, X).
    keep : float
        Probability of keeping a feature.
    seed, step : int
    device : torch.device
    """
    n, n_channels, *field = shape
    masks = np.empty(shape, np.float32)
    for i in range(n):
        masks[i] = dropout_mask(
            seed, step * n + i, keep=keep, n_channels=n_channels, shape=(field[0], field[1]),
            region=(slice(0, field[0]), slice(0, field[1])),
        )  # fmt: skip
    return torch.from_numpy(masks).to(device)
