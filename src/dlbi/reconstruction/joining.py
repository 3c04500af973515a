"""How the images of one movie are joined: sampled density, network's image, deconvolutions.

The weights were chosen on simulated movies (docs/training.md, docs/uncertainty.md).
"""

from __future__ import annotations

from dlbi.core.images import FloatImage
from dlbi.inference.fusion import product_of_experts, with_light_of
from dlbi.inference.uncertainty import p_empty

BANDWIDTH_PX = 2.0
"""Fine pixels over which another image is compared with the network's."""

SAMPLED_WEIGHT, LEAST_SAMPLED_WEIGHT = 0.5, 0.25
"""Weight of the sampled density beside the network's image if each emitter is a fluorophore, and
if each stands for many: those tell less of where the fluorophores are."""

AGREEMENT_WEIGHT = 0.3
"""Weight of the guided deconvolution beside the network's image where nothing is sampled."""

UNGUIDED_WEIGHT = 0.7
"""Weight of the sampled density beside the deconvolution from a flat start."""

GUIDED_BANDWIDTH_PX, GUIDED_WEIGHT = 4.0, 0.5
"""Width of the comparison and weight of the sampled density under a guide of the user."""

GUIDE_SHARE, LEAST_GUIDE_SHARE = 0.4, 0.2
"""Share of that guide in its geometric mean with the deconvolution that starts from it, if each
emitter is a fluorophore, and if each stands for many: there the mean image tells more."""

EMPTY_POWER = 4
"""Power of the probability that a pixel is empty which is the share of its light that a join with
a guide of the user loses: such a join is smooth and leaves a veil where structure ends."""

OTHER_WEIGHT_POWER, BANDWIDTH_POWER = 1 / 3, 1 / 2
"""Powers of the splitting by which the other image's weight and the width of the comparison fall:
emissions are placed as much more precisely as the width falls."""


def nearer_to_movie(image: FloatImage, explaining: FloatImage) -> FloatImage:
    """The network's image, brought nearer to the movie, with its own light.

    Parameters
    ----------
    image, explaining : ndarray, (Y, X), counts
        The network's image and the deconvolution that starts from it.
    """
    joined = product_of_experts(
        explaining, image, weight=AGREEMENT_WEIGHT, bandwidth_px=BANDWIDTH_PX
    )
    return with_light_of(image, joined)


def joined_with_network(
    sampled: FloatImage, image: FloatImage, *, per_fluorophore: float = 1.0, splitting: float = 1.0
) -> FloatImage:
    """Sampled density and the network's image.

    Parameters
    ----------
    sampled, image : ndarray, (Y, X), counts
    per_fluorophore : float
        Emitters per fluorophore. Below 1 the weight of the sampled density is proportional to it,
        down to the least one.
    splitting : float
        `dlbi.reconstruction.sampling.Sampled.splitting`, ≥ 1. What the weight lacks of 1 falls
        with its cube root, the width of the comparison with its square root.
    """
    weight = _lowered(SAMPLED_WEIGHT, per_fluorophore, LEAST_SAMPLED_WEIGHT)
    return _joined(sampled, image, weight, BANDWIDTH_PX, splitting)


def joined_with_deconvolution(
    sampled: FloatImage,
    explaining: FloatImage,
    guide: FloatImage | None,
    *,
    per_fluorophore: float = 1.0,
    splitting: float = 1.0,
) -> FloatImage:
    """Sampled density without a network.

    Parameters
    ----------
    sampled, explaining : ndarray, (Y, X), counts
        Sampled density, and the deconvolution that it was sampled under.
    guide : ndarray, (Y, X), or None
        Of the user, if the deconvolution started from one; it counts beside it.
    per_fluorophore : float
        Emitters per fluorophore. Below 1 the share of the guide is proportional to it, down to the
        least one.
    splitting : float
        As for `joined_with_network`.

    Notes
    -----
    Beside a guide the image is multiplied by 1 − p⁴, with the probability p that a pixel of its
    brightness is empty.
    """
    if guide is None:
        return _joined(sampled, explaining, UNGUIDED_WEIGHT, 0.0, splitting)
    share = _lowered(GUIDE_SHARE, per_fluorophore, LEAST_GUIDE_SHARE)
    told = product_of_experts(explaining, guide, weight=1.0 - share)
    image = _joined(sampled, told, GUIDED_WEIGHT, GUIDED_BANDWIDTH_PX, splitting)
    return with_light_of(image, image * (1.0 - p_empty(image, blur_px=0.0) ** EMPTY_POWER))


def _joined(
    sampled: FloatImage, other: FloatImage, weight: float, bandwidth_px: float, splitting: float
) -> FloatImage:
    """Their product; the more precisely emissions are placed, the more of it is sampled."""
    return product_of_experts(
        sampled, other,
        weight=1.0 - (1.0 - weight) * splitting**-OTHER_WEIGHT_POWER,
        bandwidth_px=bandwidth_px * splitting**-BANDWIDTH_POWER,
    )  # fmt: skip


def _lowered(share: float, per_fluorophore: float, least: float) -> float:
    return max(share * min(per_fluorophore, 1.0), least)
