"""What no camera recorded: regions that were cleared, and frames after a recording stopped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import ImageStack
from dlbi.inference.measurement.noise import NoiseModel

LEAST_CLEARED = 0.01
"""Share of the camera pixels that a cleared region has at least, and quantile of the mean of the
others that counts as their darkest level."""

OUTLYING_LEVEL = 5.0
"""Standard deviations by which an empty frame differs from the mean of the others."""


class Gaps(NamedTuple):
    """Parts of a movie without a recording.

    Parameters
    ----------
    cleared : float
        Share of the camera pixels that lie in cleared regions.
    empty_frames : tuple of int
        Frames that hold one value.
    """

    cleared: float
    empty_frames: tuple[int, ...]


def find_gaps(stack: ImageStack, noise: NoiseModel) -> Gaps:
    """Look for pixels and frames that hold nothing but one value.

    Parameters
    ----------
    stack : ImageStack
        Read once, twice if many pixels never change.
    noise : NoiseModel
        Of its camera.

    Notes
    -----
    Pixels that never change are cleared if they are darker than all others by the noise of one
    frame: where dim values were clipped, pixels may never change either, but the dimmest others
    are hardly brighter. A frame of one value is empty if its level lies apart from those of the
    other frames: a movie may be so dim that some hold no photon.
    """
    first = stack.load(slice(0, 1))
    still = np.ones(stack.grid.shape, bool)
    level, flat = np.empty(stack.n_frames), np.empty(stack.n_frames, bool)
    for frames, images in stack.chunks():
        level[frames] = images.mean(axis=(1, 2))
        flat[frames] = images.min(axis=(1, 2)) == images.max(axis=(1, 2))
        if still.any():
            still &= (images == first).all(axis=0)
    return Gaps(_cleared(stack, still, noise), _empty(level, flat))


def _cleared(stack: ImageStack, still: NDArray[np.bool_], noise: NoiseModel) -> float:
    share = float(still.mean())
    if not LEAST_CLEARED <= share < 1.0:
        return 0.0
    mean = stack.mean()
    darkest = np.quantile(mean[~still], [LEAST_CLEARED]).astype(np.float32)
    apart = darkest - mean[still].max() > np.sqrt(noise.variance(darkest))
    return share if apart else 0.0


def _empty(level: NDArray[np.float64], flat: NDArray[np.bool_]) -> tuple[int, ...]:
    if not flat.any() or flat.all():
        return ()
    usual, spread = level[~flat].mean(), level[~flat].std()
    found = np.flatnonzero(flat & (np.abs(level - usual) > OUTLYING_LEVEL * spread))
    return tuple(found.tolist())
