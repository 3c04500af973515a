"""Equations 3–9 of the paper, one function each.

Losses of images are (N,), one number for each; `expected_loss` (Eq. 3) averages them. The
discriminator's verdict comes as log odds z, so log D = log σ(z) and log(1 − D) = log σ(−z).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid

CONTENT_WEIGHT = 0.4
"""Of the squared error at ×2 and ×4 (Eq. 7)."""

CONTENT_WEIGHT_X8 = 0.5
"""Of the squared error at ×8 (Eq. 8)."""

ADVERSARIAL_WEIGHT = 1e-3
"""Of the adversarial loss at ×8 (Eq. 8)."""

PERCEPTUAL_WEIGHT = 1e-6
"""Of the perceptual loss at every scale (Eq. 7 and 8)."""


def expected_loss(losses: Tensor) -> Tensor:
    """Eq. 3, what training minimises: 1/N Σₙ l(G(Tₙ), Iₙ).

    Parameters
    ----------
    losses : Tensor, (N,)
        Loss of each training image.
    """
    return losses.mean()


def minimax_value(real: Tensor, fake: Tensor) -> Tensor:
    """Eq. 4, the value of the game: E[log D(I)] + E[log(1 − D(G(T)))].

    The discriminator maximises it, the generator minimises it.

    Parameters
    ----------
    real, fake : Tensor, (N,)
        Log odds of true structures and of images of the generator.
    """
    return logsigmoid(real).mean() + logsigmoid(-fake).mean()


def squared_error(images: Tensor, truth: Tensor) -> Tensor:
    """Eq. 5, content loss: 1/(l²WH) Σₓᵧ (G(T)ₓᵧ − Iₓᵧ)², the mean over the l²WH pixels at ×l.

    Parameters
    ----------
    images, truth : Tensor, (N, 1, lY, lX)
    """
    return (images - truth).square().mean(dim=(1, 2, 3))


def perceptual_loss(images: Tensor, truth: Tensor) -> Tensor:
    """Eq. 6: Σᵢ (VGG(G(T))ᵢ − VGG(I)ᵢ)², the sum over all V features.

    Parameters
    ----------
    images, truth : Tensor, (N, …)
        Features of the images, not the images themselves.
    """
    return (images - truth).square().flatten(1).sum(dim=1)


def generative_loss(content: Tensor, perceptual: Tensor) -> Tensor:
    """Eq. 7, at ×2 and ×4: 0.4 · Eq. 5 + 10⁻⁶ · Eq. 6.

    Parameters
    ----------
    content, perceptual : Tensor, (N,)
        `squared_error` and `perceptual_loss`.
    """
    return CONTENT_WEIGHT * content + PERCEPTUAL_WEIGHT * perceptual


def adversarial_loss(fake: Tensor) -> Tensor:
    """log(1 − D(G(T))), the term that Eq. 8 adds; the paper writes its sum over images.

    Parameters
    ----------
    fake : Tensor, (N,)
        Log odds of images of the generator.
    """
    return logsigmoid(-fake)


def generative_loss_x8(content: Tensor, adversarial: Tensor, perceptual: Tensor) -> Tensor:
    """Eq. 8, at ×8: 0.5 · Eq. 5 + 10⁻³ · log(1 − D) + 10⁻⁶ · Eq. 6.

    Parameters
    ----------
    content, adversarial, perceptual : Tensor, (N,)
        `squared_error`, `adversarial_loss` and `perceptual_loss`.
    """
    return (
        CONTENT_WEIGHT_X8 * content
        + ADVERSARIAL_WEIGHT * adversarial
        + PERCEPTUAL_WEIGHT * perceptual
    )


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Eq. 9 as printed: log D(G(T)) + log(1 − D(I)), for each pair of images.

    Parameters
    ----------
    real, fake : Tensor, (N,)
        Log odds of true structures and of images of the generator.

    Notes
    -----
    It is concave in D and has no minimum: where true and generated images look alike, both
    D → 0 and D → 1 take it to −∞, and an image that fools the discriminator has no gradient.
    `minimax_value` has the optimum that Eq. 9 is meant to have.
    """
    return logsigmoid(fake) + logsigmoid(-real)
