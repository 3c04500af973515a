import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.microscope import Camera, Microscope
from dlbi.core.optics import FwhmLaw
from dlbi.core.photophysics import BlinkingChain, PhotonLaw

N = 400_000

CAMERAS = {
    "shot noise only": Camera(),
    "sCMOS": Camera(
        offset_adu=100, adu_per_electron=0.46, quantum_efficiency=0.7, read_noise_e=1.6
    ),
    "EMCCD": Camera(
        offset_adu=400,
        adu_per_electron=0.02,
        quantum_efficiency=0.9,
        read_noise_e=60,
        em_gain=150,
    ),
    "EMCCD that smears": Camera(
        offset_adu=400, adu_per_electron=0.02, read_noise_e=60, em_gain=150, smear=0.3
    ),
    "Gaussian, as in the paper": Camera(offset_adu=5, read_noise_e=3.0, shot_noise=False),
    "Gaussian with gain": Camera(read_noise_e=3.0, em_gain=2.0, shot_noise=False),
}


@pytest.mark.parametrize("photons", [0.0, 0.8, 40.0])
@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())
def test_exposures_have_the_stated_mean_and_variance(camera, photons):
    draws = camera.expose(np.full(N, photons), np.random.default_rng(7)).astype(np.float64)
    expected = camera.expected_adu(np.array([photons]))[0]
    variance = camera.variance_adu(np.array([photons]))[0]
    if variance == 0.0:
        assert (draws == expected).all()
        return
    deviation2 = (draws - expected) ** 2
    assert abs(draws.mean() - expected) < 4.5 * np.sqrt(variance / N)
    # The sample's own fourth moment gives the standard error of the variance.
    assert abs(deviation2.mean() - variance) < 4.5 * deviation2.std() / np.sqrt(N)


def test_em_register_doubles_the_shot_noise_variance():
    plain, em = Camera(), Camera(em_gain=300.0)
    photons = np.array([25.0])
    assert em.variance_adu(photons) / em.adu_per_photon**2 == pytest.approx(
        2.0 * plain.variance_adu(photons)
    )


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS.keys())
def test_to_photons_undoes_expected_adu(camera):
    photons = np.linspace(0.0, 500.0, 7)
    np.testing.assert_allclose(camera.to_photons(camera.expected_adu(photons)), photons, atol=1e-9)


def test_bits_give_whole_numbers_that_saturate_at_both_ends():
    camera = Camera(offset_adu=3.0, read_noise_e=20.0, shot_noise=False, bits=8)
    counts = camera.expose(np.linspace(0.0, 300.0, 20_000), np.random.default_rng(3))
    assert counts.min() == 0.0
    assert counts.max() == 255.0
    np.testing.assert_array_equal(counts, np.rint(counts))


def test_without_noise_the_exposure_is_the_expectation():
    camera = Camera(offset_adu=10.0, adu_per_electron=2.0, quantum_efficiency=0.5, shot_noise=False)
    photons = np.array([[0.0, 1.5], [7.25, 3.0]])
    counts = camera.expose(photons, np.random.default_rng(0))
    np.testing.assert_array_equal(counts, 10.0 + photons)
    assert counts.dtype == np.float32


def test_microscope_psf_has_the_median_width():
    microscope = Microscope(
        160.0, 0.05, FwhmLaw(422.0, 0.1), BlinkingChain(0.8, 0.3), PhotonLaw(100), Camera()
    )
    assert microscope.psf.fwhm_nm == 422.0


def test_smear_moves_light_along_rows_and_keeps_its_place_and_sum():
    photons = np.zeros((5, 7))
    photons[2, 3] = 1000.0
    counts = Camera(shot_noise=False, smear=0.3).expose(photons, np.random.default_rng(1))
    np.testing.assert_allclose(counts[2], [0, 0, 150, 700, 150, 0, 0], rtol=1e-6)
    assert counts[[0, 1, 3, 4]].sum() == 0.0


def test_smeared_shot_noise_is_correlated_along_rows_only():
    camera = Camera(smear=0.2)
    counts = camera.expose(np.full((2000, 200), 50.0), np.random.default_rng(5)) - 50.0
    beside, below = (counts[:, 1:] * counts[:, :-1]).mean(), (counts[1:] * counts[:-1]).mean()
    # 2 · 0.8 · 0.1 of 50; the standard error is about 50 ÷ √400 000.
    assert beside == pytest.approx(8.0, abs=0.35)
    assert abs(below) < 0.35


@pytest.mark.parametrize("smear", [-0.1, 0.7, float("nan")])
def test_smear_that_cannot_be(smear):
    with pytest.raises(InputError, match="smear must lie within 0"):
        Camera(smear=smear)
