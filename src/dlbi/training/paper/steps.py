"""Steps of the training: every scale has an interface, an objective and an optimiser of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from dlbi.training.paper.batches import Batch
from dlbi.training.paper.discriminator import Discriminator
from dlbi.training.paper.features import Features
from dlbi.training.paper.generator import SCALES, Generator
from dlbi.training.paper.losses import (
    adversarial_loss,
    discriminator_loss,
    expected_loss,
    generative_loss,
    generative_loss_x8,
    minimax_value,
    perceptual_loss,
    squared_error,
)

Losses = dict[str, Tensor]
"""Objectives of one step by name: ``x2``, ``x4``, ``x8`` and, with it, ``discriminator``."""


@dataclass(frozen=True, slots=True)
class Players:
    """Both networks, and what judges their images besides.

    Parameters
    ----------
    generator : Generator
    discriminator : Discriminator
    features : Features
        Of the perceptual loss.
    """

    generator: Generator
    discriminator: Discriminator
    features: Features


def pretraining_losses(players: Players, batch: Batch, masks: Tensor) -> Losses:
    """Eq. 5 at ×2, ×4 and ×8.

    Parameters
    ----------
    players : Players
    batch : Batch
    masks : Tensor, (N, C, Y, X)
        Monte-Carlo dropout.
    """
    images = players.generator(batch.frames, masks)
    return {
        f"x{scale}": expected_loss(squared_error(image.float(), truth))
        for scale, image, truth in zip(SCALES, images, batch.truths, strict=True)
    }


def gan_losses(
    players: Players, batch: Batch, masks: Tensor, objective: Literal["minimax", "eq9"]
) -> Losses:
    """Eq. 7 at ×2 and ×4, Eq. 8 at ×8, and the objective of the discriminator.

    Parameters
    ----------
    players, batch, masks
        As in `pretraining_losses`.
    objective : {"minimax", "eq9"}
        Whether the discriminator maximises Eq. 4 or minimises Eq. 9.
    """
    images = players.generator(batch.frames, masks)
    real = players.discriminator(batch.truths[-1]).float()
    fake = players.discriminator(images[-1]).float()
    losses = {}
    for scale, image, truth in zip(SCALES, images, batch.truths, strict=True):
        content = squared_error(image.float(), truth)
        with torch.no_grad():
            wanted = players.features(truth)
        perceptual = perceptual_loss(players.features(image), wanted)
        losses[f"x{scale}"] = expected_loss(
            generative_loss(content, perceptual)
            if scale < SCALES[-1]
            else generative_loss_x8(content, adversarial_loss(fake), perceptual)
        )
    losses["discriminator"] = (
        -minimax_value(real, fake)
        if objective == "minimax"
        else expected_loss(discriminator_loss(real, fake))
    )
    return losses


def optimizers_of(
    generator: Generator, discriminator: Discriminator, learning_rate: float, beta1: float
) -> dict[str, Adam]:
    """One Adam for each objective, over the parameters it tunes.

    Parameters
    ----------
    generator : Generator
    discriminator : Discriminator
    learning_rate, beta1 : float
    """
    tuned = {f"x{scale}": generator.interface(scale) for scale in SCALES}
    tuned["discriminator"] = list(discriminator.parameters())
    return {
        name: Adam(parameters, learning_rate, betas=(beta1, 0.999))
        for name, parameters in tuned.items()
    }


def descend_together(losses: Losses, optimizers: dict[str, Adam]) -> None:
    """One step of each optimiser on its own objective, all gradients taken before the first step.

    Three objectives are thus optimised simultaneously instead of their sum (2.2.3): each gradient
    is scaled by its own Adam, so that no scale drowns another.

    Parameters
    ----------
    losses : dict of Tensor
        Scalars of one forward pass.
    optimizers : dict of Adam
        By the same names; those without an objective rest.
    """
    gradients = {
        name: torch.autograd.grad(loss, _tuned(optimizers[name]), retain_graph=True)
        for name, loss in losses.items()
    }
    for name, values in gradients.items():
        for parameter, gradient in zip(_tuned(optimizers[name]), values, strict=True):
            parameter.grad = gradient
        optimizers[name].step()
        optimizers[name].zero_grad()


def set_learning_rate(optimizers: Iterable[Optimizer], learning_rate: float) -> None:
    """Give all optimisers one learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate


def _tuned(optimizer: Optimizer) -> Sequence[nn.Parameter]:
    parameters: list[nn.Parameter] = optimizer.param_groups[0]["params"]
    return parameters
