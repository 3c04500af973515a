"""Images of the same light from different evidence, combined as a product of experts."""

from __future__ import annotations

import numpy as np

from dlbi.core.images import FloatImage


def product_of_experts(sampled: FloatImage, guide: FloatImage) -> FloatImage:
    """Geometric mean of two densities, with the total light of the first.

    The sampled density knows the blinking and is grainy where it tells little; the guide knows the
    mean image and is smooth, but broad. Their product keeps what both support: emitters that the
    sampler scatters over haze vanish, and so do the loops that deconvolution draws.

    Parameters
    ----------
    sampled, guide : ndarray, (Y, X), non-negative
    """
    root = np.sqrt(sampled * guide)
    total = float(root.sum(dtype=np.float64))
    if total == 0.0:
        return np.zeros_like(sampled)
    share = np.float32(sampled.sum(dtype=np.float64) / total)
    return np.asarray(root * share, np.float32)


def same_relative_std(std: FloatImage, sampled: FloatImage, combined: FloatImage) -> FloatImage:
    """Standard deviation of a combined image that keeps the relative error of the sampled one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(sampled > 0, combined / sampled, 0.0)
    return np.asarray(std * ratio, np.float32)
