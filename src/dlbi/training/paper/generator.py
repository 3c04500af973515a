"""The generator: a residual network that turns a movie into images at ×2, ×4 and ×8 (Fig. 5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SCALES = (2, 4, 8)
"""Upscaling factors of the three outputs."""

WEIGHT_STD = 0.02
"""Standard deviation of the normal law that all convolutions start from (3.1)."""


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights from N(0, 0.02²); biases start at 0, batch normalisation at identity.

    Parameters
    ----------
    network : nn.Module
    generator : torch.Generator
        Source of the numbers.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, WEIGHT_STD, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class ResidualBlock(nn.Module):
    """x + BN(conv(ReLU(BN(conv(x))))), all 3×3 of one width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        residual: Tensor = self.residual(features)
        return features + residual


class Upsampling(nn.Sequential):
    """3×3 convolution to `width` channels, pixel shuffle to twice the size, ReLU.

    The pixel shuffle (Shi et al. 2016, doi:10.1109/CVPR.2016.207) leaves `width` / 4 channels.
    """

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__(nn.Conv2d(n_channels, width, 3, padding=1), nn.PixelShuffle(2), nn.ReLU())


class Generator(nn.Module):
    """Residual network with Monte-Carlo dropout, denoise shortcut and three scales (2.2.2).

    Parameters
    ----------
    n_frames : int
        Frames of a movie. They are the input channels, so that each filter sees all of time.
    width : int
        Feature maps, a multiple of 4.
    n_blocks : int
        Residual blocks.

    Notes
    -----
    With the default sizes it has 22.9 million parameters.
    """

    def __init__(self, n_frames: int = 200, width: int = 256, n_blocks: int = 16) -> None:
        super().__init__()
        self.n_frames, self.width = n_frames, width
        self.first = nn.Sequential(nn.Conv2d(n_frames, width, 7, padding=3), nn.ReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(n_blocks)))
        self.merge = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )
        thin = width // 4
        self.stages = nn.ModuleList(
            Upsampling(width if scale == SCALES[0] else thin, width) for scale in SCALES
        )
        self.readouts = nn.ModuleList(
            nn.Sequential(nn.Conv2d(thin, 1, 1), nn.Tanh()) for _ in SCALES
        )

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images in [−1, 1], where −1 is no structure and 1 the densest.

        Parameters
        ----------
        frames : Tensor, (N, T, Y, X)
            Movies, normalised to the range of their first frame, which becomes [−1, 1].
        mask : Tensor, (N, width, Y, X)
            Monte-Carlo dropout: 0 where a feature is dropped, 1/keep elsewhere. It is an input,
            in training and in testing, so that whoever draws it can draw it again.

        Returns
        -------
        tuple of Tensor
            (N, 1, 2Y, 2X), (N, 1, 4Y, 4X) and (N, 1, 8Y, 8X).
        """
        features = self.features(frames, mask)
        images = []
        for stage, readout in zip(self.stages, self.readouts, strict=True):
            features = stage(features)
            images.append(readout(features))
        return images[0], images[1], images[2]

    def features(self, frames: Tensor, mask: Tensor) -> Tensor:
        """What the upsampling starts from, (N, width, Y, X); parameters as in `forward`.

        The denoise shortcut adds to every channel the mean over all channels of what dropout
        left; an average over channels is an average over noise.
        """
        dropped: Tensor = self.first(frames) * mask
        merged: Tensor = self.merge(self.blocks(dropped))
        return merged + dropped.mean(dim=1, keepdim=True)

    @property
    def halo_px(self) -> int:
        """Camera pixels beyond which nothing influences a pixel, once batch norms are fixed.

        Three for the first layer, two for each residual block, one after them; the upsampling
        convolutions reach 1 + ½ + ¼ pixels.
        """
        return 3 + 2 * len(self.blocks) + 1 + 2

    def interface(self, scale: int) -> list[nn.Parameter]:
        """Parameters that the image at `scale` depends on: one interface of the training.

        Parameters
        ----------
        scale : {2, 4, 8}
        """
        last = SCALES.index(scale)
        parts = [self.first, self.blocks, self.merge, *self.stages[: last + 1]]
        return [p for part in (*parts, self.readouts[last]) for p in part.parameters()]
