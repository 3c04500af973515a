"""What the compact network minimises: errors of √density at three scales, and honesty about them.

Densities span decades; their square roots weigh dim and bright structure alike and have even noise.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dlbi.training.compact.network import SCALES, UPSCALING, block_amplitude

Penalty = Literal["square", "robust"]
"""Squared error, or Charbonnier with the error of the gradient."""

SCALE_WEIGHTS = {2: 0.3, 4: 0.3, 8: 1.0}
GRADIENT_WEIGHT = 0.5
ERROR_WEIGHT = 0.05
STRUCTURE_WEIGHT = 0.1

CHARBONNIER_SOFTENING = 0.05
LEAST_ERROR = 0.01
"""Amplitude added to residuals: a perfect prediction must not claim infinite certainty."""


def objective(
    images: tuple[Tensor, Tensor, Tensor],
    target: Tensor,
    structure: Tensor,
    counted: Tensor,
    penalty: Penalty,
) -> Tensor:
    """The loss of a batch.

    Parameters
    ----------
    images : tuple of Tensor
        What `CompactNetwork` returns.
    target : Tensor, (N, 1, 8Y, 8X)
        True √density.
    structure : Tensor, (N, 1, 8Y, 8X)
        1 where there is structure, else 0.
    counted : Tensor, (N, 1, Y, X)
        1 for camera pixels that count, 0 for those whose surroundings the crop cut off.
    penalty : {"square", "robust"}

    Returns
    -------
    Tensor, scalar
    """
    at = {scale: enlarged(counted, scale) for scale in SCALES}
    loss = target.new_zeros(())
    for scale, image in zip(SCALES, images, strict=True):
        residual = image[:, :1] - block_amplitude(target, UPSCALING // scale)
        loss = loss + SCALE_WEIGHTS[scale] * image_loss(residual, at[scale], penalty)
    fine, weight = images[-1], at[UPSCALING]
    residual = (fine[:, :1] - target).detach()
    claimed = weighted_mean(laplace_nll(residual, fine[:, 1:2]), weight)
    seen = weighted_mean(
        binary_cross_entropy_with_logits(fine[:, 2:3], structure, reduction="none"), weight
    )
    return loss + ERROR_WEIGHT * claimed + STRUCTURE_WEIGHT * seen


def image_loss(residual: Tensor, weight: Tensor, penalty: Penalty) -> Tensor:
    """Mean penalty of the error of one image.

    Parameters
    ----------
    residual, weight : Tensor, (N, 1, Y, X)
    penalty : {"square", "robust"}
    """
    if penalty == "square":
        return weighted_mean(residual.square(), weight)
    return weighted_mean(charbonnier(residual), weight) + GRADIENT_WEIGHT * gradient_loss(
        residual, weight
    )


def charbonnier(residual: Tensor) -> Tensor:
    """√(r² + ε²) − ε: |r| with a round bottom (doi:10.1109/ICIP.1994.413553)."""
    return (residual.square() + CHARBONNIER_SOFTENING**2).sqrt() - CHARBONNIER_SOFTENING


def gradient_loss(residual: Tensor, weight: Tensor) -> Tensor:
    """Mean |difference| of neighbouring errors along y plus that along x.

    Parameters
    ----------
    residual, weight : Tensor, (N, 1, Y, X)
        A pair of pixels counts if both do.
    """
    along_y = weighted_mean(residual.diff(dim=-2).abs(), weight[..., 1:, :] * weight[..., :-1, :])
    along_x = weighted_mean(residual.diff(dim=-1).abs(), weight[..., 1:] * weight[..., :-1])
    return along_y + along_x


def laplace_nll(residual: Tensor, log_sigma: Tensor) -> Tensor:
    """Minus log likelihood under a Laplace law of standard deviation σ, up to a constant.

    Parameters
    ----------
    residual, log_sigma : Tensor
        Equal shapes. Residuals have a longer tail than a Gaussian's.
    """
    return math.sqrt(2.0) * (residual.abs() + LEAST_ERROR) * (-log_sigma).exp() + log_sigma


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Σ wv / Σ w; weights are not all zero."""
    return (values * weight).sum() / weight.sum()


def enlarged(image: Tensor, factor: int) -> Tensor:
    """Each pixel of the last two axes repeated `factor` times along both."""
    return image.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)
