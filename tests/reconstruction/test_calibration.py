"""Calibrations of simulated movies hold the truth, scale with the counts and know their limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.microscope import Camera
from dlbi.core.optics import Halo
from dlbi.inference.kinetics import posterior as blinking_posterior
from dlbi.inference.measurement.psf import PsfEstimate
from dlbi.reconstruction import calibration
from dlbi.reconstruction.calibration import calibrate
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom, meos32
from dlbi.simulation.structures import draw

SCMOS = Camera(offset_adu=100.0, adu_per_electron=2.0, read_noise_e=1.6, bits=16)
SIDE = 48

FLUOROPHORES = (
    "emitting_to_emitting", "emitting_to_dark", "dark_to_emitting", "dark_to_dark",
    "dark_to_bleached", "memory", "bleached_share", "flux", "light_cv", "light", "n_emitters",
    "psf_fwhm_nm",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def short_chains():
    patch = pytest.MonkeyPatch()
    patch.setattr(blinking_posterior, "N_STEPS", 600)
    patch.setattr(blinking_posterior, "N_KEPT", 300)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def slow():
    """Emission that lasts: λ = 0.55, 1 % of dark fluorophores bleach in a frame."""
    structure = draw("mesh", PixelGrid((SIDE * 4,) * 2, 40.0), np.random.default_rng(3))
    scene = custom(
        n_emitters=2500, photons=60.0, camera=SCMOS, fwhm_nm=380.0, emitting_to_dark=0.4,
        dark_to_emitting=0.05, bleaching=0.01, brightness_cv=0.3,
    )  # fmt: skip
    return simulate(structure, scene, n_frames=200, upscaling=4, rng=3)


@pytest.fixture(scope="module")
def calibrated(slow):
    return calibrate(slow.stack, rng=1)


@pytest.fixture(scope="module")
def noise():
    counts = np.random.default_rng(3).normal(100.0, 5.0, (80, 40, 40))
    return ImageStack(counts.astype(np.float32), PixelGrid((40, 40), 160.0))


def test_the_intervals_hold_the_truth(slow, calibrated):
    """Seeded; each interval is widened by half of itself, so that 1 in 20 is not expected out."""
    light = float((slow.emitters.photons * slow.emitters.frames_on).sum()) / 200 / SIDE**2
    truth = {
        "psf_fwhm_nm": 380.0,
        "gain": 2.0,
        "noise_variance": (2.0 * 1.6) ** 2 + 1 / 12 + 2.0 * (calibrated.level - 100.0),
        "psf_halo": 0.0,
        "noise_correlation": 0.0,
        "background": calibrated.level - light,
        "light": light,
        "emitting_to_emitting": 0.6,
        "emitting_to_dark": 0.4,
        "dark_to_emitting": 0.05,
        "dark_to_dark": 0.94,
        "dark_to_bleached": 0.01,
        "memory": 0.55,
        "bleached_share": float((slow.emitters.bleach_frame < 200).mean()),
        "flux": 120.0,
        "light_cv": 0.3,
        "n_emitters": float(slow.emitters.x_nm.size),
    }
    for name, estimate in calibrated.estimates():
        if name == "psf_halo_sigma_nm":  # of no light
            continue
        margin = 0.5 * (estimate.high - estimate.low)
        assert estimate.low - margin <= truth[name] <= estimate.high + margin, name


def test_what_this_movie_tells(calibrated):
    for name in ("psf_fwhm_nm", "gain", "noise_variance", "memory", "dark_to_bleached"):
        assert getattr(calibrated, name).identified, name
    assert not calibrated.n_emitters.identified
    assert calibrated.memory.high - calibrated.memory.low < 0.2
    assert calibrated.dark_to_bleached.low > 0.002
    assert calibrated.gain.value == pytest.approx(2.0, rel=0.08)
    assert calibrated.emitting_to_dark.value == pytest.approx(0.4, abs=0.12)


def test_counts_scale_what_is_in_counts_and_nothing_else(slow, calibrated):
    doubled = calibrate(ImageStack(2.0 * slow.data.astype(np.float32), slow.grid), rng=1)
    powers = {"flux": 1, "gain": 1, "light": 1, "background": 1, "noise_variance": 2}
    assert doubled.level == pytest.approx(2.0 * calibrated.level)
    for name, estimate in doubled.estimates():
        other = getattr(calibrated, name)
        assert estimate.origin == other.origin, name
        scale = 2.0 ** powers.get(name, 0)
        width = other.high - other.low
        assert estimate.value == pytest.approx(scale * other.value, abs=0.06 * scale * width), name


def test_pixels_scale_the_psf_only(slow, calibrated):
    finer = calibrate(ImageStack(slow.data, PixelGrid((SIDE, SIDE), 80.0)), rng=1)
    # The prior is in nanometres and pulls by less than a tenth of the interval.
    margin = 0.1 * (finer.psf_fwhm_nm.high - finer.psf_fwhm_nm.low)
    assert finer.psf_fwhm_nm.value == pytest.approx(0.5 * calibrated.psf_fwhm_nm.value, abs=margin)
    assert finer.memory.value == pytest.approx(calibrated.memory.value, abs=0.02)
    assert finer.pixel_size_nm == 80.0


def test_the_seed_decides(slow):
    part = slow.select(slice(0, 60), (0, 0, 24, 24))
    first, again, other = (calibrate(part, rng=seed) for seed in (1, 1, 2))
    assert first == again
    assert other != first
    assert other.psf_fwhm_nm == first.psf_fwhm_nm
    assert other.memory.value == pytest.approx(first.memory.value, abs=0.05)


def test_noise_tells_nothing_of_fluorophores(noise):
    found = calibrate(noise, rng=1)
    for name in FLUOROPHORES:
        assert not getattr(found, name).identified, name
    assert not found.gain.identified
    assert found.noise_variance.low < 25.0 < found.noise_variance.high
    assert found.background.low < 100.0 < found.background.high
    assert found.emitting_to_dark.origin == "prior"
    assert found.emitting_to_dark.high - found.emitting_to_dark.low > 0.9
    others = ("gain", "psf_halo", "psf_halo_sigma_nm")
    assert str(found).count("not identified") == len(FLUOROPHORES) + len(others)


def test_steady_light_shows_the_camera_but_no_blinking():
    y, x = np.mgrid[:40, :40]
    image = 300.0 * np.exp(-((y - 20) ** 2 + (x - 18) ** 2) / 60) + 50.0
    counts = np.random.default_rng(1).poisson(image, (120, 40, 40)).astype(np.float32)
    found = calibrate(ImageStack(counts, PixelGrid((40, 40), 160.0)), rng=1)
    assert found.gain.identified
    assert found.gain.low - 0.05 < 1.0 < found.gain.high + 0.05
    assert found.read_variance == pytest.approx(0.0, abs=8.0)
    for name in ("memory", "flux", "emitting_to_dark", "psf_fwhm_nm", "n_emitters"):
        assert found.__getattribute__(name).origin == "prior", name


def test_a_halo_is_found_with_its_interval():
    scope = meos32().microscope
    scene = replace(meos32(), microscope=replace(scope, halo=Halo(0.35, 450.0)))
    movie = simulate(draw("mesh", PixelGrid((480, 480), 20.0), 5), scene, rng=5)
    found = calibrate(movie.stack, rng=1)
    assert found.psf_halo.identified
    assert found.psf_halo_sigma_nm.identified
    assert found.psf_halo.low < 0.35 < found.psf_halo.high
    assert found.psf_halo_sigma_nm.low < 450.0 < found.psf_halo_sigma_nm.high
    assert found.psf_fwhm_nm.value == pytest.approx(scope.psf.fwhm_nm, rel=0.05)
    # Light and background are those of the core.
    light = float((movie.emitters.photons * movie.emitters.frames_on).sum()) / 200 / 60**2
    assert found.light.value == pytest.approx(0.65 * light, rel=0.2)


@pytest.mark.parametrize(
    ("source", "origin"), [("movie", "movie"), ("movie and prior", "bounds"), ("prior", "prior")]
)
def test_the_interval_of_the_psf_is_log_normal(slow, monkeypatch, source, origin):
    found = PsfEstimate(380.0, 38.0, source)
    monkeypatch.setattr(calibration, "estimate_psf", lambda stack: found)
    psf = calibrate(slow.select(slice(0, 30)), rng=1).psf_fwhm_nm
    assert psf.origin == origin
    assert psf.value == 380.0
    np.testing.assert_allclose([psf.low, psf.high], 380.0 * np.exp([-0.196, 0.196]), rtol=1e-4)


def test_progress_reaches_its_end(slow):
    seen = {}
    calibrate(slow.select(slice(0, 30)), rng=1, progress=lambda s, n, m: seen.update({s: (n, m)}))
    assert seen["deconvolution"] == (calibration.RL_ITERATIONS,) * 2


@pytest.mark.parametrize(
    ("shape", "says"), [((23, 20, 20), "got 23 of 20×20"), ((30, 11, 20), "got 30 of 20×11")]
)
def test_too_little_is_refused(shape, says):
    with pytest.raises(ShapeError, match=says):
        calibrate(ImageStack(np.zeros(shape, np.float32), PixelGrid(shape[1:], 160.0)))


@pytest.mark.parametrize("value", [0.0, 700.0])
def test_frames_without_noise_are_refused(value):
    stack = ImageStack(np.full((30, 20, 20), value, np.float32), PixelGrid((20, 20), 160.0))
    with pytest.raises(InputError, match="hold no noise"):
        calibrate(stack)


def test_values_that_are_not_finite_are_refused(noise):
    counts = noise.data.copy()
    counts[3, 4, 5] = np.nan
    with pytest.raises(InputError, match="NaN"):
        calibrate(ImageStack(counts, noise.grid))


def test_a_hot_pixel_is_told_and_does_not_count(slow, calibrated):
    frames = slow.stack.load()
    frames[:, 20, 11] = 6e4
    with pytest.warns(DlbiWarning, match=r"stands alone.*\(11, 20\)"):
        found = calibrate(replace(slow.stack, data=frames), rng=1)
    for name in ("psf_fwhm_nm", "gain", "noise_variance", "flux", "dark_to_emitting"):
        clean = getattr(calibrated, name)
        assert clean.low < getattr(found, name).value < clean.high
    assert found.level == pytest.approx(calibrated.level, rel=1e-3)
