"""From what chains and experts say of their certainty to numbers that hold on simulations.

A sampler that mixes slowly, a likelihood that is tempered, and images that are joined of two all
make the raw spread wrong: too large where the image is bright, far too small where structure was
missed. What is stated is a spread whose few constants were fitted on simulated movies with seeds
of their own; docs/uncertainty.md has the tables on other movies.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage

SAMPLED_SHARE = 0.05
"""Share of the variance of the chains, within and between them, that counts."""

DISAGREEMENT_SHARE = 0.40
"""Share of the squared difference of network and sampled density that counts."""

OCCUPANCY_SHARE, TOLD_OCCUPANCY_SHARE = 0.45, 0.32
"""Share of scale × expected light that counts: 1 if each pixel were either empty or full. The
second where a network tells what to expect, so that its disagreement counts as well."""

NETWORK_SHARE = 0.9
"""Share of the deviation that the network states which holds for its image once that has been
brought nearer to the movie."""

REACH_PX = 4.0
"""Distance over which light may in truth be distributed otherwise than a sampled image shows,
fine pixels."""

LOG_ODDS_SHRINKAGE = 0.8
"""Share of the log odds of being occupied that holds: sweeps of a chain resemble each other."""

SPLIT_LOG_ODDS = 0.5
"""Log odds by which they fall with the logarithm of the emitters that are one fluorophore: these
spread over more places than it has."""

EMPTY_LOG_ODDS = (-1.80, -1.61, -0.09)
"""Log odds that a pixel is empty, a + b λ + c λ², against λ = ln(brightness + 0.01)."""

BRIGHTNESS_BLUR_PX, LEAST_BRIGHTNESS = 2.0, 0.01

MATCH_RADIUS_PX = 2.5
"""Fine pixels within which an emitter and a true one count as the same."""

PAIRED_LOG_ODDS, PAIRED_SHARE, SHARED_SHARE = -0.30, 0.38, 0.55
"""Log odds that a sampled emitter has a true one of its own within that radius, at even odds of
occupancy, and how they rise with the log odds of occupancy and with the logarithm of the
fluorophores that it stands for."""

LEAST_PER_FLUOROPHORE = 0.03
"""Emitters per fluorophore below which their number tells no more."""


def structure_scale(image: FloatImage) -> float:
    """Brightness of the typical place that light comes from, Σ m² / Σ m; 0 for an empty image."""
    total = float(image.sum(dtype=np.float64))
    return float(np.square(image, dtype=np.float64).sum()) / total if total > 0 else 0.0


def image_std(
    image: FloatImage,
    sampled_std: FloatImage,
    *,
    expected: FloatImage | None = None,
    disagreement: FloatImage | None = None,
) -> FloatImage:
    """Calibrated standard deviation of an image that a sampled density went into.

    Parameters
    ----------
    image : ndarray, (Y, X)
    sampled_std : ndarray, (Y, X)
        Of the sampled density, within and between chains; the unit of the image.
    expected : ndarray, (Y, X), optional
        Light that may be here: the standard deviation that the network states. Without it the
        image itself, blurred by `REACH_PX`.
    disagreement : ndarray, (Y, X), optional
        Sampled density − network's image.

    Notes
    -----
    √(0.05 s² + 0.4 d² + 0.32 S e) with the scale S of the structure; 0.45 S e without a network.
    The last term is that of structure finer than the image: where pixels are either empty or as
    bright as S, and S is reached with the probability e/S, the variance is S e (1 − e/S).
    """
    share = TOLD_OCCUPANCY_SHARE
    if expected is None:
        share, expected = OCCUPANCY_SHARE, gaussian_filter(image, REACH_PX, mode="nearest")
    variance = np.float32(SAMPLED_SHARE) * sampled_std**2
    variance += np.float32(share * structure_scale(image)) * expected
    if disagreement is not None:
        variance += np.float32(DISAGREEMENT_SHARE) * disagreement**2
    return np.asarray(np.sqrt(variance), np.float32)


def occupancy(p_empty: FloatImage, *, per_fluorophore: float = 1.0) -> FloatImage:
    """Calibrated probability of a fluorophore near each pixel.

    Parameters
    ----------
    p_empty : ndarray
        Share of the sweeps without one, within (0, 1).
    per_fluorophore : float
        Emitters per fluorophore; it counts where it is more than 1.

    Notes
    -----
    0.8 × log odds − 0.5 ln(emitters per fluorophore).
    """
    log_odds = -LOG_ODDS_SHRINKAGE * logit(p_empty.astype(np.float64))
    log_odds -= SPLIT_LOG_ODDS * np.log(max(per_fluorophore, 1.0))
    return np.asarray(expit(log_odds), np.float32)


def p_empty(image: FloatImage, *, blur_px: float = BRIGHTNESS_BLUR_PX) -> FloatImage:
    """Calibrated probability that a pixel of a sampled image is empty.

    Parameters
    ----------
    image : ndarray, (Y, X)
        Of a method without a network that would know better.
    blur_px : float
        σ of the blur, fine pixels. It is calibrated at 2; a smooth image needs none to be judged
        by each pixel's own brightness.

    Notes
    -----
    A logistic regression on the logarithm of the brightness after that blur, in units of
    that of the typical place that light comes from. Brightness tells more than occupancy, which is
    near 1 wherever emitters are dense. Empty means no more than 5 % of the true peak.
    """
    scale = structure_scale(image)
    if scale == 0.0:
        return np.ones_like(image)
    blurred = gaussian_filter(image, blur_px, mode="nearest")
    level = np.log(np.maximum(blurred, 0.0) / np.float32(scale) + np.float32(LEAST_BRIGHTNESS))
    constant, slope, curvature = EMPTY_LOG_ODDS
    return np.asarray(expit(constant + slope * level + curvature * level**2), np.float32)


def with_p_real(
    emitters: Emitters, p_occupied: FloatImage, grid: PixelGrid, *, per_fluorophore: float
) -> Emitters:
    """The emitters with the calibrated probability that each of them is a fluorophore.

    Parameters
    ----------
    emitters : Emitters
    p_occupied : ndarray, (Y, X)
        `occupancy` on the fine grid.
    grid : PixelGrid
        The fine grid.
    per_fluorophore : float
        Emitters per fluorophore; less than 1 if each emitter stands for several.

    Notes
    -----
    `p_real` is the probability that the emitter can be paired one-to-one with a true fluorophore
    within `MATCH_RADIUS_PX`. P(F|R) at the last visit (Eq. 10) is conditional on all other
    emitters staying where they are and close to 1 for whatever is alive; the average over all
    sweeps and chains is not. What an emitter stands for counts besides: where there are more
    fluorophores than emitters, one is left to pair with it more often. Log odds −0.30 + 0.38 ×
    those of occupancy − 0.55 ln(emitters per fluorophore).
    """
    rows, columns = (
        np.clip(np.rint(p), 0, n - 1).astype(np.int64)
        for p, n in zip(grid.to_px(emitters.y_nm, emitters.x_nm), grid.shape, strict=True)
    )
    several = -np.log(max(per_fluorophore, LEAST_PER_FLUOROPHORE))
    log_odds = PAIRED_SHARE * logit(p_occupied[rows, columns].astype(np.float64))
    log_odds += PAIRED_LOG_ODDS + SHARED_SHARE * several
    return replace(emitters, p_real=np.asarray(expit(log_odds), np.float32))
