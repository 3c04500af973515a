"""What every method measures on a movie before it reconstructs anything."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.forward import Projection
from dlbi.inference.deconvolution import richardson_lucy
from dlbi.inference.measurement.background import Background, estimate_background
from dlbi.inference.measurement.bleaching import frames_worth, time_average
from dlbi.inference.measurement.defects import Pixels, without_defects
from dlbi.inference.measurement.gaps import find_gaps
from dlbi.inference.measurement.halo import bared
from dlbi.inference.measurement.noise import NoiseModel, fit_noise
from dlbi.inference.measurement.psf import PsfEstimate, estimate_psf, implausible
from dlbi.inference.measurement.significance import light_z
from dlbi.learning.observation import Observation, observe
from dlbi.tiling import Region

MARGIN_PX = 4
"""Camera pixels around the field in which light may arise."""

RL_ITERATIONS = 200

MOST_NAMED = 5
"""Defective pixels whose places a message names."""

LARGE_PSF_ERROR = 0.075
"""Standard error ÷ width of the PSF beyond which a warning tells; the 95 % interval is ± 15 %."""


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie with what is measured on it once.

    Parameters
    ----------
    stack : ImageStack
        Its frames, defective pixels mended.
    mean : ndarray, (Y, X), counts
        Time average (`time_average`).
    noise : NoiseModel
    background : Background
    fading : ndarray, (T,)
        Light of each frame ÷ its mean over the movie (`fading_of`).
    defects : sequence of (x, y)
        Camera pixels that were mended.
    """

    stack: ImageStack
    mean: FloatImage
    noise: NoiseModel
    background: Background
    fading: NDArray[np.float32]
    defects: Pixels = ()

    @property
    def signal(self) -> FloatImage:
        """Mean without background, (Y, X), counts."""
        return self.mean - self.background.haze

    @property
    def variance(self) -> FloatImage:
        """Noise variance of one frame, (Y, X), counts²."""
        return self.noise.variance(self.mean)

    def variance_under(self, psf: GaussianPSF) -> FloatImage:
        """Variance of white noise that hides light under a PSF as well as this noise does.

        (Y, X), counts², of one frame; `variance` itself unless neighbours share noise.
        """
        share = self.noise.under(psf.sigma_px(self.stack.grid.pixel_size_nm))
        return self.variance * np.float32(share)

    def light_z(self, psf: GaussianPSF) -> FloatImage:
        """Significance of light at each camera pixel, (Y, X), in standard deviations."""
        variance = self.variance_under(psf) / np.float32(self.frames_worth)
        return light_z(self.signal, variance, psf.sigma_px(self.stack.grid.pixel_size_nm))

    @property
    def variance_of_mean(self) -> FloatImage:
        """Noise variance of the mean image, (Y, X), counts²."""
        return self.noise.variance(self.mean) / np.float32(self.frames_worth)

    @property
    def fades(self) -> bool:
        """Whether late frames count less than early ones."""
        return self.frames_worth > self.stack.n_frames

    @property
    def frames_worth(self) -> float:
        """Noise variance of a frame ÷ that of `mean`; the number of frames unless they fade."""
        return frames_worth(self.fading)

    def frames(self, region: Region) -> FloatImage:
        """Background-free frames of a region, (T, Y, X), counts."""
        y, x = region
        part = self.stack.select(roi=(x.start, y.start, x.stop - x.start, y.stop - y.start))
        frames = part.load().copy()
        frames -= self.background.trend[:, None, None]
        frames -= self.background.haze[region]
        return frames


def measure(
    stack: ImageStack, noise: NoiseModel | None = None, defects: Pixels | None = None
) -> Movie:
    """Defective pixels and camera noise, unless they are given, mean and background of a movie."""
    stack, defects = without_defects(stack, defects)
    noise = fit_noise(stack) if noise is None else noise
    shown = time_average(stack, noise.variance)
    return Movie(stack, shown.mean, noise, shown.background, shown.fading, defects)


def without_halo(movie: Movie, halo: Halo) -> Movie:
    """A movie as a PSF without its halo would show it.

    The fluctuations of the halo leave the frames; its time average joins the background, which is
    measured anew in what remains.
    """
    if halo.share == 0.0:
        return movie
    pixel_nm, mean = movie.stack.grid.pixel_size_nm, movie.mean
    stack = bared(movie.stack, mean, halo)
    around = halo.part_of(mean, pixel_nm)
    variance = movie.variance_of_mean
    background = estimate_background(stack, mean - around, variance)
    return replace(
        movie, stack=stack, background=replace(background, haze=background.haze + around)
    )


def tell_defects(defects: Pixels) -> None:
    """Warn of pixels that were mended."""
    if not defects:
        return
    places = ", ".join(f"({x}, {y})" for x, y in defects[:MOST_NAMED])
    more = f" and {len(defects) - MOST_NAMED} more" if len(defects) > MOST_NAMED else ""
    one = len(defects) == 1
    warnings.warn(
        f"{len(defects)} camera pixel{'' if one else 's'} stand{'s' if one else ''} alone, hot or "
        f"dead: {places}{more} (x, y); filled in from the pixels around",
        DlbiWarning,
        stacklevel=3,
    )


def tell_gaps(stack: ImageStack, noise: NoiseModel) -> None:
    """Warn of what no camera recorded: light would be invented around it."""
    gaps = find_gaps(stack, noise)
    if gaps.cleared:
        warnings.warn(
            f"{gaps.cleared:.0%} of the camera pixels never change and are darker than all others, "
            "as where a region was cleared; light along its border is not to be trusted: cut it "
            "off with --roi, or clear it after the reconstruction",
            DlbiWarning,
            stacklevel=3,
        )
    if gaps.empty_frames:
        warnings.warn(
            f"{len(gaps.empty_frames)} of {stack.n_frames} frames hold one value only (the first "
            f"is frame {gaps.empty_frames[0]}), as where a recording or a copy stopped; leave "
            "them out with --frames",
            DlbiWarning,
            stacklevel=3,
        )


class Optics(NamedTuple):
    """The PSF, its halo, and for the provenance how the width of the PSF is known."""

    psf: GaussianPSF
    halo: Halo
    record: dict[str, Any]


def optics_of(
    stack: ImageStack,
    psf: GaussianPSF | None = None,
    halo: Halo | None = None,
    record: dict[str, Any] | None = None,
) -> Optics:
    """PSF and halo as the movie shows them, but for what is given.

    Parameters
    ----------
    stack : ImageStack
    psf, halo : optional
    record : dict, optional
        Of a given PSF, if it comes from elsewhere than the user.

    Warns
    -----
    DlbiWarning
        If no PSF is given and the movie hardly shows it, or if the user's is not that of a
        microscope on these pixels.
    """
    if psf is None or halo is None:
        found = estimate_psf(stack)
        halo = halo_of(found, stack.grid) if halo is None else halo
    if psf is not None:
        doubt = implausible(psf.fwhm_nm, stack.grid.pixel_size_nm)
        if doubt and record is None:
            warnings.warn(
                f"the given PSF: {doubt}; it and the pixel size are in nm in the sample",
                DlbiWarning,
                stacklevel=3,
            )
        return Optics(psf, halo, record or {"fwhm_nm": psf.fwhm_nm, "origin": "given"})
    if found.relative_error > LARGE_PSF_ERROR:
        warnings.warn(f"{found}; give yours with --psf-fwhm", DlbiWarning, stacklevel=3)
    record = {
        "fwhm_nm": found.fwhm_nm,
        "standard_error_nm": found.standard_error_nm,
        "origin": found.origin,
    }
    return Optics(GaussianPSF(found.fwhm_nm), halo, record)


def halo_of(found: PsfEstimate, grid: PixelGrid) -> Halo:
    """The halo of a measured PSF; without light if the movie shows none."""
    return Halo() if found.halo is None else found.halo.halo(grid.pixel_size_nm)


def projection_of(stack: ImageStack, psf: GaussianPSF, upscaling: int) -> Projection:
    """The forward model from the fine grid with its margin to the camera."""
    return Projection(stack.grid.pad(MARGIN_PX).refine(upscaling), stack.grid, psf)


def with_margin(image: FloatImage, projection: Projection) -> FloatImage:
    """An image of the field continued into the margin of the fine grid by its border pixels."""
    return np.pad(image, _fine_margin(projection), mode="edge")


def without_margin(image: FloatImage, projection: Projection) -> FloatImage:
    """The part of an image of the fine grid that lies in the field."""
    m = _fine_margin(projection)
    return np.ascontiguousarray(image[m : image.shape[0] - m, m : image.shape[1] - m])


def _fine_margin(projection: Projection) -> int:
    return MARGIN_PX * round(projection.camera.pixel_size_nm / projection.fine.pixel_size_nm)


def deconvolve(
    movie: Movie,
    projection: Projection,
    *,
    start: FloatImage | None = None,
    n_iterations: int = RL_ITERATIONS,
    variance: FloatImage | None = None,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> FloatImage:
    """Richardson–Lucy density of the mean image on the fine grid with its margin.

    With the variance of the mean the steps are damped (`richardson_lucy`).
    """
    return richardson_lucy(
        movie.mean, movie.background.haze, projection, n_iterations=n_iterations, start=start,
        variance=variance, n_workers=n_workers, progress=progress,
    )  # fmt: skip


def observed(movie: Movie, density: FloatImage, projection: Projection) -> Observation:
    """What the network sees of a measured movie and its flat-start deconvolution."""
    return observe(
        movie.stack,
        mean=movie.mean,
        haze=movie.background.haze,
        trend=movie.background.trend,
        noise_variance=movie.variance,
        row_correlation=movie.noise.row_correlation,
        density=density,
        projection=projection,
        frames_worth=movie.frames_worth,
    )
