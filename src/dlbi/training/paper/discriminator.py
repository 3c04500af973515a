"""The discriminator: is an image a true structure or one of the generator's? (2.2.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

SLOPE = 0.2
"""Slope of the leaky rectifier below zero."""


class Discriminator(nn.Module):
    """Eight convolutions up to 2048 channels and back by 1×1 filters, a residual block, a sigmoid.

    Parameters
    ----------
    width : int
        Channels of the first layer, a multiple of 4: the layers have 1, 2, 4, 8, 16, 32, 16 and 8
        times as many.

    Notes
    -----
    The paper gives the number and kind of the layers. Strides (the first six halve the image),
    4×4 filters, batch normalisation and leaky rectifiers are those of common discriminators of
    its time (Radford et al. 2016, arXiv:1511.06434). The last layer averages over the image, so
    any size can be judged.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        growing = [width << i for i in range(6)]
        self.grow = nn.Sequential(
            nn.Conv2d(1, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            *(_layer(n, m, 4, stride=2) for n, m in pairwise(growing)),
        )
        self.shrink = nn.Sequential(
            _layer(32 * width, 16 * width, 1), _layer(16 * width, 8 * width, 1, rectified=False)
        )
        self.residual = nn.Sequential(
            _layer(8 * width, 2 * width, 1),
            _layer(2 * width, 2 * width, 3),
            _layer(2 * width, 8 * width, 3, rectified=False),
        )
        self.judge = nn.Linear(8 * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Log odds that each image is real, (N,); `probability` is their sigmoid.

        The losses take the log odds, because log D and log(1 − D) of a saturated sigmoid are
        not finite.

        Parameters
        ----------
        images : Tensor, (N, 1, Y, X)
            In [−1, 1], at least 64 pixels along each side.
        """
        features = self.shrink(self.grow(images))
        features = nn.functional.leaky_relu(features + self.residual(features), SLOPE)
        log_odds: Tensor = self.judge(features.mean(dim=(2, 3)))
        return log_odds.squeeze(1)

    def probability(self, images: Tensor) -> Tensor:
        """D(x), the probability that each image is real, (N,); parameters as in `forward`."""
        return torch.sigmoid(self(images))


def _layer(n: int, m: int, size: int, *, stride: int = 1, rectified: bool = True) -> nn.Sequential:
    """Convolution, batch normalisation and, if wanted, leaky rectifier."""
    padding = 1 if size > 1 else 0
    layers = [nn.Conv2d(n, m, size, stride, padding, bias=False), nn.BatchNorm2d(m)]
    return nn.Sequential(*layers, nn.LeakyReLU(SLOPE)) if rectified else nn.Sequential(*layers)
