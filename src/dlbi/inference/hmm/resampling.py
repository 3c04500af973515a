"""Where the paper starts its fluorophores: resampled from the network's image (2.3.1)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter

from dlbi.core.images import FloatImage

JITTER_PX = 8
"""Fine pixels by which a resampled fluorophore may be moved along each axis."""


def resampled_density(image: FloatImage) -> FloatImage:
    """Density of fluorophores that are resampled from an image and shaken.

    Parameters
    ----------
    image : ndarray, (Y, X), non-negative
        First guess of the structure, any scale.

    Returns
    -------
    ndarray, (Y, X), float32
        Of any scale; zero where the image cannot be seen at all, which is where a whole
        neighbourhood of it is zero.

    Notes
    -----
    A pixel of intensity I gives √I fluorophores, each at a place drawn evenly from ±8 fine pixels
    around it. Drawing from √I ⊗ box(17×17) is the same for a Poisson number of them.

    References
    ----------
    Paper, section 2.3.1.
    """
    spread = uniform_filter(np.sqrt(image), 2 * JITTER_PX + 1, mode="constant")
    return np.maximum(spread, 0.0).astype(np.float32)
