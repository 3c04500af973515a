"""The 3B baseline as a method of the pipeline."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.inference.threeb import ThreeBOptions, threeb

ITERATIONS = {"preview": 2, "standard": 10, "best": 60}
"""Outer iterations, each of 4 passes over all spots and 10 tries to change their number. 60 of them
are the 240 passes that the program's manual calls 240 iterations."""

LONG_MINUTES = 10.0
"""A run that should take longer is announced with a warning."""


def sample_threeb(
    stack: ImageStack,
    psf: GaussianPSF,
    reference: FloatImage,
    *,
    quality: str,
    upscaling: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[FloatImage, FloatImage, Emitters, dict[str, Any]]:
    """Image, deviation, emitters and record of a run of 3B.

    Parameters
    ----------
    stack : ImageStack
    psf : GaussianPSF
    reference : ndarray, (Y · upscaling, X · upscaling), counts
        Mean image without background: 3B counts spots, and gets the light of this image.
    quality : {"preview", "standard", "best"}
    upscaling, seed : int
    progress : callable
        Called with (done, total) passes and tries.
    """
    options = ThreeBOptions(iterations=ITERATIONS[quality])
    height, width = stack.grid.shape
    minutes = expected_minutes(height * width, stack.n_frames, options)
    if minutes > LONG_MINUTES:
        warnings.warn(
            f"3b of {width}×{height} px and {stack.n_frames} frames takes some {minutes:.0f} "
            "minutes, growing faster than the area; choose a region with --roi, or a lower "
            "--quality",
            DlbiWarning,
            stacklevel=3,
        )
    result = threeb(
        stack.load(), stack.grid, psf,
        options=options, upscaling=upscaling, seed=seed, progress=progress,
    )  # fmt: skip
    spots = float(result.mean.sum(dtype=np.float64))
    counts_per_spot = float(reference.sum(dtype=np.float64)) / spots if spots > 0 else 0.0
    mean, std = (image * np.float32(counts_per_spot) for image in (result.mean, result.std))
    return mean, std, result.emitters, {"threeb": result.diagnostics()}


def expected_minutes(n_pixels: int, n_frames: int, options: ThreeBOptions) -> float:
    """Roughly how long a run takes on one core.

    Notes
    -----
    Measured on 30×30 and 60×60 pixels of 200 frames: each spot is optimised at a cost of its own,
    and all states are drawn anew for each spot.
    """
    n = n_pixels / options.pixels_per_spot / 90
    seconds = n_frames / 200 * (3.8 * n + 0.8 * n**2)
    return options.iterations * seconds / 60
