"""Scores of a reconstruction against its own movie, after SQUIRREL (doi:10.1038/nmeth.4605).

The image is blurred back to the resolution of the camera and compared with the mean frame. Such a
score finds artefacts; it cannot show resolution: the mean frame itself, merely interpolated,
scores RSP ≈ 1.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import (
    FloatImage,
    ImageStack,
    Reconstruction,
    expect_movie,
    expect_reconstruction,
)
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.alignment import upscaling_factor
from dlbi.evaluation.reprojection import Match, best_fwhm_nm, best_shift_nm, is_constant
from dlbi.inference.measurement.bleaching import TimeAverage, frames_worth, time_average

BORDER_PX = 4
"""Camera pixels left out along each edge, where light arrives from outside the image."""


@dataclass(frozen=True, slots=True)
class MovieScores:
    """How well a reconstruction explains the mean frame of its movie.

    Parameters
    ----------
    rsp : float
        Resolution-scaled Pearson correlation; NaN for a constant image.
    rse : float
        Resolution-scaled error: root mean square of mean frame − reprojection, in counts.
    chi2_reduced : float
        Squared error in units of the noise variance of the mean frame, per degree of freedom.
    scale, offset : float
        Least-squares fit: reprojection = scale × projected image + offset, counts; the median of
        the image is taken off first, so that its pedestal does not fade towards the edges.
    fwhm_nm : float
        Width of the resolution-scaling function.
    fwhm_fitted : bool
        False where the width was given.
    shift_nm : tuple of float
        (y, x) by which the image was moved to fit; (0, 0) unless registration was asked for.
    border_px : int
        Camera pixels left out along each edge.
    mean, reprojection : ndarray, (Y, X), float32
        The pictures that were compared, whole, in counts.
    grid : PixelGrid
        Camera pixels.
    """

    rsp: float
    rse: float
    chi2_reduced: float
    scale: float
    offset: float
    fwhm_nm: float
    fwhm_fitted: bool
    shift_nm: tuple[float, float]
    border_px: int
    mean: FloatImage
    reprojection: FloatImage
    grid: PixelGrid

    @property
    def error_map(self) -> FloatImage:
        """Absolute error of each camera pixel, (Y, X), counts."""
        error: FloatImage = np.abs(self.mean - self.reprojection)
        return error

    def row(self) -> dict[str, float | int | bool | None]:
        """The scores as plain JSON values; what is undefined is None."""
        numbers = {
            "rsp": self.rsp,
            "rse": self.rse,
            "chi2_reduced": self.chi2_reduced,
            "scale": self.scale,
            "offset": self.offset,
            "fwhm_nm": self.fwhm_nm,
            "shift_y_nm": self.shift_nm[0],
            "shift_x_nm": self.shift_nm[1],
        }
        plain = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
        return {**plain, "fwhm_fitted": self.fwhm_fitted, "border_px": self.border_px}

    def __str__(self) -> str:
        """The scores in words, with what they mean."""
        origin = "fitted" if self.fwhm_fitted else "given"
        return "\n".join(
            [
                f"against the mean frame of the movie, blurred by {self.fwhm_nm:.0f} nm FWHM "
                f"({origin}), {self.border_px} px border left out",
                f"RSP {self.rsp:.4f}   RSE {self.rse:.4g} counts   reduced χ² "
                f"{self.chi2_reduced:.3g}",
                "RSP finds artefacts, not resolution: the interpolated mean frame scores about 1",
            ]
        )


def score_movie(
    sr: Reconstruction,
    movie: ImageStack,
    *,
    psf: GaussianPSF | None = None,
    register: bool = False,
    mean: FloatImage | None = None,
    background: FloatImage | None = None,
    variance_of_mean: FloatImage | None = None,
    border_px: int | None = None,
) -> MovieScores:
    """RSP, RSE and χ² of a reconstruction against the mean frame of its movie.

    Parameters
    ----------
    sr : Reconstruction
        Its `mean` is scored; same field as `movie`, a whole number of times finer.
    movie : ImageStack
    psf : GaussianPSF, optional
        Resolution-scaling function. Without it the width with the highest RSP is taken, which
        also excuses an image that is blurred already.
    register : bool
        Also find the sub-pixel shift with the highest RSP. Meant for images of other programs
        with an unknown pixel convention; a shift of our own images is an error worth seeing.
        Reported in `shift_nm`; beyond the border it comes with a warning.
    mean : ndarray, (Y, X), optional
        The mean frame, counts. Without it that of `time_average`, as the methods here see it: where
        the movie fades, late frames count less.
    background : ndarray, (Y, X), optional
        Light that the reconstruction left out on purpose (`Reconstruction.background`), counts;
        taken off the mean frame. State it beside the score: a background can explain anything.
    variance_of_mean : ndarray, (Y, X), optional
        Noise variance of the mean frame, counts². Without it: `temporal_variance` ÷ Σ fading²
        (the number of frames where nothing fades).
    border_px : int, optional
        Camera pixels left out along each edge; 4, or a quarter of the shorter side if less.

    Returns
    -------
    MovieScores
        RSP and χ² without unit, RSE and the error map in counts of the movie.

    Raises
    ------
    ShapeError
        If image and movie do not cover one field, or the border leaves fewer than 2×2 pixels.
    InputError
        If a picture is not finite or the mean frame is constant.

    Notes
    -----
    Scale and offset are least squares, so RSE = sd(mean frame) · √(1 − RSP²) exactly. RSE has the
    unit of the movie: it compares methods on one movie, not movies.

    χ² = Σ (mean − reprojection)² / variance of the mean ÷ (pixels − fitted parameters). Temporal
    differences hold the blinking besides the noise, so the variance is too large and χ² too
    small: above 1 it proves a misfit, near 1 it does not prove a fit. Smooth haze that the
    reconstruction left out counts as misfit beyond its constant part, unless `background` is given.

    References
    ----------
    Culley et al. 2018, doi:10.1038/nmeth.4605; Li et al. 2018, section 3.4.1.
    """
    expect_reconstruction(sr)
    expect_movie(movie)
    factor = upscaling_factor(sr.grid, movie.grid)
    border_px = _border(movie.grid, border_px)
    temporal, worth = temporal_variance(movie), float(movie.n_frames)
    if mean is None:
        shown = time_average(movie, lambda _: temporal)
        mean, worth = shown.mean, frames_worth(shown.fading)
        if worth > movie.n_frames:
            temporal = temporal_variance(movie, shown)
    fine = movie.grid.refine(factor)
    match = _match(sr.mean, fine, mean, movie.grid, border_px, background)
    fwhm_nm = best_fwhm_nm(match) if psf is None else psf.fwhm_nm
    shift_nm = (0.0, 0.0)
    if register:
        fwhm_nm, shift_nm = best_shift_nm(match, fwhm_nm, fit_width=psf is None)
        _warn_of_far_shift(shift_nm, match)
    projected = match.project(fwhm_nm, shift_nm)
    scale, offset = match.linear_fit(projected)
    reprojection = (scale * projected + offset).astype(np.float32)
    if variance_of_mean is None:
        variance_of_mean = temporal / np.float32(worth)
    residual = match.inner(match.target - reprojection)
    return MovieScores(
        rsp=match.correlation(projected),
        rse=math.sqrt(np.mean(residual**2)),
        chi2_reduced=_reduced_chi2(
            match, residual, variance_of_mean, 2 + (psf is None) + 2 * register
        ),
        scale=scale,
        offset=offset,
        fwhm_nm=fwhm_nm,
        fwhm_fitted=psf is None,
        shift_nm=shift_nm,
        border_px=match.border_px,
        mean=match.target,
        reprojection=reprojection,
        grid=movie.grid,
    )


def temporal_variance(movie: ImageStack, shown: TimeAverage | None = None) -> FloatImage:
    """Variance of one frame in each pixel, (Y, X), counts²: half the mean square of differences.

    Successive differences are blind to slow trends such as bleaching, but hold the blinking.

    Parameters
    ----------
    movie : ImageStack
    shown : TimeAverage, optional
        Of a movie that fades. Frames then count by the square of their light, as in the variance of
        its mean, since shot noise and blinking fade with it; the fading itself is taken off.
    """
    light = np.ones(movie.n_frames) if shown is None else shown.fading.astype(np.float64)
    weights = light * np.concatenate([[0.0], light[:-1]])
    total = np.zeros(movie.grid.shape, np.float64)
    last = movie.load(slice(0, 1))
    for taken, frames in movie.chunks():
        steps = np.diff(frames, axis=0, prepend=last).astype(np.float64)
        if shown is not None:
            fall = np.diff(light, prepend=light[0])[taken, None, None]
            steps -= fall * (shown.mean - shown.background.haze.min())
        total += (weights[taken, None, None] * steps**2).sum(axis=0)
        last = frames[-1:]
    return np.asarray(total / (2.0 * weights.sum()), np.float32)


def _border(camera: PixelGrid, border_px: int | None) -> int:
    """Camera pixels to leave out along each edge."""
    short_px = min(camera.shape)
    border = min(BORDER_PX, short_px // 4) if border_px is None else border_px
    if border < 0 or short_px - 2 * border < 2:
        raise ShapeError(
            f"a border of {border} px on each side leaves too little of a movie whose shorter "
            f"side is {short_px} px; give a smaller border"
        )
    return border


def _match(
    image: FloatImage,
    fine: PixelGrid,
    mean: FloatImage,
    camera: PixelGrid,
    border_px: int,
    background: FloatImage | None,
) -> Match:
    if background is not None:
        if background.shape != mean.shape:
            raise ShapeError(f"the background is {background.shape} but a frame is {mean.shape}")
        mean = mean - background
    for name, picture in (("image", image), ("mean frame", mean)):
        if not np.isfinite(picture).all():
            raise InputError(f"the {name} holds NaN or infinite values; mask or repair them")
    match = Match(image - np.median(image), fine, mean, camera, border_px)
    if is_constant(match.inner(mean)):
        raise InputError("the mean frame is constant; there is nothing to compare an image with")
    return match


def _warn_of_far_shift(shift_nm: tuple[float, float], match: Match) -> None:
    if max(map(abs, shift_nm)) > match.border_px * match.camera.pixel_size_nm:
        warnings.warn(
            f"registration moved the image by y={shift_nm[0]:.0f}, x={shift_nm[1]:.0f} nm, beyond "
            f"the border of {match.border_px} camera pixels; it may not show this field",
            DlbiWarning,
            stacklevel=3,
        )


def _reduced_chi2(
    match: Match, residual: NDArray[np.float64], variance_of_mean: FloatImage, n_fitted: int
) -> float:
    if variance_of_mean.shape != match.camera.shape:
        raise ShapeError(
            f"the variance map is {variance_of_mean.shape} but a frame is {match.camera.shape}"
        )
    variance = match.inner(variance_of_mean)
    known = variance > 0.0
    n_noiseless = int(known.size - known.sum())
    if n_noiseless:
        warnings.warn(
            f"{n_noiseless} of {known.size} pixels never change; χ² leaves them out",
            DlbiWarning,
            stacklevel=3,
        )
    dof = int(known.sum()) - n_fitted
    return float(np.sum(residual[known] ** 2 / variance[known])) / dof if dof > 0 else math.nan
