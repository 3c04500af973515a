"""Features that the perceptual loss compares (Eq. 6): VGG19, or a small network of our own."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

VGG19_LAYERS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0)
"""Channels of the 3×3 convolutions of VGG19 up to its fourth pooling; 0 is a pooling."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the red, green and blue of the images that torchvision's VGG19 was trained on."""


class Features(nn.Module, ABC):
    """What Eq. 6 compares: fixed features of an image that is first resized.

    Parameters
    ----------
    image_px : int
        Side to which images are resized.
    """

    def __init__(self, image_px: int) -> None:
        super().__init__()
        self.image_px = image_px

    def forward(self, images: Tensor) -> Tensor:
        """Features, (N, C, y, x), in single precision: Eq. 6 sums many small differences.

        Parameters
        ----------
        images : Tensor, (N, 1, Y, X)
            In [−1, 1], of any size.
        """
        with torch.autocast(images.device.type, enabled=False):
            return self.embed((resized(images.float(), self.image_px) + 1.0) / 2.0)

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1] that have their final size."""


class Vgg19Features(Features):
    """VGG19 (Simonyan and Zisserman 2014, arXiv:1409.1556) up to its fourth pooling.

    At 224 px an image has V = 512 · 14 · 14 features. The names of the parameters are those of
    torchvision's `vgg19`: ``features.0.weight`` and so on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image_px: int = 224) -> None:
        super().__init__(image_px)
        layers: list[nn.Module] = []
        n = 3
        for m in VGG19_LAYERS:
            layers += [nn.Conv2d(n, m, 3, padding=1), nn.ReLU()] if m else [nn.MaxPool2d(2)]
            n = m or n
        self.features = nn.Sequential(*layers)
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def embed(self, images: Tensor) -> Tensor:
        """Features of grey images in [0, 1], shown in all three colours."""
        embedded: Tensor = self.features((images - self.mean) / self.std)
        return embedded


class StructureFeatures(Features):
    """A small convolutional encoder, trained to tell structures from noise.

    Parameters
    ----------
    image_px : int
        A multiple of 8.
    width : int
        Channels of the first of three resolutions; each of the next has twice as many.

    Notes
    -----
    The features are divided by their standard deviation over true structures, so that Eq. 6 has
    a natural scale: it is about 2V between unrelated structures.
    """

    std: Tensor

    def __init__(self, image_px: int = 224, width: int = 16) -> None:
        super().__init__(image_px)
        layers: list[nn.Module] = []
        n = 1
        for m in (width, 2 * width, 4 * width):
            layers += [nn.Conv2d(n, m, 3, padding=1), nn.ReLU()]
            layers += [nn.Conv2d(m, m, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
            n = m
        self.encoder = nn.Sequential(*layers)
        self.register_buffer("std", torch.ones(n, 1, 1))

    def embed(self, images: Tensor) -> Tensor:
        """Standardised features of images in [0, 1]."""
        embedded: Tensor = self.encoder(images)
        return embedded / self.std


def resized(images: Tensor, side: int) -> Tensor:
    """Images of another size: linear interpolation, over as many pixels as one new pixel covers.

    It is a matrix product with every axis, hence repeatable on every device.

    Parameters
    ----------
    images : Tensor, (…, Y, X)
    side : int
        New number of pixels along both axes.
    """
    rows, columns = (_resizing(n, side).to(images) for n in images.shape[-2:])
    return rows @ images @ columns.T


def _resizing(n: int, side: int) -> Tensor:
    """Matrix (side, n) of triangle filters; each row sums to one."""
    step = n / side
    centres = (torch.arange(side, dtype=torch.float64) + 0.5) * step - 0.5
    distance = (torch.arange(n, dtype=torch.float64) - centres[:, None]).abs()
    weights = (1.0 - distance / max(step, 1.0)).clamp(min=0.0)
    return weights / weights.sum(dim=1, keepdim=True)
