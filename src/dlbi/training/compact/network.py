"""The compact network: thin, residual, with statistics and a Richardson–Lucy estimate to see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_unshuffle, relu

SCALES = (2, 4, 8)
"""Upscaling factors of the three outputs."""

UPSCALING = SCALES[-1]

INITIAL_LOG_SIGMA, INITIAL_LOGIT = -2.0, -2.0
"""What an untrained network says of its error and of where structure is."""


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), both 3×3 of one width; identity before training.

    There is no batch normalisation: its statistics would tie a pixel to the rest of the field.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        refined: Tensor = self.second(relu(self.first(features)))
        return features + refined


class Stage(nn.Module):
    """Twice the size by a pixel shuffle (doi:10.1109/CVPR.2016.207), then the guide joins in."""

    def __init__(self, n_channels: int, width: int, n_guide: int) -> None:
        super().__init__()
        self.enlarge = nn.Sequential(
            nn.Conv2d(n_channels, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()
        )
        self.mix = nn.Sequential(nn.Conv2d(width + n_guide, width, 3, padding=1), nn.ReLU())

    def forward(self, features: Tensor, guide: Tensor) -> Tensor:
        """Features (N, width, 2Y, 2X) from features (N, C, Y, X) and the guide at twice that."""
        mixed: Tensor = self.mix(torch.cat([self.enlarge(features), guide], 1))
        return mixed


class CompactNetwork(nn.Module):
    """Residual network with Monte-Carlo dropout and a denoise shortcut (paper 2.2.2).

    Parameters
    ----------
    n_statistics : int
        Channels S of the observation.
    channels : int
        Feature maps C at the camera's resolution.
    n_blocks : int
        Residual blocks.
    widths : sequence of int
        Feature maps at ×2, ×4 and ×8. They are few, because fine pixels are many.

    Notes
    -----
    Unlike the paper's network it sees statistics of any number of frames instead of 200 frames,
    and the guide, a Richardson–Lucy estimate, at every scale. There is no identity path from the
    guide to the image: it would carry the noise of the deconvolution there first, and learning to
    take it away again costs more than learning to copy.
    """

    def __init__(
        self,
        n_statistics: int,
        channels: int = 64,
        n_blocks: int = 8,
        widths: Sequence[int] = (32, 16, 8),
    ) -> None:
        super().__init__()
        self.channels = channels
        self.from_statistics = nn.Conv2d(n_statistics, channels, 7, padding=3)
        self.from_guide = nn.Conv2d(UPSCALING**2, channels, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(n_blocks)))
        self.merge = nn.Conv2d(channels, channels, 3, padding=1)
        n_guide = [(UPSCALING // scale) ** 2 for scale in SCALES]
        self.stages = nn.ModuleList(
            Stage(before, width, n)
            for before, width, n in zip((channels, *widths), widths, n_guide, strict=False)
        )
        kinds = ((1, 1), (1, 1), (3, 3))  # outputs and kernel size at each scale
        self.heads = nn.ModuleList(
            nn.Conv2d(width + n, n_out, size, padding=size // 2)
            for width, n, (n_out, size) in zip(widths, n_guide, kinds, strict=True)
        )

    @property
    def halo_px(self) -> int:
        """Camera pixels beyond which nothing influences a pixel."""
        # 3 of the first convolution, 2 of each block, 1 of the merging one, 3 of all finer ones.
        return 2 * len(self.blocks) + 7

    def forward(
        self, statistics: Tensor, guide: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Amplitudes at three scales, with the expected error and the structure at ×8.

        Parameters
        ----------
        statistics : Tensor, (N, S, Y, X)
            `dlbi.learning.observation.Observation.statistics`.
        guide : Tensor, (N, 1, 8Y, 8X)
            `dlbi.learning.observation.Observation.guide`.
        mask : Tensor, (N, C, Y, X)
            Monte-Carlo dropout: 0 where a feature is dropped, 1/keep elsewhere. It is an input,
            in training and in testing, so that whoever draws it can draw it again.

        Returns
        -------
        tuple of Tensor
            √density at ×2, (N, 1, 2Y, 2X); at ×4, (N, 1, 4Y, 4X); and at ×8, (N, 3, 8Y, 8X),
            whose channels are √density, log of its standard error, logit of structure.
        """
        folded = pixel_unshuffle(guide, UPSCALING)
        dropped = relu(self.from_statistics(statistics) + self.from_guide(folded)) * mask
        features = self.merge(self.blocks(dropped)) + dropped.mean(dim=1, keepdim=True)
        images = []
        for scale, stage, head in zip(SCALES, self.stages, self.heads, strict=True):
            factor = UPSCALING // scale
            seen = guide if factor == 1 else pixel_unshuffle(guide, factor)
            features = stage(features, seen)
            images.append(head(torch.cat([features, seen], 1)))
        return images[0], images[1], images[2]


def block_amplitude(amplitude: Tensor, factor: int) -> Tensor:
    """Amplitude of larger pixels, √ of the block mean of its square.

    Parameters
    ----------
    amplitude : Tensor, (N, 1, Y, X), ≥ 0
    factor : int
        Side of a block in pixels.
    """
    if factor == 1:
        return amplitude
    return avg_pool2d(amplitude.square(), factor).sqrt()


def initialise(network: CompactNetwork, generator: torch.Generator) -> None:
    """Draw the weights after He et al. 2015 (doi:10.1109/ICCV.2015.123).

    The last convolution of every residual block and all heads start at zero: the untrained
    network's image is empty.

    Parameters
    ----------
    network : CompactNetwork
    generator : torch.Generator
        Source of the numbers.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(module.bias)
    silent = [block.second for block in network.blocks if isinstance(block, ResidualBlock)]
    for head in (*silent, *network.heads):
        if isinstance(head, nn.Conv2d):
            nn.init.zeros_(head.weight)
    with torch.no_grad():
        fine = network.get_parameter(f"heads.{len(SCALES) - 1}.bias")
        fine[1:] = torch.tensor([INITIAL_LOG_SIGMA, INITIAL_LOGIT])
