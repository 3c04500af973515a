"""Each check of a movie warns of its fault and is silent without it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.artefacts.finding import Severity
from dlbi.artefacts.movie import (
    DRIFT_LIMIT_PX,
    EDGE_LIMIT,
    PSF_LIMIT,
    UNEVEN_LIMIT,
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
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.drift import Drift, estimate_drift
from dlbi.evaluation.saturation import find_saturation
from dlbi.inference.measurement.psf import PsfEstimate, estimate_psf
from dlbi.reconstruction.measurement import measure

PSF = GaussianPSF(414.0)
FINE, NOTE, WARNING, UNKNOWN = (
    Severity.FINE, Severity.NOTE, Severity.WARNING, Severity.UNKNOWN
)  # fmt: skip


def test_light(movie, noise):
    lit, dark = check_light(measure(movie), PSF), check_light(measure(noise), PSF)
    assert (lit.severity, dark.severity) == (FINE, WARNING)
    assert lit.value > 20 > 5 > dark.value
    assert not dark.told
    assert check_light(measure(noise), PSF, told=True).told


def test_drift_of_simulated_movies(movie, film):
    still = check_drift(estimate_drift(movie), 160.0)
    moved = check_drift(estimate_drift(film(drift_nm=(240.0, -180.0))), 160.0)
    assert (still.severity, moved.severity) == (FINE, WARNING)
    assert moved.value == pytest.approx(300.0, abs=40.0)
    assert "(x -1" in moved.sentence
    assert "y +2" in moved.sentence


@pytest.mark.parametrize(
    ("length", "error", "severity"),
    [
        (99.0, 9.0, WARNING),
        (97.0, 9.0, FINE),
        (0.0, 79.0, FINE),
        (0.0, 81.0, UNKNOWN),
        (300.0, 81.0, WARNING),
    ],
)
def test_drift_counts_beyond_two_standard_errors(length, error, severity):
    found = check_drift(Drift((length, 0.0), error), 160.0)
    assert found.severity is severity
    assert found.limit == DRIFT_LIMIT_PX * 160.0
    assert f"{length:.0f} ± {error:.0f} nm" in found.sentence


def test_no_drift_is_known_of_a_short_movie():
    assert check_drift(None, 160.0).severity is UNKNOWN


def test_background(movie, film):
    even = check_background(measure(movie))
    uneven = check_background(measure(film(haze=5.0, haze_sigma_px=8.0)))
    assert (even.severity, uneven.severity) == (FINE, WARNING)
    assert even.value < UNEVEN_LIMIT < uneven.value


def test_edge(movie):
    assert check_edge(measure(movie)).severity is FINE
    rows, columns = np.mgrid[:32, :32]
    spot = 8.0 * np.ptp(movie.mean()) * np.exp(-(rows**2 + (columns - 14.0) ** 2) / 4.0)
    lit = replace(movie, data=movie.load() + spot.astype(np.float32))
    found = check_edge(measure(lit))
    assert found.severity is NOTE
    assert found.value > EDGE_LIMIT
    inside = replace(movie, data=movie.load() + np.roll(spot, 14, axis=0).astype(np.float32))
    assert check_edge(measure(inside)).severity is FINE


def test_psf_of_a_simulated_movie(movie):
    found = estimate_psf(movie)
    assert found.identified
    true = 422.4
    assert check_psf(true, found).severity is FINE
    narrow, wide = check_psf(0.6 * true, found), check_psf(1.5 * true, found)
    assert (narrow.severity, wide.severity) == (WARNING, WARNING)
    assert "too narrow" in narrow.sentence
    assert "too wide" in wide.sentence


@pytest.mark.parametrize(
    ("given", "severity"), [(456.0, FINE), (464.0, WARNING), (344.0, FINE), (336.0, WARNING)]
)
def test_psf_counts_beyond_two_standard_errors(given, severity):
    found = check_psf(given, PsfEstimate(400.0, 10.0, "movie"))
    assert found.severity is severity
    assert found.limit == PSF_LIMIT


def test_a_psf_that_the_movie_does_not_show_cannot_be_checked():
    found = check_psf(300.0, PsfEstimate(422.0, 105.5, "prior", "nothing blinks"))
    assert found.severity is UNKNOWN
    assert str(found) == "PSF: the given width of 300 nm cannot be checked: nothing blinks"


def test_saturation(movie):
    assert check_saturation(find_saturation(movie)).severity is FINE
    frames = movie.load()
    clipped = replace(movie, data=np.minimum(frames, np.quantile(frames, 0.99, method="lower")))
    found = check_saturation(find_saturation(clipped))
    assert found.severity is WARNING
    assert f"{clipped.load().max():g}" in found.sentence


@pytest.mark.parametrize(("n", "severity"), [(10, NOTE), (11, WARNING)])
def test_more_defects_than_a_camera_has(movie, n, severity):
    """1 % of 1024 pixels are 10.24."""
    known = replace(measure(movie), defects=tuple((x, 0) for x in range(n)))
    finding = check_pixels(known)
    assert finding.severity is severity
    assert finding.sentence.startswith(f"{n} of 1024 camera pixels stand alone")
    assert bool(finding.advice) == (severity is WARNING)


def test_field():
    whole, cleared = check_field(0.0), check_field(0.25, told=True)
    assert (whole.severity, whole.value, whole.told) == (FINE, 0.0, False)
    assert (cleared.severity, cleared.value, cleared.told) == (WARNING, 0.25, True)
    assert cleared.sentence.startswith("25% of the camera pixels")
    assert "--roi" in cleared.advice


def test_frames():
    whole, stopped = check_frames((), 60), check_frames((40, 41, 42), 60, told=True)
    assert (whole.severity, whole.value, whole.told) == (FINE, 0.0, False)
    assert (stopped.severity, stopped.value, stopped.told) == (WARNING, 0.05, True)
    assert stopped.sentence.startswith("3 of 60 frames hold one value only, the first is frame 40")
    assert "--frames" in stopped.advice
