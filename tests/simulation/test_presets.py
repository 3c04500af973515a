import dataclasses
import json

import numpy as np
import pytest
from pydantic import TypeAdapter

from dlbi.core.errors import InputError
from dlbi.core.optics import GaussianPSF
from dlbi.simulation.presets import (
    MOST_RARE_PER_PX,
    PRESETS,
    camera,
    custom,
    meos32,
    paper,
    peak_share,
    preset,
    rare,
)
from dlbi.simulation.scene import Scene

SEEDS = range(60)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    scene = preset(name, 5)
    text = json.dumps(dataclasses.asdict(scene), allow_nan=False)
    assert TypeAdapter(Scene).validate_json(text) == scene


@pytest.mark.parametrize("name", PRESETS)
def test_seeds_repeat_presets(name):
    assert preset(name, 5) == preset(name, 5)
    assert preset(name, np.random.default_rng(5)) == preset(name, 5)


def test_unknown_preset_lists_the_known():
    with pytest.raises(InputError, match=r"meos3\.2, paper"):
        preset("meos4")


def test_paper_follows_the_calibrated_figures():
    scenes = [paper(seed) for seed in SEEDS]
    for scene in scenes:
        scope, most = scene.microscope, scene.labelling.max_per_pixel
        assert scope.blinking.table == pytest.approx((0.21, 0.79, 0.305, 0.695, 0.0))
        assert most in range(8, 24)
        assert scene.labelling.step == 0.25
        assert scope.photons.mean == pytest.approx(1750 / most * 0.6 / 64)
        limits = scope.fwhm.low_nm, scope.fwhm.median_nm, scope.fwhm.high_nm
        np.testing.assert_allclose(
            np.divide(limits, 0.65 * 160), [3.96, np.exp(1.4), 4.16], rtol=1e-12
        )
        n1 = scope.camera.offset_adu / (3 * 15.5) - 0.05
        n2 = scope.camera.read_noise_e / (np.sqrt(3) * 15.5)
        assert 0.3 <= n1 <= 1
        assert 0.3 <= n2 <= 1
        assert scope.camera.bits == 8
        assert not scope.camera.shot_noise
        assert 0.2 <= scene.background_factor <= 0.7
    assert len({s.labelling.max_per_pixel for s in scenes}) > 8
    assert np.ptp([s.background_factor for s in scenes]) > 0.4


def test_paper_bleaches_on_request():
    for seed in SEEDS:
        assert 0.01 <= paper(seed, bleaching=True).microscope.blinking.dark_to_bleached <= 0.02


def test_widths_and_densities_follow_the_pixel_size():
    for make in (paper, camera, meos32, rare):
        coarse, fine = make(3), make(3, pixel_size_nm=80.0)
        assert fine.microscope.fwhm.median_nm == pytest.approx(coarse.microscope.fwhm.median_nm / 2)
    per_um2 = [camera(3, pixel_size_nm=p).labelling.per_um2 for p in (160.0, 80.0)]
    assert per_um2[1] == pytest.approx(4 * per_um2[0])


def test_camera_stays_in_its_ranges():
    scenes = [camera(seed) for seed in SEEDS]
    chains = [s.microscope.blinking for s in scenes]
    assert all(0.25 <= c.emitting_to_dark <= 0.95 for c in chains)
    assert all(10**-2.3 <= c.dark_to_emitting <= 10**-0.4 for c in chains)
    assert all(1.7 * 160 <= s.microscope.fwhm.median_nm <= 3.4 * 160 for s in scenes)
    emitters = [s.labelling.per_um2 * 9.6**2 for s in scenes]
    assert 10**2.9 <= min(emitters) < 2000 < 8000 < max(emitters) <= 10**4.2
    kinds = {(s.microscope.camera.shot_noise, s.microscope.camera.em_gain > 1) for s in scenes}
    assert kinds == {(False, False), (True, False), (True, True)}
    for name, share in (("haze", 2 / 3), ("non_blinking", 1 / 3), ("out_of_focus", 1 / 2)):
        used = sum(getattr(s, name) > 0 for s in scenes)
        assert abs(used - 60 * share) < 4 * np.sqrt(60 * share * (1 - share))


def test_camera_aims_at_the_stated_signal_to_noise():
    """Solving back: the bright signal over the noise of the camera under it is 0.6 … 20."""
    for seed in SEEDS:
        scene = camera(seed)
        scope = scene.microscope
        per_px = scene.labelling.per_um2 * 0.16**2
        bright = 3 * per_px * scope.blinking.steady_on_fraction * scope.photons.mean
        light = np.array([bright * (1 + scene.background_factor)])
        noise = np.sqrt(scope.camera.variance_adu(light)) / scope.camera.adu_per_photon
        snr = bright / noise[0]
        assert snr < 20.001
        assert snr > 0.599 or scope.photons.mean == 3000.0


def test_rare_emissions_are_few_and_bright_under_any_camera():
    scenes = [rare(seed) for seed in range(200)]
    at_once, times, peaks = [], [], []
    for scene in scenes:
        scope, per_px = scene.microscope, scene.labelling.per_um2 * 0.16**2
        assert per_px <= MOST_RARE_PER_PX + 1e-9
        if per_px < MOST_RARE_PER_PX - 1e-9:
            at_once.append(per_px * scope.blinking.steady_on_fraction)
        times.append(200 * scope.blinking.dark_to_emitting)
        peak = scope.photons.mean * peak_share(scope.fwhm.median_nm / 160.0)
        light = np.array([peak * (1 + scene.background_factor)])
        peaks.append(
            peak * scope.camera.adu_per_photon / np.sqrt(scope.camera.variance_adu(light)[0])
        )
    for found, low, high in ((at_once, 0.006, 0.12), (times, 0.2, 6.325), (peaks, 1.3, 14.0)):
        assert low * 0.999 <= min(found) < 1.5 * low
        assert high / 1.5 < max(found) <= 1.001 * high
    kinds = {(s.microscope.camera.shot_noise, s.microscope.camera.em_gain > 1) for s in scenes}
    assert kinds == {(False, False), (True, False), (True, True)}


def test_camera_kind_can_be_chosen():
    assert all(camera(s, kind="emccd").microscope.camera.em_gain > 1 for s in range(5))
    with pytest.raises(InputError, match="camera kind"):
        camera(1, kind="ccd")


def test_peak_share_is_the_central_pixel():
    psf = GaussianPSF(422.0)
    fine = np.linspace(-0.5, 0.5, 2001)
    line = np.exp(-0.5 * (fine / psf.sigma_px(160.0)) ** 2)
    share = np.trapezoid(line, fine) / (np.sqrt(2 * np.pi) * psf.sigma_px(160.0))
    assert peak_share(422.0 / 160.0) == pytest.approx(share**2, rel=1e-6)


def test_custom_sets_the_single_emission_peak():
    scene = custom(peak_to_noise=0.7, noise=12.0, fwhm_nm=400.0)
    peak = scene.microscope.photons.mean * peak_share(400.0 / 160.0)
    assert peak / scene.microscope.camera.read_noise_e == pytest.approx(0.7)
    assert custom(photons=55.0).microscope.photons.mean == 55.0
