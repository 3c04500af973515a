"""Agreement of two reconstructions of one field, made from independent halves of a movie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction, expect_reconstruction
from dlbi.evaluation.alignment import upscaling_factor
from dlbi.evaluation.decorrelation import Decorrelation, decorrelation
from dlbi.evaluation.reprojection import correlation
from dlbi.evaluation.ring_correlation import RingCorrelation, ring_correlation
from dlbi.evaluation.tables import cell

BLURS_PX = (0, 1, 2, 4)
"""Standard deviations of the blurs under which the halves are correlated, pixels."""


@dataclass(frozen=True, slots=True)
class HalfScores:
    """How well two halves agree.

    Parameters
    ----------
    correlations : tuple of float
        Pearson correlation after each blur of `BLURS_PX`; NaN where an image is constant.
    frc : RingCorrelation
        By spatial frequency, with the 1/7 resolution.
    sharpness : tuple of Decorrelation
        Of each image alone: how fine its detail is, repeatable or not.
    grid : PixelGrid
    """

    correlations: tuple[float, ...]
    frc: RingCorrelation
    sharpness: tuple[Decorrelation, Decorrelation]
    grid: PixelGrid

    def row(self) -> dict[str, float | str | None]:
        """The scores as plain JSON values; what is undefined is None."""
        correlations = {
            f"corr_{blur}px": value if np.isfinite(value) else None
            for blur, value in zip(BLURS_PX, self.correlations, strict=True)
        }
        first, second = self.sharpness
        return {
            **correlations,
            "frc_resolution_nm": self.frc.resolution_nm,
            "frc_reason": self.frc.reason or None,
            "decorrelation_nm": first.resolution_nm,
            "decorrelation_half_nm": second.resolution_nm,
            "pixel_size_nm": self.grid.pixel_size_nm,
        }

    def __str__(self) -> str:
        """The scores in words, with what they mean."""
        height, width = self.grid.shape
        correlations = "   ".join(
            f"{blur} px {cell(value, places=3)}"
            for blur, value in zip(BLURS_PX, self.correlations, strict=True)
        )
        first, second = self.sharpness
        return "\n".join(
            [
                f"against the other half on {width}×{height} px of {self.grid.pixel_size_nm:g} nm",
                f"correlation after a blur of {correlations}",
                f"Fourier ring correlation at 1/7: {self.frc}",
                f"decorrelation of each image alone: {first}; {second}",
                "agreement is not truth: what both halves share, such as a background or the "
                "prior of a network, counts as resolved",
            ]
        )


def score_halves(first: Reconstruction, second: Reconstruction) -> HalfScores:
    """Compare two reconstructions of one field from independent data.

    Parameters
    ----------
    first, second : Reconstruction
        Their means are compared, such as those of odd and of even frames
        (``movie.select(slice(0, None, 2))`` and ``slice(1, None, 2)``).

    Raises
    ------
    ShapeError
        If the images do not lie on one grid, or have fewer than 32 pixels along a side.
    InputError
        If an image is not finite.

    Notes
    -----
    See `ring_correlation` for what such an agreement cannot tell.
    """
    expect_reconstruction(first)
    expect_reconstruction(second)
    if upscaling_factor(first.grid, second.grid) != 1:
        raise ShapeError(
            f"the two halves have pixels of {first.grid.pixel_size_nm:g} and "
            f"{second.grid.pixel_size_nm:g} nm; reconstruct both on one grid"
        )
    pixel = first.grid.pixel_size_nm
    frc = ring_correlation(first.mean, second.mean, pixel)
    a, b = (image.mean.astype(np.float64) for image in (first, second))
    return HalfScores(
        tuple(correlation(gaussian_filter(a, s), gaussian_filter(b, s)) for s in BLURS_PX),
        frc,
        (decorrelation(a, pixel), decorrelation(b, pixel)),
        first.grid,
    )
