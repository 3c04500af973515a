"""Images of the same light from different evidence, combined as a product of experts."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import KDTree

from dlbi.core.emitters import Emitters
from dlbi.core.images import FloatImage

BANDWIDTH_PER_SPACING = 1 / 2
MAX_BANDWIDTH_PX = 2.5

_LEAST_SHARE = 1e-12
_TINY = float(np.finfo(np.float32).tiny)


def density_bandwidth(emitters: Emitters, pixel_size_nm: float) -> float:
    """Width of the Gaussian that turns sampled emitters into a density, fine pixels.

    Emitters that are closer to each other than their positions are known need none: sampling has
    spread them already. Rare bright emissions are placed within nanometres, far apart from each
    other; they are samples of the structure, and their density is an average over the spacing.

    Parameters
    ----------
    emitters : Emitters
        With posterior deviations.
    pixel_size_nm : float
        Fine pixel.

    Notes
    -----
    b = ½ √(s² − σ²) with the median distance s to the nearest neighbour and the median posterior
    deviation σ; 0 if σ ≥ s, at most 2.5 pixels.
    """
    if len(emitters) < 2 or emitters.sd_x_nm is None or emitters.sd_y_nm is None:
        return 0.0
    positions = np.stack([emitters.y_nm, emitters.x_nm], axis=1)
    distance = np.asarray(KDTree(positions).query(positions, k=2)[0])
    spacing = float(np.median(distance[:, 1]))
    deviation = float(np.median(np.sqrt((emitters.sd_x_nm**2 + emitters.sd_y_nm**2) / 2)))
    excess = np.sqrt(max(spacing**2 - deviation**2, 0.0)) / pixel_size_nm
    return float(min(BANDWIDTH_PER_SPACING * excess, MAX_BANDWIDTH_PX))


def product_of_experts(
    sampled: FloatImage, guide: FloatImage, *, weight: float = 0.5, bandwidth_px: float = 0.0
) -> FloatImage:
    """Weighted geometric mean of two densities, with the total light of the first.

    The sampled density knows the blinking and is grainy where it tells little; the guide knows the
    mean image or has learnt what structures look like, and is smooth. Their product keeps what both
    support: emitters that the sampler scatters over haze vanish, and so do the loops that
    deconvolution draws and the light that a network invents.

    Parameters
    ----------
    sampled, guide : ndarray, (Y, X), non-negative
    weight : float
        Of the sampled density, 0 … 1.
    bandwidth_px : float
        Both are blurred by a Gaussian of this σ before they are compared, so that a smooth guide
        is corrected without the grain of the samples.

    Notes
    -----
    guide · (G sampled ÷ G guide)^weight; without the blur G it is sampled^w · guide^(1 − w).
    """
    if not guide.any():
        return np.zeros_like(sampled)
    if bandwidth_px > 0.0:
        seen, expected = (
            gaussian_filter(m, bandwidth_px, mode="nearest") for m in (sampled, guide)
        )
    else:
        seen, expected = sampled, guide
    floor = max(_LEAST_SHARE * float(expected.max(initial=0.0)), _TINY)
    ratio = np.maximum(seen, 0.0) / np.maximum(expected, floor)
    product = np.asarray(guide * ratio ** np.float32(weight), np.float32)
    return with_light_of(sampled, product)


def with_light_of(reference: FloatImage, image: FloatImage) -> FloatImage:
    """An image of arbitrary unit, scaled to the light of the reference; none stays none."""
    total = float(image.sum(dtype=np.float64))
    share = float(reference.sum(dtype=np.float64)) / total if total > 0 else 0.0
    return np.asarray(image * np.float32(share), np.float32)
