"""The halo of a PSF in covariances and movies, and frames without it."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import Halo
from dlbi.inference.measurement.covariance_fit import (
    Curve,
    Tails,
    covariance_model,
    fit_covariance,
)
from dlbi.inference.measurement.halo import HaloEstimate, bared, estimate_halo
from dlbi.inference.measurement.pixel_covariance import BlinkingCovariance
from dlbi.inference.measurement.psf import estimate_psf
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import meos32
from dlbi.simulation.structures import draw

PIXEL_NM = 160.0
REACH, N_BLOCKS = 12, 12
SIGMA_PX, TAILS = 1.1, Tails(0.3, 2.8)


def covariance(noise, seed, *, tails=TAILS, offsets=0.0):
    """Covariances of a 60×60 field whose blocks have independent noise at each offset."""
    dy, dx = np.mgrid[: REACH + 1, -REACH : REACH + 1]
    n_pairs = ((60.0 - dy) * (60 - np.abs(dx))).astype(float)
    shape = covariance_model(dy.ravel(), dx.ravel(), SIGMA_PX, 0.0, tails)[:, 0].reshape(dy.shape)
    shape = 7.0 * (shape + offsets * (1.0 + (dy == 0) - (dx == 0)))
    scatter = np.random.default_rng(seed).normal(size=(N_BLOCKS, *dy.shape))
    return BlinkingCovariance(shape + 7.0 * noise * np.sqrt(3600 / n_pairs) * scatter, n_pairs)


@pytest.mark.parametrize("tails", [TAILS, Tails(0.1, 4.5), Tails(0.5, 2.0)])
def test_a_clean_covariance_tells_its_halo(tails):
    found = estimate_halo(covariance(1e-6, 0, tails=tails))
    assert found.share == pytest.approx(tails.share, abs=1e-3)
    assert found.sigma_px == pytest.approx(tails.sigma_px, rel=1e-2)
    assert found.stands_out
    assert found.tails == (found.share, found.sigma_px)


def test_constant_row_and_column_are_no_halo():
    plain, offset = (estimate_halo(covariance(1e-3, 0, offsets=c)) for c in (0.0, 0.2))
    np.testing.assert_allclose(offset, plain, rtol=1e-3, atol=1e-4)


FEW = 2.2010 / 1.9600
"""Student's 95 % limit of 11 degrees of freedom ÷ the normal one, by which errors are widened."""


def test_errors_are_the_scatter():
    """60 covariances with fresh noise: within a quarter, the variance within a half."""
    noisy = [covariance(0.004, seed) for seed in range(60)]
    found = [estimate_halo(one) for one in noisy]
    for value, error in (("share", "share_error"), ("sigma_px", "sigma_error_px")):
        scatter = np.std([getattr(f, value) for f in found])
        stated = np.mean([getattr(f, error) for f in found]) / FEW
        assert stated == pytest.approx(scatter, rel=0.25), value
    widths = [
        np.var(
            [
                fit_covariance(Curve.of(one, REACH, t)).sigma_px
                for one, t in zip(noisy, tails, strict=True)
            ]
        )
        for tails in ([f.tails for f in found], [TAILS] * len(found))
    ]
    stated = np.mean([f.core_variance for f in found]) / FEW**2
    assert stated == pytest.approx(widths[0] - widths[1], rel=0.5)


def test_z_has_unit_scatter_and_falls_with_noise():
    weak = Tails(0.03, 2.8)
    z, noisier = (
        np.array([estimate_halo(covariance(noise, seed, tails=weak)).z for seed in range(60)])
        for noise in (0.02, 0.04)
    )
    assert z.mean() == pytest.approx(2.0 * noisier.mean(), rel=0.3)
    # The scatter that z is measured by has an error of its own, a fifth of z.
    assert z.std() * FEW == pytest.approx(np.hypot(1.0, z.mean() / np.sqrt(22.0)), rel=0.3)


def test_noise_alone_shows_no_halo():
    found = [estimate_halo(covariance(0.01, seed, tails=Tails())) for seed in range(40)]
    assert not any(f is not None and f.stands_out for f in found)
    still = covariance(0.0, 0)
    assert estimate_halo(still._replace(blocks=0.0 * still.blocks)) is None


@pytest.mark.parametrize(
    ("share", "z", "counts"), [(0.06, 4.1, True), (0.04, 9.0, False), (0.3, 3.9, False)]
)
def test_a_halo_counts_if_it_is_strong_and_sure(share, z, counts):
    found = HaloEstimate(share, 0.01, 2.5, 0.1, z, 0.0)
    assert found.halo(100.0) == (Halo(share, 250.0) if counts else Halo())
    assert found.tails == (Tails(share, 2.5) if counts else Tails())


@cache
def filmed(share):
    scope = meos32().microscope
    scene = replace(meos32(), microscope=replace(scope, halo=Halo(share, 2.8 * PIXEL_NM)))
    structure = draw("mesh", PixelGrid((480, 480), PIXEL_NM / 8), 5)
    return simulate(structure, scene, rng=5).stack


def test_a_movie_tells_its_halo_and_the_width_beside_it():
    found = estimate_psf(filmed(0.35))
    assert found.identified
    assert found.halo.stands_out
    assert abs(found.halo.share - 0.35) < 3 * found.halo.share_error
    assert abs(found.halo.sigma_px - 2.8) < 3 * found.halo.sigma_error_px
    assert found.fwhm_nm == pytest.approx(meos32().microscope.psf.fwhm_nm, rel=0.05)


def test_a_movie_without_a_halo_keeps_its_width():
    found = estimate_psf(filmed(0.0))
    assert not found.halo.stands_out
    assert found.fwhm_nm == pytest.approx(meos32().microscope.psf.fwhm_nm, rel=0.03)


def test_smoothed_noise_is_no_halo():
    """Neighbours that share noise look like a narrow PSF with a wide halo."""
    frames = filmed(0.0).load()
    smooth = frames + 0.6 * (np.roll(frames, 1, 1) + np.roll(frames, 1, 2))
    assert estimate_psf(ImageStack(smooth, filmed(0.0).grid)).halo is None


def test_noise_that_is_smoothed_a_little_is_no_core():
    """It would be a PSF of half the width, and the true one its halo."""
    frames = gaussian_filter(filmed(0.35).load(), (0.0, 0.5, 0.5))
    found = estimate_psf(ImageStack(frames, filmed(0.35).grid))
    assert found.halo is None
    assert found.fwhm_nm > 0.9 * meos32().microscope.psf.fwhm_nm


@pytest.fixture(scope="module")
def light():
    """Light without noise, as a PSF without a halo shows it, and the stack with the halo."""
    halo = Halo(0.4, 2.5 * PIXEL_NM)
    frames = np.random.default_rng(2).gamma(0.3, 100.0, (12, 70, 52)).astype(np.float32)
    data = halo.around(frames, PIXEL_NM) + np.float32(20.0)
    return halo, frames, ImageStack(data, PixelGrid((70, 52), PIXEL_NM))


def test_bared_frames_fluctuate_like_light_without_the_halo(light):
    halo, frames, stack = light
    bare = bared(stack, stack.mean(), halo).load()
    expected = 0.6 * (frames - frames.mean(axis=0))
    np.testing.assert_allclose(bare - bare.mean(axis=0), expected, atol=2e-2)
    np.testing.assert_allclose(bare.mean(axis=0), stack.mean(), rtol=1e-4)


def test_a_window_of_bared_frames_is_that_of_the_whole(light):
    halo, _, stack = light
    bare = bared(stack, stack.mean(), halo)
    window = bare.select(slice(1, 11, 3), roi=(30, 20, 9, 7)).load()
    np.testing.assert_allclose(window, bare.load()[1:11:3, 20:27, 30:39], atol=5e-3)


def test_few_frames_are_bared_at_a_time(light, monkeypatch):
    """Whatever is asked for, so that memory does not grow with the movie."""
    halo, _, stack = light
    whole = bared(stack, stack.mean(), halo).load()
    seen, part_of = [], Halo.part_of

    def spy(self, frames, pixel_size_nm):
        seen.append(len(frames))
        return part_of(self, frames, pixel_size_nm)

    monkeypatch.setattr(Halo, "part_of", spy)
    monkeypatch.setattr("dlbi.inference.measurement.halo.FRAMES_AT_ONCE", 5)
    np.testing.assert_array_equal(bared(stack, stack.mean(), halo).load(), whole)
    assert max(seen) == 5
    assert sum(seen) == stack.n_frames


def test_frames_without_a_halo_stay_as_they_are(light):
    _, _, stack = light
    assert bared(stack, stack.mean(), Halo()) is stack
