"""Causes of artefacts that a movie shows by itself.

Where the limits come from, and how often each check is right, stands in docs/report.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.artefacts.finding import Finding, Severity
from dlbi.core.images import FloatImage
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.drift import Drift
from dlbi.evaluation.saturation import Saturation
from dlbi.inference.measurement.psf import PsfEstimate
from dlbi.inference.measurement.significance import shows_light
from dlbi.reconstruction.measurement import Movie

BRIGHT_QUANTILE = 0.99
"""The bright parts of a field: this quantile of the mean image without background."""

BORDER_PX, EDGE_LIMIT = 2, 1.9
"""Camera pixels along the edge, and their brightest light relative to the bright parts inside."""

EDGE_SMOOTHING_PX = 1.0
HAZE_QUANTILES = (0.02, 0.98)
UNEVEN_LIMIT = 0.35
"""Range of the haze over the field relative to the bright parts."""

DRIFT_LIMIT_PX = 0.5
"""Movement that a movie may show, camera pixels; also the standard error that still tells."""

PSF_LIMIT = 0.1
"""Relative difference of a given PSF from that of the movie."""

DEFECT_LIMIT = 0.01
"""Share of defective pixels that cameras have at most."""

SIGMAS = 2.0
"""Standard errors by which drift and PSF must lie beyond their limits."""

_TINY = float(np.finfo(np.float32).tiny)


def bright_level(movie: Movie) -> float:
    """Mean light of the bright parts without background, counts."""
    return float(np.quantile(movie.signal, BRIGHT_QUANTILE))


def haze_range(haze: FloatImage) -> float:
    """How far the background varies over the field, counts."""
    low, high = np.quantile(haze, HAZE_QUANTILES)
    return float(high - low)


def check_light(movie: Movie, psf: GaussianPSF, *, told: bool = False) -> Finding:
    """Whether any light stands out of the noise.

    Parameters
    ----------
    movie : Movie
    psf : GaussianPSF
    told : bool
        Whether the method looks for light itself.
    """
    z = movie.light_z(psf)
    largest = float(z.max())
    finding = partial(Finding, "light", value=largest, unit="σ", told=told)
    if shows_light(z):
        return finding(Severity.FINE, f"light stands {largest:.0f} σ above the noise")
    return finding(
        Severity.WARNING,
        "no light stands out of the background noise",
        "record brighter or longer; what an image of it shows is noise",
    )


def check_pixels(movie: Movie, *, told: bool = False) -> Finding:
    """Whether all camera pixels work.

    Parameters
    ----------
    movie : Movie
    told : bool
        Whether the reconstruction mended them and said so.
    """
    n, n_all = len(movie.defects), movie.mean.size
    finding = partial(
        Finding, "pixels", value=n / n_all, limit=DEFECT_LIMIT, unit="of all pixels", told=told
    )
    if n == 0:
        return finding(Severity.FINE, "no camera pixel stands alone, hot or dead")
    sentence = f"{n} of {n_all} camera pixels stand alone, hot or dead"
    if n > DEFECT_LIMIT * n_all:
        return finding(
            Severity.WARNING,
            f"{sentence}, more than a camera has",
            "check that the frames are raw and the pixels not far larger than the PSF",
        )
    return finding(Severity.NOTE, f"{sentence}; dlbi fills them in from the pixels around")


def check_field(cleared: float, *, told: bool = False) -> Finding:
    """Whether the whole field was recorded.

    Parameters
    ----------
    cleared : float
        Share of the camera pixels in cleared regions.
    told : bool
        Whether the reconstruction said so.
    """
    finding = partial(Finding, "field", value=cleared, unit="of all pixels", told=told)
    if not cleared:
        return finding(Severity.FINE, "no region was cleared")
    return finding(
        Severity.WARNING,
        f"{cleared:.0%} of the camera pixels never change and are darker than all others, as where "
        "a region was cleared; light along its border is invented",
        "cut it off with --roi, or clear it after the reconstruction",
    )


def check_frames(empty: Sequence[int], n_frames: int, *, told: bool = False) -> Finding:
    """Whether all frames were recorded.

    Parameters
    ----------
    empty : sequence of int
        Frames that hold one value.
    n_frames : int
        Of the movie.
    told : bool
        Whether the reconstruction said so.
    """
    finding = partial(Finding, "frames", value=len(empty) / n_frames, unit="of all", told=told)
    if not empty:
        return finding(Severity.FINE, "no frame is empty")
    return finding(
        Severity.WARNING,
        f"{len(empty)} of {n_frames} frames hold one value only, the first is frame {empty[0]}, as "
        "where a recording or a copy stopped",
        "leave them out with --frames",
    )


def check_edge(movie: Movie) -> Finding:
    """Whether the brightest light lies at the border of the field, where half of it is unseen."""
    smooth = gaussian_filter(movie.signal, EDGE_SMOOTHING_PX, mode="nearest")
    inside = np.zeros(smooth.shape, bool)
    inside[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    bright = max(float(np.quantile(smooth[inside], BRIGHT_QUANTILE)), _TINY)
    ratio = float(smooth[~inside].max()) / bright
    finding = partial(Finding, "edge", value=ratio, limit=EDGE_LIMIT, unit="× the bright parts")
    if ratio <= EDGE_LIMIT:
        return finding(
            Severity.FINE, f"the border reaches {ratio:.1f} times the light of the bright parts"
        )
    return finding(
        Severity.NOTE,
        f"the brightest light lies at the border, {ratio:.1f} times the bright parts inside, and "
        "where it comes from is partly unseen",
        f"trust the outermost {BORDER_PX} camera pixels less, or choose a region with a darker "
        "border",
    )


def check_background(movie: Movie) -> Finding:
    """Whether the background is too uneven to be taken off safely."""
    share = haze_range(movie.background.haze) / max(bright_level(movie), _TINY)
    finding = partial(
        Finding, "background", value=share, limit=UNEVEN_LIMIT, unit="of the bright signal"
    )
    if share <= UNEVEN_LIMIT:
        return finding(
            Severity.FINE,
            f"the background varies by {share:.0%} of the bright signal over the field",
        )
    return finding(
        Severity.WARNING,
        f"the background varies over the field by {share:.0%} of the bright signal, so some "
        "structure may have gone with it, or some of it been taken for structure",
        "look at the background file, or choose a smaller, more even region with --roi",
    )


def check_drift(drift: Drift | None, pixel_size_nm: float) -> Finding:
    """Whether the sample moved during the movie."""
    limit = DRIFT_LIMIT_PX * pixel_size_nm
    finding = partial(Finding, "drift", limit=limit, unit="nm")
    if drift is None:
        return finding(
            Severity.UNKNOWN, "the movie is too short, too small or too dim to show drift"
        )
    y, x = drift.shift_nm
    length, error = drift.length_nm, drift.standard_error_nm
    moved = f"{length:.0f} ± {error:.0f} nm from the first to the last frame"
    if length - SIGMAS * error > limit:
        return finding(
            Severity.WARNING,
            f"the sample moved by {moved} (x {x:+.0f}, y {y:+.0f} nm), which blurs or doubles "
            "structures",
            "take it off with --correct-drift, or take fewer frames with --frames",
            value=length,
        )
    if error > limit:
        return finding(
            Severity.UNKNOWN, f"the frames do not show drift clearly: {moved}", value=length
        )
    return finding(Severity.FINE, f"the sample moved by {moved}", value=length)


def check_psf(taken_nm: float, found: PsfEstimate) -> Finding:
    """Whether a PSF that was given is that of the movie."""
    given = f"the given width of {taken_nm:.0f} nm"
    if not found.identified:
        return Finding("PSF", Severity.UNKNOWN, f"{given} cannot be checked: {found.reason}")
    difference = taken_nm / found.fwhm_nm - 1.0
    error = found.standard_error_nm / found.fwhm_nm
    measured = f"{found.fwhm_nm:.0f} ± {found.standard_error_nm:.0f} nm"
    finding = partial(
        Finding, "PSF", value=abs(difference), limit=PSF_LIMIT, unit="relative difference"
    )
    if abs(difference) - SIGMAS * error <= PSF_LIMIT:
        return finding(Severity.FINE, f"{given} agrees with the movie's {measured}")
    effect = (
        "too wide a PSF sharpens blur and noise into lines and points"
        if difference > 0
        else "too narrow a PSF leaves blur in the image"
    )
    return finding(
        Severity.WARNING,
        f"{given} is not that of the movie, {measured}; {effect}",
        "leave it to be measured, or check the pixel size",
    )


def check_saturation(found: Saturation) -> Finding:
    """Whether the camera's range was exceeded."""
    finding = partial(Finding, "saturation", value=found.share, unit="of all values")
    if not found.clipped:
        return finding(Severity.FINE, "the camera was not saturated")
    return finding(
        Severity.WARNING,
        f"{found.n_pixels} pixels reach the largest count, {found.top:g}, in all "
        f"{found.n_values} times: the camera was saturated, and bright places are flattened",
        "record with less light or gain",
    )
