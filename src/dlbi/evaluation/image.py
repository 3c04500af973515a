"""Scores of a reconstruction against a known truth.

Two normalisations stand side by side, because either alone can flatter a method, and every table
carries the all-zero image, because a blank picture scores well where the truth is sparse.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError, ShapeError, expect
from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import Reconstruction, StructureImage, expect_reconstruction
from dlbi.evaluation.alignment import upscaling_factor
from dlbi.evaluation.reprojection import correlation
from dlbi.evaluation.tables import score_table

NORMALISATIONS = {
    "ls": "image × the non-negative factor that fits the truth best (least squares)",
    "p999": "image ÷ its own 99.9th percentile",
}
"""What is done to the image; the truth is always divided by its 99.9th percentile."""

BRIGHT_PERCENTILE = 99.9
SPARSE_LEVEL = 0.05
"""Share of the maximum below which the percentile misses the structure of a sparse picture."""

SSIM_WINDOW_PX = 11

Image = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class ImageScores:
    """One row of the table of truth scores.

    Parameters
    ----------
    name : str
        "image", or "null" for the all-zero image.
    corr_0px, corr_2px, corr_4px : float
        Pearson correlation after both pictures are blurred by a Gaussian of that σ in pixels;
        NaN where a picture is constant.
    psnr_ls_db, psnr_p999_db : float
        Peak signal-to-noise ratio under each entry of `NORMALISATIONS`; infinite if identical.
    ssim_ls, ssim_p999 : float
        Structural similarity, likewise.
    """

    name: str
    corr_0px: float
    corr_2px: float
    corr_4px: float
    psnr_ls_db: float
    ssim_ls: float
    psnr_p999_db: float
    ssim_p999: float


@dataclass(frozen=True, slots=True)
class TruthScores:
    """Scores of a reconstruction and of the all-zero image against the same truth.

    Parameters
    ----------
    image, null : ImageScores
        The two rows; neither should be shown without the other.
    grid : PixelGrid
        Where the pictures were compared: the coarser of their two grids.
    """

    image: ImageScores
    null: ImageScores
    grid: PixelGrid

    def rows(self) -> list[dict[str, str | float | None]]:
        """Both rows as plain JSON values; what is undefined or infinite is None."""
        return [
            {key: value if _is_plain(value) else None for key, value in asdict(row).items()}
            for row in (self.image, self.null)
        ]

    def __str__(self) -> str:
        """Table of both rows under the names of the normalisations."""
        height, width = self.grid.shape
        return "\n".join(
            [
                f"against the truth on {width}×{height} px of {self.grid.pixel_size_nm:g} nm",
                score_table(self.rows()),
                *normalisation_lines(),
            ]
        )


def score_truth(sr: Reconstruction, truth: StructureImage | Emitters) -> TruthScores:
    """Compare the mean image of a reconstruction with the truth.

    Parameters
    ----------
    sr : Reconstruction
        Its `mean` is scored.
    truth : StructureImage or Emitters
        A picture of the same field on the same grid or on one a whole number of times finer or
        coarser (the finer picture is summed in blocks), or the true emitters, which are drawn
        by `render_emitters` on the grid of `sr`.

    Returns
    -------
    TruthScores
        The image and the all-zero image.

    Raises
    ------
    ShapeError
        If the grids do not cover one field by a whole factor, or a side is below 11 pixels.
    InputError
        If the image is not finite or the truth is empty.

    Notes
    -----
    With truth t and image x, t is divided by its 99.9th percentile, so the data range is 1.

    - ls: x is multiplied by max(0, Σxt / Σx²).
    - p999: x is divided by its own 99.9th percentile.

    PSNR = −10 log₁₀ mean((x − t)²). SSIM has the settings of Wang et al.: Gaussian weights of
    σ = 1.5 px and population covariance (doi:10.1109/TIP.2003.819861). Nothing is clipped and no
    offset is fitted: either moves SSIM by several tenths.
    """
    expect_reconstruction(sr)
    kinds = StructureImage, Emitters
    expect("a truth", truth, kinds, "dlbi.load_structure and dlbi.load_emitters read one")
    if isinstance(truth, Emitters):
        truth = render_emitters(truth, sr.grid)
    if not np.isfinite(sr.mean).all():
        raise InputError("the image to score holds NaN or infinite values; mask or repair them")
    image, reference, grid = _on_coarser_grid(sr, truth)
    if min(grid.shape) < SSIM_WINDOW_PX:
        raise ShapeError(
            f"scores need at least {SSIM_WINDOW_PX}×{SSIM_WINDOW_PX} pixels, got {grid.shape}"
        )
    if reference.max() <= 0.0:
        raise InputError("the truth is empty: no pixel is above zero; give another truth")
    reference = reference / bright_level(reference)
    return TruthScores(
        image=_score("image", image, reference),
        null=_score("null", np.zeros_like(image), reference),
        grid=grid,
    )


def render_emitters(emitters: Emitters, grid: PixelGrid, *, blur_px: float = 1.0) -> StructureImage:
    """Picture of point emitters: their number in each pixel, blurred by a Gaussian.

    Parameters
    ----------
    emitters : Emitters
        Those outside the grid are left out.
    grid : PixelGrid
    blur_px : float
        Standard deviation of the blur in pixels of `grid`.
    """
    rows, columns = (
        np.floor(position + 0.5).astype(np.int64)
        for position in grid.to_px(emitters.y_nm, emitters.x_nm)
    )
    h, w = grid.shape
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    counts = np.bincount(rows[inside] * w + columns[inside], minlength=h * w).reshape(h, w)
    picture = gaussian_filter(counts.astype(np.float32), blur_px, mode="constant")
    return StructureImage(picture, grid)


def normalisation_lines() -> list[str]:
    """What stands behind the column names of a table of scores."""
    return [f"{name}: {meaning}" for name, meaning in NORMALISATIONS.items()] + [
        "null: the all-zero image; it scores well where the truth is sparse"
    ]


def bright_level(image: Image) -> float:
    """The 99.9th percentile of an image, or its maximum where structure is rarer than that.

    Warns
    -----
    DlbiWarning
        If the maximum is taken, because the percentile lies below 5 % of it.
    """
    level, peak = float(np.percentile(image, BRIGHT_PERCENTILE)), float(image.max())
    if level >= SPARSE_LEVEL * peak:
        return level
    warnings.warn(
        f"less than 0.1 % of the pixels are bright (99.9th percentile {level:.3g}, maximum "
        f"{peak:.3g}); the maximum sets the data range",
        DlbiWarning,
        stacklevel=2,
    )
    return peak


def _on_coarser_grid(sr: Reconstruction, truth: StructureImage) -> tuple[Image, Image, PixelGrid]:
    image: Image = sr.mean.astype(np.float64)
    reference: Image = truth.density.astype(np.float64)
    if sr.grid.shape[0] >= truth.grid.shape[0]:
        image = block_sum(image, upscaling_factor(sr.grid, truth.grid))
        return image, reference, truth.grid
    reference = block_sum(reference, upscaling_factor(truth.grid, sr.grid))
    return image, reference, sr.grid


def _score(name: str, image: Image, truth: Image) -> ImageScores:
    fitted = _least_squares_scale(image, truth) * image
    level = bright_level(image) if image.max() > 0.0 else 1.0
    return ImageScores(
        name=name,
        corr_0px=correlation(image, truth),
        corr_2px=correlation(gaussian_filter(image, 2.0), gaussian_filter(truth, 2.0)),
        corr_4px=correlation(gaussian_filter(image, 4.0), gaussian_filter(truth, 4.0)),
        psnr_ls_db=_psnr_db(fitted, truth),
        ssim_ls=_ssim(fitted, truth),
        psnr_p999_db=_psnr_db(image / level, truth),
        ssim_p999=_ssim(image / level, truth),
    )


def _least_squares_scale(image: Image, truth: Image) -> float:
    power = float(np.vdot(image, image))
    return max(0.0, float(np.vdot(image, truth)) / power) if power > 0.0 else 0.0


def _psnr_db(image: Image, truth: Image) -> float:
    error = float(np.mean((image - truth) ** 2))
    return -10.0 * math.log10(error) if error > 0.0 else math.inf


def _ssim(image: Image, truth: Image) -> float:
    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            truth,
            image,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def _is_plain(value: str | float) -> bool:
    return isinstance(value, str) or math.isfinite(value)
