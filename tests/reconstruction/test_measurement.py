from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.errors import DlbiWarning
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.inference.measurement.background import Background, estimate_background
from dlbi.inference.measurement.noise import NoiseModel
from dlbi.inference.measurement.psf import PRIOR_FWHM_NM, PsfEstimate
from dlbi.learning.observation import CHANNELS
from dlbi.reconstruction import measurement
from dlbi.reconstruction.binning import binned
from dlbi.reconstruction.measurement import (
    MARGIN_PX,
    Movie,
    deconvolve,
    measure,
    observed,
    optics_of,
    projection_of,
    tell_defects,
    tell_gaps,
    without_halo,
)

PSF = GaussianPSF(422.0)


@pytest.fixture
def small() -> Movie:
    """Frames 0 … 5 of 2×3 pixels, each with its own haze; noise variance 2 + 0.5 · level."""
    data = np.arange(36, dtype=np.float32).reshape(6, 2, 3)
    haze = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    trend = np.array([-3, -2, -1, 1, 2, 3], np.float32)
    return Movie(
        ImageStack(data, PixelGrid((2, 3), 160.0)),
        data.mean(axis=0),
        NoiseModel(2.0, 0.5, 0.1),
        Background(trend, haze),
        np.ones(6, np.float32),
    )


@pytest.fixture
def noise_only() -> ImageStack:
    data = np.random.default_rng(3).normal(100, 5, (60, 32, 32)).astype(np.float32)
    return ImageStack(data, PixelGrid((32, 32), 160.0))


def test_signal_and_noise_of_the_mean(small):
    # The mean of frames 0, 6, …, 30 is 15 in the first pixel.
    np.testing.assert_array_equal(small.signal, [[14, 14, 14], [14, 14, 14]])
    np.testing.assert_allclose(small.variance, 2.0 + 0.5 * (15 + np.arange(6).reshape(2, 3)))
    np.testing.assert_allclose(small.variance_of_mean, small.variance / 6)


def test_frames_of_a_region_have_no_background(small):
    frames = small.frames((slice(1, 2), slice(0, 2)))
    # Pixel values 3 and 4 of the first frame, less trend −3 and haze 4 and 5.
    np.testing.assert_array_equal(
        frames[:, 0, 0], 6 * np.arange(6) + 3 - 4 - small.background.trend
    )
    np.testing.assert_array_equal(
        frames[:, 0, 1], 6 * np.arange(6) + 4 - 5 - small.background.trend
    )


def test_frames_are_a_copy(small):
    before = small.stack.data.copy()
    small.frames((slice(0, 2), slice(0, 3)))
    np.testing.assert_array_equal(small.stack.data, before)


def test_a_movie_is_measured_on_all_its_frames():
    rng = np.random.default_rng(5)
    ramp = np.linspace(-20.0, 20.0, 100)[:, None, None]
    data = (300.0 + ramp + rng.normal(0.0, 6.0, (100, 40, 40))).astype(np.float32)
    found = measure(ImageStack(data, PixelGrid((40, 40), 160.0)))
    np.testing.assert_allclose(found.mean, data.mean(axis=0), rtol=1e-5)
    assert found.variance.mean() == pytest.approx(36.0, rel=0.05)
    # No structure: all is background, which rises by 40 counts.
    assert abs(found.signal.mean()) < 4 * 0.6 / 40 + 0.3
    assert found.background.trend[80] - found.background.trend[19] == pytest.approx(
        61 * 40 / 99, abs=1.0
    )


def test_late_frames_of_a_movie_that_fades_count_less(faded):
    movie = measure(faded)
    worth = float(np.sum(movie.fading**2))
    assert movie.fades
    assert worth > 1.5 * faded.n_frames
    assert movie.frames_worth == pytest.approx(worth, rel=1e-5)
    np.testing.assert_allclose(
        movie.variance_of_mean, movie.noise.variance(movie.mean) / worth, rtol=1e-5
    )
    assert movie.signal.sum() == pytest.approx(
        (faded.mean() - movie.background.haze).sum(), rel=0.05
    )
    plain = replace(movie, mean=faded.mean(), fading=np.ones(faded.n_frames, np.float32))
    assert not plain.fades
    psf = GaussianPSF(422.0)
    assert movie.light_z(psf).max() > 1.1 * plain.light_z(psf).max()
    coarse = binned(movie, 2, Halo())
    np.testing.assert_array_equal(coarse.fading, movie.fading)
    darkest = estimate_background(coarse.stack, coarse.mean, coarse.variance_of_mean)
    np.testing.assert_array_equal(coarse.background.haze, darkest.haze)


def test_the_network_is_told_the_noise_of_a_mean_whose_late_frames_count_less(faded):
    movie = measure(faded)
    projection = projection_of(faded, GaussianPSF(422.0), 8)
    seen = observed(movie, deconvolve(movie, projection, n_iterations=20), projection)
    noise, frames = (seen.statistics[CHANNELS.index(n)] for n in ("noise_of_mean", "few_frames"))
    np.testing.assert_allclose(
        noise, 10.0 * np.sqrt(movie.variance_of_mean) / seen.scale, rtol=1e-4
    )
    np.testing.assert_allclose(frames, 10.0 / np.sqrt(faded.n_frames), rtol=1e-5)


def test_the_psf_is_read_off_a_movie_that_shows_it(movie):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        psf, halo, record = optics_of(movie.stack)
    assert record["origin"] == "movie"
    assert record["fwhm_nm"] == psf.fwhm_nm
    assert halo == Halo()
    truth = movie.scene.microscope.psf.fwhm_nm
    assert abs(psf.fwhm_nm - truth) < 3 * record["standard_error_nm"]


def test_an_unidentified_psf_is_told(noise_only):
    with pytest.warns(DlbiWarning, match=r"422 ± 106 nm from prior.*--psf-fwhm"):
        psf, halo, record = optics_of(noise_only)
    assert psf.fwhm_nm == PRIOR_FWHM_NM
    assert halo == Halo()
    expected = {"fwhm_nm": PRIOR_FWHM_NM, "standard_error_nm": 105.5, "origin": "prior"}
    assert record == expected


@pytest.mark.parametrize(("error_nm", "told"), [(29.0, False), (31.0, True)])
def test_a_wide_interval_of_the_psf_is_told(noise_only, monkeypatch, error_nm, told):
    """Beyond ± 15 %, that is 1.96 standard errors of 7.65 %."""
    found = PsfEstimate(400.0, error_nm, "movie and prior", "its blinking is faint")
    monkeypatch.setattr(measurement, "estimate_psf", lambda stack: found)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        psf, _, record = optics_of(noise_only)
    assert psf.fwhm_nm == 400.0
    assert record["origin"] == "movie and prior"
    assert [str(w.message).count("from movie and prior") for w in caught] == [1] * told


def test_the_projection_sees_a_margin_around_the_field(movie):
    projection = projection_of(movie.stack, PSF, 4)
    assert projection.fine.shape == (4 * (32 + 2 * MARGIN_PX),) * 2
    assert projection.fine.origin_nm == (-MARGIN_PX * 160.0,) * 2
    assert projection.camera == movie.stack.grid
    assert projection.psf == PSF


def test_deconvolution_explains_the_mean_without_its_haze(movie):
    found = measure(movie.stack)
    projection = projection_of(movie.stack, PSF, 8)
    density = deconvolve(found, projection)
    received = projection.forward(density)
    assert received.sum() == pytest.approx(np.maximum(found.signal, 0).sum(), rel=0.01)
    assert np.corrcoef(received.ravel(), found.signal.ravel())[0, 1] > 0.99


def test_deconvolution_starts_from_its_guide(movie):
    found = measure(movie.stack)
    projection = projection_of(movie.stack, PSF, 8)
    start = np.zeros(projection.fine.shape, np.float32)
    start[:, ::4] = 1.0  # one column in four, far below the PSF
    steps = []
    guided, flat = (
        deconvolve(
            found, projection, start=s, n_iterations=3, progress=lambda *step: steps.append(step)
        )
        for s in (start, None)
    )
    assert steps == 2 * [(1, 3), (2, 3), (3, 3)]
    between = start == 0
    assert guided[between].sum() < 0.05 * guided.sum()
    assert flat[between].sum() == pytest.approx(0.75 * flat.sum(), rel=0.01)


def test_the_network_sees_the_movie_and_its_deconvolution(movie):
    found = measure(movie.stack)
    projection = projection_of(movie.stack, PSF, 8)
    density = deconvolve(found, projection)
    seen = observed(found, density, projection)
    assert seen.statistics.shape == (len(CHANNELS), 32, 32)
    assert seen.summary["n_frames"] == 120
    m = 8 * MARGIN_PX
    inside = density[m:-m, m:-m]
    np.testing.assert_allclose(seen.guide**2 * (seen.scale / 64), inside, rtol=1e-4, atol=1e-6)
    signal = seen.statistics[CHANNELS.index("signal")]
    np.testing.assert_allclose(signal * seen.scale, found.signal, rtol=1e-4, atol=1e-3)


def test_a_movie_is_measured_without_its_defective_pixels(movie):
    frames = movie.stack.load()
    frames[:, 5, 7] = 6e4
    working, broken = movie.stack, replace(movie.stack, data=frames)
    clean, found = measure(working), measure(broken)
    assert (clean.defects, found.defects) == ((), ((7, 5),))
    assert clean.stack is working
    np.testing.assert_allclose(found.mean, found.stack.load().mean(axis=0), rtol=1e-5)
    assert found.mean.max() < 1.1 * clean.mean.max()
    assert found.noise.variance(clean.mean).mean() == pytest.approx(clean.variance.mean(), rel=0.02)
    assert measure(broken, defects=()).mean.max() == 6e4


@pytest.mark.parametrize(
    ("defects", "says"),
    [
        (((3, 4),), r"^1 camera pixel stands alone, hot or dead: \(3, 4\) \(x, y\)"),
        (((3, 4), (5, 6)), r"^2 camera pixels stand alone, hot or dead: \(3, 4\), \(5, 6\) \(x"),
        (tuple((n, 0) for n in range(7)), r"^7 camera .*, \(4, 0\) and 2 more \(x, y\)"),
    ],
)
def test_defects_are_told(defects, says):
    with pytest.warns(DlbiWarning, match=says):
        tell_defects(defects)


def test_nothing_is_told_of_a_camera_that_works(recwarn):
    tell_defects(())
    assert not recwarn.list


def test_what_no_camera_recorded_is_told(noise_only, recwarn):
    noise = measure(noise_only).noise
    tell_gaps(noise_only, noise)
    assert not len(recwarn)
    cleared, stopped = np.array(noise_only.data), np.array(noise_only.data)
    cleared[:, :, 24:] = stopped[40:] = 0.0
    with pytest.warns(DlbiWarning, match="25% of the camera pixels never change.*--roi"):
        tell_gaps(ImageStack(cleared, noise_only.grid), noise)
    with pytest.warns(DlbiWarning, match=r"20 of 60 frames hold one value only \(.* frame 40\)"):
        tell_gaps(ImageStack(stopped, noise_only.grid), noise)


@pytest.mark.parametrize(("fwhm_nm", "plausible"), [(0.42, False), (422.0, True), (4200.0, False)])
def test_a_given_psf_that_no_microscope_has_is_told(noise_only, fwhm_nm, plausible, recwarn):
    assert optics_of(noise_only, GaussianPSF(fwhm_nm), Halo()).psf == GaussianPSF(fwhm_nm)
    told = [str(w.message) for w in recwarn]
    assert len(told) == (not plausible)
    assert plausible or "outside the plausible" in told[0]
    recwarn.clear()
    optics_of(noise_only, GaussianPSF(fwhm_nm), Halo(), {"origin": "scope"})
    assert not len(recwarn)  # told before, where it was measured


def test_the_halo_of_the_mean_is_background(movie):
    """What is left of the signal is the light of the core; noise and mean stay as they are."""
    found, halo = measure(movie.stack), Halo(0.3, 400.0)
    frames = halo.around(movie.stack.load(), 160.0)
    haloed = measure(replace(movie.stack, data=frames), noise=found.noise)
    bare = without_halo(haloed, halo)
    core = measure(replace(movie.stack, data=np.float32(0.7) * movie.stack.load()))
    np.testing.assert_allclose(bare.signal, core.signal, atol=0.02 * core.signal.max())
    np.testing.assert_array_equal(bare.mean, haloed.mean)
    np.testing.assert_array_equal(bare.variance, haloed.variance)
    assert without_halo(haloed, Halo()) is haloed


@pytest.fixture
def smeared() -> Movie:
    """Noise of 25 counts² of which an eighth arrives one pixel late, measured."""
    noise = np.random.default_rng(3).normal(100.0, 5.0, (60, 128, 128))
    frames = 0.875 * noise + 0.125 * np.roll(noise, 1, axis=2)
    return measure(ImageStack(frames.astype(np.float32), PixelGrid((128, 128), 160.0)))


def test_light_is_as_significant_as_noise_along_rows_lets_it_be(smeared):
    """z of noise has unit variance; taken for white it would have 1.23."""
    steady = replace(
        smeared, background=replace(smeared.background, haze=np.full_like(smeared.mean, 100.0))
    )
    inner = np.s_[8:-8, 8:-8]
    z = steady.light_z(PSF)[inner]
    # About 112² ÷ 4πσ² independent values.
    assert z.var() == pytest.approx(1.0, abs=0.13)
    white = replace(steady, noise=steady.noise._replace(row_correlation=0.0))
    assert white.light_z(PSF)[inner].var() == pytest.approx(1.23 * z.var(), rel=0.04)


def test_white_noise_hides_light_as_its_variance_says(small):
    np.testing.assert_array_equal(small.variance_under(PSF), small.variance)


def test_the_network_does_not_take_noise_along_rows_for_blinking(smeared):
    projection = projection_of(smeared.stack, PSF, 8)
    density = np.full(projection.fine.shape, 1e-3, np.float32)
    white = replace(smeared, noise=smeared.noise._replace(row_correlation=0.0))
    x, y = CHANNELS.index("along_x"), CHANNELS.index("along_y")
    seen, misled = (observed(m, density, projection).statistics for m in (smeared, white))
    assert abs(seen[x].mean() - seen[y].mean()) < 0.1 * abs(misled[x].mean() - misled[y].mean())
    others = [k for k in range(len(CHANNELS)) if k != x]
    np.testing.assert_array_equal(seen[others], misled[others])
