"""All checks of a movie and its reconstruction."""

from __future__ import annotations

from dataclasses import replace

from dlbi.artefacts.finding import Finding, Severity
from dlbi.artefacts.movie import (
    check_background,
    check_drift,
    check_edge,
    check_field,
    check_frames,
    check_light,
    check_pixels,
    check_psf,
    check_saturation,
)
from dlbi.artefacts.record import Record, check_record, record_of
from dlbi.core.images import ImageStack, Reconstruction, expect_movie, expect_reconstruction
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.drift import estimate_drift
from dlbi.evaluation.saturation import find_saturation
from dlbi.inference.measurement.defects import Pixels, without_defects
from dlbi.inference.measurement.gaps import find_gaps
from dlbi.inference.measurement.noise import NoiseModel
from dlbi.inference.measurement.psf import PRIOR_FWHM_NM, estimate_psf
from dlbi.reconstruction.measurement import LARGE_PSF_ERROR, Movie, measure

ORDER = (
    "light", "pixels", "field", "frames", "saturation", "drift", "background", "edge", "PSF",
    "chains", "training", "network", "fluorophores",
)  # fmt: skip


def find_artefacts(
    sr: Reconstruction,
    movie: ImageStack,
    *,
    measured: Movie | None = None,
    camera: ImageStack | None = None,
) -> list[Finding]:
    """Look for the known causes of artefacts.

    Parameters
    ----------
    sr : Reconstruction
        Its provenance tells what happened while it was made; checks of which it knows nothing are
        left out.
    movie : ImageStack
        The frames it was made from.
    measured : Movie, optional
        What `measure_behind` found, if it is known already.
    camera : ImageStack, optional
        The frames as the camera took them, if those of `movie` have been moved: they tell of its
        pixels, of gaps and of saturation.

    Returns
    -------
    list of Finding
        In a fixed order. Without any light all other checks of the movie are left out.
    """
    expect_reconstruction(sr)
    expect_movie(movie)
    record = record_of(sr.provenance)
    known = measure_behind(sr, movie) if measured is None else measured
    width = psf_of_record(record) or GaussianPSF(PRIOR_FWHM_NM)
    light = check_light(known, width, told="largest_light_z" in record)
    movie = known.stack
    raw, defects = (movie, known.defects) if camera is None else without_defects(camera)
    gaps = find_gaps(raw, known.noise)
    told = "defective_pixels" in record
    found = [
        light, check_pixels(replace(known, defects=defects), told=told),
        check_field(gaps.cleared, told=told and camera is None),
        check_frames(gaps.empty_frames, raw.n_frames, told=told and camera is None),
        check_saturation(find_saturation(raw)), *check_record(record),
    ]  # fmt: skip
    if light.severity is Severity.FINE:
        drift = estimate_drift(movie)
        found += [
            check_drift(drift, movie.grid.pixel_size_nm), check_background(known), check_edge(known)
        ]  # fmt: skip
        psf = _psf(record, movie)
        found += [] if psf is None else [psf]
    return sorted(found, key=lambda finding: ORDER.index(finding.name))


def measure_behind(sr: Reconstruction, movie: ImageStack) -> Movie:
    """Mean and background of a movie, with the noise and defects that the reconstruction took."""
    record = record_of(sr.provenance)
    noise = None
    match record.get("noise"):
        case {"read": float(read), "gain": float(gain), "least": float(least), **rest}:
            shared = rest.get("row_correlation")
            noise = NoiseModel(read, gain, least, shared if isinstance(shared, float) else 0.0)
    return measure(movie, noise, recorded_defects(record))


def recorded_defects(record: Record) -> Pixels | None:
    """The camera pixels that a reconstruction mended; None if it says nothing of them."""
    match record.get("defective_pixels"):
        case [*pixels]:
            return tuple((int(x), int(y)) for x, y in pixels)
    return None


def psf_of_record(record: Record) -> GaussianPSF | None:
    """The PSF that a reconstruction took, if its method has one."""
    match record.get("psf"):
        case {"fwhm_nm": float(fwhm_nm)}:
            return GaussianPSF(fwhm_nm)
    return None


def _psf(record: Record, movie: ImageStack) -> Finding | None:
    match record.get("psf"):
        case {"origin": "movie", "fwhm_nm": float(width), "standard_error_nm": float(error)}:
            return Finding(
                "PSF", Severity.FINE, f"measured in the movie: {width:.0f} ± {error:.0f} nm FWHM"
            )
        case {
            "origin": "movie and prior" | "prior" as origin,
            "fwhm_nm": float(width),
            "standard_error_nm": float(error),
        }:
            seen = "faintly shows" if origin == "movie and prior" else "does not show"
            wide = error > LARGE_PSF_ERROR * width
            return Finding(
                "PSF", Severity.WARNING if wide else Severity.NOTE,
                f"the movie {seen} its PSF: {width:.0f} ± {error:.0f} nm FWHM, with a prior",
                "give yours with --psf-fwhm", told=wide,
            )  # fmt: skip
        case {"fwhm_nm": float(width)}:
            return check_psf(width, estimate_psf(movie))
    return None
