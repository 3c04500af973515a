"""All checks together: which are made of which reconstruction, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.artefacts import Severity, find_artefacts
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import Reconstruction
from dlbi.core.optics import GaussianPSF
from dlbi.reconstruction import correct_drift, reconstruct

MOVIE_CHECKS = [
    "light", "pixels", "field", "frames", "saturation", "drift", "background", "edge",
]  # fmt: skip


def names(findings):
    return [finding.name for finding in findings]


def image_of(stack, **provenance):
    grid = stack.grid.refine(2)
    return Reconstruction(np.ones(grid.shape, np.float32), grid, provenance=provenance)


def test_a_faultless_movie_passes(movie):
    findings = find_artefacts(reconstruct(movie, method="rl", upscaling=2), movie)
    assert names(findings) == [*MOVIE_CHECKS, "PSF"]
    assert {f.severity for f in findings} == {Severity.FINE}
    assert not any(f.advice for f in findings)


def test_every_fault_is_found_in_company(film):
    ill = film(drift_nm=(300.0, 200.0), haze=6.0)
    frames = ill.load()
    ill = replace(ill, data=np.minimum(frames, np.quantile(frames, 0.995, method="lower")))
    sr = reconstruct(ill, method="rl", upscaling=2, psf=GaussianPSF(250.0))
    warned = [f.name for f in find_artefacts(sr, ill) if f.severity is Severity.WARNING]
    assert warned == ["saturation", "drift", "background", "PSF"]


def test_pixels_and_saturation_are_judged_on_the_frames_as_taken(film):
    taken = film(drift_nm=(300.0, 200.0))
    frames = taken.load()
    frames = np.minimum(frames, np.quantile(frames, 0.995, method="lower"))
    frames[:, 9, 12] = 40 * frames.max()
    taken = replace(taken, data=frames)
    with pytest.warns(DlbiWarning, match="1 camera pixel stands alone"):
        still = correct_drift(taken).stack

    def severities(**options):
        found = find_artefacts(image_of(still), still, **options)
        return {f.name: f.severity for f in found if f.name in ("pixels", "saturation", "drift")}

    fine, note, warning = Severity.FINE, Severity.NOTE, Severity.WARNING
    assert severities() == {"pixels": fine, "saturation": fine, "drift": fine}
    assert severities(camera=taken) == {"pixels": note, "saturation": warning, "drift": fine}


def test_without_light_nothing_else_is_judged(noise):
    findings = find_artefacts(image_of(noise), noise)
    assert names(findings) == ["light", "pixels", "field", "frames", "saturation"]
    assert not findings[0].told
    assert find_artefacts(image_of(noise, largest_light_z=2.0), noise)[0].told


def test_an_image_of_another_program_is_judged_by_its_movie(movie):
    assert names(find_artefacts(image_of(movie), movie)) == MOVIE_CHECKS


@pytest.mark.parametrize(
    ("psf", "severity", "told"),
    [
        ({"origin": "movie", "fwhm_nm": 420.0, "standard_error_nm": 5.0}, "fine", False),
        ({"origin": "prior", "fwhm_nm": 422.0, "standard_error_nm": 105.5}, "warning", True),
        (
            {"origin": "movie and prior", "fwhm_nm": 420.0, "standard_error_nm": 33.0},
            "warning",
            True,
        ),
        ({"origin": "movie and prior", "fwhm_nm": 420.0, "standard_error_nm": 31.0}, "note", False),
        ({"origin": "given", "fwhm_nm": 600.0}, "warning", False),
        ({"origin": "scope", "fwhm_nm": 422.0}, "fine", False),
    ],
)
def test_the_psf_is_judged_by_where_it_comes_from(movie, psf, severity, told):
    finding = find_artefacts(image_of(movie, psf=psf), movie)[-1]
    assert (finding.name, finding.severity, finding.told) == ("PSF", severity, told)


def test_the_noise_of_a_calibration_is_taken(noise):
    """A noise a thousand times too small makes light of nothing."""
    low = {"read": 0.08, "gain": 0.0, "least": 0.01}
    assert find_artefacts(image_of(noise, noise=low), noise)[0].severity is Severity.FINE


def test_what_no_camera_recorded_is_found(movie):
    frames = movie.load()
    frames[:, :, 24:] = 0.0
    frames[70:] = 0.0
    torn = replace(movie, data=frames)
    with pytest.warns(DlbiWarning, match="never change|hold one value only"):
        sr = reconstruct(torn, method="rl", upscaling=2)
    for image, taken, camera, told in (
        (sr, torn, None, True), (sr, movie, torn, False), (image_of(torn), torn, None, False)
    ):  # fmt: skip
        found = {f.name: f for f in find_artefacts(image, taken, camera=camera)}
        field, empty = found["field"], found["frames"]
        assert (field.severity, field.value, field.told) == (Severity.WARNING, 0.25, told)
        assert (empty.severity, empty.value, empty.told) == (Severity.WARNING, 0.125, told)


def test_defective_pixels_are_left_out_of_all_checks(movie):
    """One stuck pixel alone would be a bright edge, a wrong PSF and no background."""
    frames = movie.load()
    frames[:, 0, 9] = 6e4
    broken = replace(movie, data=frames)
    with pytest.warns(DlbiWarning, match="stands alone"):
        sr = reconstruct(broken, method="rl", upscaling=2)
    for image, told in ((sr, True), (image_of(broken), False)):
        findings = find_artefacts(image, broken)
        assert [f.name for f in findings if f.severity is not Severity.FINE] == ["pixels"]
        pixels = findings[1]
        assert (pixels.name, pixels.severity, pixels.told) == ("pixels", Severity.NOTE, told)
        assert pixels.value == 1 / 32**2
    recorded = image_of(broken, defective_pixels=[])
    assert "pixels: no camera pixel" in str(find_artefacts(recorded, broken)[1])
