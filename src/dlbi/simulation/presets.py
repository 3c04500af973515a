"""Named scenes: the paper's random series, random real cameras, and fixed experiments."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Literal, Protocol, get_args

import numpy as np

from dlbi.core.errors import InputError
from dlbi.core.microscope import Camera, Microscope
from dlbi.core.optics import FWHM_PER_SIGMA, FwhmLaw, integrated_profile
from dlbi.core.photophysics import BlinkingChain, PhotonLaw
from dlbi.core.rng import RngLike, as_generator
from dlbi.simulation.scene import Labelling, Scene

PIXEL_SIZE_NM = 160.0
"""Camera pixel of the paper's actin movies."""
PSF_FWHM_PX = 0.65 * float(np.exp(1.4))
"""Median FWHM of the calibrated mEos3.2 table, 2.64 camera pixels."""
EMITTING_TO_DARK = 0.79
DARK_TO_EMITTING = 0.305
"""Calibrated mEos3.2 table: [P1..P5] = [.21, .79, .305, .695 − P5, P5]."""

MOST_RARE_PER_PX = 30.0
"""Fluorophores per camera pixel above which `rare` has no more: they would emit ever less often."""

CameraKind = Literal["gaussian", "scmos", "emccd"]


class Preset(Protocol):
    """A named scene; the random ones draw from `rng`."""

    def __call__(self, rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
        """The scene on camera pixels of the given size."""


def paper(
    rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM, bleaching: bool = False
) -> Scene:
    """A random series as the authors simulate them for training (paper 2.1, mEos3.2).

    Parameters
    ----------
    rng : int, Generator or None
    pixel_size_nm : float
        Camera pixel; the PSF keeps its width in pixels.
    bleaching : bool
        Let 1–2 % of the dark fluorophores bleach in each frame.

    Notes
    -----
    With MD = 8 … 23 fluorophores in the densest fine pixel, an emission has the sum
    1750 · 0.6 / MD on the fine canvas; binning averages, so the camera gets 1/64 of it. Three
    noise additions N((0.05 + n₁) 15.5, n₂ 15.5) act as one of thrice the mean and √3 times the
    deviation. The paper does not state the spread of the log-normal brightness; 10 % is taken.
    """
    rng = as_generator(rng)
    density = int(rng.integers(8, 24))
    n1, n2 = rng.uniform(0.3, 1.0, 2)
    microscope = Microscope(
        pixel_size_nm=pixel_size_nm,
        frame_interval_s=0.05,
        fwhm=_calibrated_fwhm(pixel_size_nm),
        blinking=BlinkingChain(
            EMITTING_TO_DARK,
            DARK_TO_EMITTING,
            float(rng.uniform(0.01, 0.02)) if bleaching else 0.0,
        ),
        photons=PhotonLaw(mean=1750 * 0.6 / density / 64, cv=0.1),
        camera=Camera(
            offset_adu=float(3 * (0.05 + n1) * 15.5),
            read_noise_e=float(np.sqrt(3) * n2 * 15.5),
            shot_noise=False,
            bits=8,
        ),
    )
    return Scene(
        microscope,
        Labelling(max_per_pixel=float(density), step=0.25),
        background_factor=float(rng.uniform(0.2, 0.7)),
    )


def meos32(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """Fine structures labelled with mEos3.2 on an EMCCD, with haze; nothing is drawn.

    Blinking follows the calibrated table. Emitters per area follow the paper's Actin2 movie, and
    so do about, in the bright parts, signal ÷ noise (4–5) and the share of blinking in the
    variance (60 %).

    Parameters
    ----------
    rng : int, Generator or None
        Not used; presets share one signature.
    pixel_size_nm : float
        Camera pixel in the sample; the PSF keeps its width in pixels.
    """
    microscope = Microscope(
        pixel_size_nm=pixel_size_nm,
        frame_interval_s=0.05,
        fwhm=_calibrated_fwhm(pixel_size_nm),
        blinking=BlinkingChain(EMITTING_TO_DARK, DARK_TO_EMITTING, 0.002),
        photons=PhotonLaw(mean=80.0, cv=0.3),
        camera=Camera(
            offset_adu=200.0,
            adu_per_electron=0.1,
            quantum_efficiency=0.9,
            read_noise_e=40.0,
            em_gain=200.0,
            bits=16,
        ),
    )
    return Scene(
        microscope,
        Labelling(per_um2=_per_um2(3500 / 60**2, pixel_size_nm)),
        background_factor=0.3,
        background_photons=10.0,
        haze=0.5,
        haze_sigma_px=8.0,
    )


def camera(
    rng: RngLike = None,
    *,
    pixel_size_nm: float = PIXEL_SIZE_NM,
    kind: CameraKind | None = None,
) -> Scene:
    """A random real experiment; every factor is drawn over ranges that transferred to real actin.

    Parameters
    ----------
    rng : int, Generator or None
    pixel_size_nm : float
        Camera pixel; widths and densities are drawn per pixel.
    kind : {"gaussian", "scmos", "emccd"}, optional
        The camera; drawn if not given.

    Raises
    ------
    InputError
        If there is no such camera.

    Notes
    -----
    The photons of an emission are chosen such that the bright parts of a typical structure, three
    times as dense as the mean, have a signal-to-noise ratio of 0.6 … 20 in a frame.
    """
    rng = as_generator(rng)
    device = _random_camera(kind or str(rng.choice(get_args(CameraKind))), rng)
    blinking = BlinkingChain(
        emitting_to_dark=float(rng.uniform(0.25, 0.95)),
        dark_to_emitting=_log_uniform(10**-2.3, 10**-0.4, rng),
        dark_to_bleached=_sometimes(1 / 2, _log_uniform(10**-3.5, 10**-2, rng), rng),
    )
    emitters_per_px = _log_uniform(10**2.9, 10**4.2, rng) / 60**2
    background = float(rng.uniform(0.06, 0.6))
    bright = _bright_photons(_log_uniform(0.6, 20.0, rng), device, background)
    photons = min(bright / (3 * emitters_per_px * blinking.steady_on_fraction), 3000.0)
    log_deviation = rng.uniform(0.05, 0.6)
    microscope = Microscope(
        pixel_size_nm=pixel_size_nm,
        frame_interval_s=0.05,
        fwhm=_narrow_fwhm(float(rng.uniform(1.7, 3.4)) * pixel_size_nm),
        blinking=blinking,
        photons=PhotonLaw(photons, cv=float(np.sqrt(np.expm1(log_deviation**2)))),
        camera=device,
    )
    return Scene(
        microscope,
        Labelling(per_um2=_per_um2(emitters_per_px, pixel_size_nm)),
        background_factor=background,
        non_blinking=_sometimes(1 / 3, rng.uniform(0.0, 3.0), rng),
        haze=_sometimes(2 / 3, rng.uniform(0.0, 1.0), rng),
        haze_sigma_px=float(rng.uniform(3.0, 12.0)),
        out_of_focus=_sometimes(1 / 2, rng.uniform(0.0, 0.09), rng),
        out_of_focus_blur=float(rng.uniform(1.8, 2.8)),
        intensity_trend=_sometimes(1 / 2, rng.uniform(-0.25, 0.10), rng),
        drift_nm=_drift(_sometimes(1 / 2, rng.uniform(0.0, 0.5 * pixel_size_nm), rng), rng),
    )


def rare(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """Rare, bright emissions under a random real camera, as in PALM and STORM at high density.

    Parameters
    ----------
    rng : int, Generator or None
    pixel_size_nm : float
        Camera pixel; widths and densities are drawn per pixel.

    Notes
    -----
    0.006 to 0.12 fluorophores emit at once in a camera pixel; each does so about 0.2 to 6 times in
    200 frames. The peak of an emission is 1.3 to 14 standard deviations of the noise under it,
    haze and light that never blinks aside.
    """
    rng = as_generator(rng)
    scene = camera(rng, pixel_size_nm=pixel_size_nm)
    scope = scene.microscope
    off, on = float(rng.uniform(0.5, 0.95)), _log_uniform(1e-3, 10**-1.5, rng)
    emitters_per_px = min(_log_uniform(0.006, 0.12, rng) * (1 + off / on), MOST_RARE_PER_PX)
    peak = _bright_photons(_log_uniform(1.3, 14.0, rng), scope.camera, scene.background_factor)
    photons = peak / peak_share(scope.fwhm.median_nm / pixel_size_nm)
    return replace(
        scene,
        microscope=replace(
            scope,
            blinking=BlinkingChain(off, on, scope.blinking.dark_to_bleached),
            photons=replace(scope.photons, mean=photons),
        ),
        labelling=Labelling(per_um2=_per_um2(emitters_per_px, pixel_size_nm)),
    )


def custom(
    *,
    n_emitters: float = 5000.0,
    photons: float | None = None,
    peak_to_noise: float = 1.0,
    noise: float = 10.0,
    camera: Camera | None = None,
    fwhm_nm: float = PSF_FWHM_PX * PIXEL_SIZE_NM,
    emitting_to_dark: float = EMITTING_TO_DARK,
    dark_to_emitting: float = DARK_TO_EMITTING,
    bleaching: float = 0.0,
    brightness_cv: float = 0.2,
    background_factor: float = 0.3,
    pixel_size_nm: float = PIXEL_SIZE_NM,
    frame_interval_s: float = 0.05,
) -> Scene:
    """An experiment from the few numbers that matter; every default can be kept.

    Parameters
    ----------
    n_emitters : float
        Expected fluorophores in the field.
    photons : float, optional
        Mean signal of an emitting frame; takes the place of `peak_to_noise`.
    peak_to_noise : float
        Central pixel of a single emission ÷ `noise`.
    noise : float
        Standard deviation of the noise in a pixel, photons.
    camera : Camera, optional
        A real camera; the default has Gaussian noise only, on an offset of 100 counts.
    fwhm_nm : float
        Median FWHM of the PSF; single emissions scatter by 2.5 %.
    emitting_to_dark, dark_to_emitting, bleaching : float
        Probabilities per frame; `bleaching` is dark → bleached.
    brightness_cv : float
        Standard deviation ÷ mean of the log-normal signal of an emission.
    background_factor : float
        Background in units of the frame's mean intensity.
    pixel_size_nm : float
        Camera pixel in the sample.
    frame_interval_s : float
        Time from frame to frame; blinking is given per frame.
    """
    if photons is None:
        photons = peak_to_noise * noise / peak_share(fwhm_nm / pixel_size_nm)
    microscope = Microscope(
        pixel_size_nm=pixel_size_nm,
        frame_interval_s=frame_interval_s,
        fwhm=_narrow_fwhm(fwhm_nm),
        blinking=BlinkingChain(emitting_to_dark, dark_to_emitting, bleaching),
        photons=PhotonLaw(photons, brightness_cv),
        camera=camera or Camera(offset_adu=100.0, read_noise_e=noise, shot_noise=False, bits=16),
    )
    return Scene(microscope, Labelling(n_emitters=n_emitters), background_factor=background_factor)


def peak_share(fwhm_px: float) -> float:
    """Share of an emission that falls on its central pixel."""
    return float(integrated_profile(np.zeros(1), 0.0, fwhm_px / FWHM_PER_SIGMA)[0] ** 2)


def _calibrated_fwhm(pixel_size_nm: float) -> FwhmLaw:
    """The table of mEos3.2: log-normal (1.4, 0.025) within 3.96–4.16, × 0.65 camera pixels."""
    return FwhmLaw(
        median_nm=PSF_FWHM_PX * pixel_size_nm,
        sigma_log=0.025,
        low_nm=0.65 * 3.96 * pixel_size_nm,
        high_nm=0.65 * 4.16 * pixel_size_nm,
    )


def _narrow_fwhm(fwhm_nm: float) -> FwhmLaw:
    return FwhmLaw(fwhm_nm, sigma_log=0.025, low_nm=0.95 * fwhm_nm, high_nm=1.05 * fwhm_nm)


def _per_um2(per_camera_px: float, pixel_size_nm: float) -> float:
    return per_camera_px / (1e-3 * pixel_size_nm) ** 2


def _random_camera(kind: str, rng: np.random.Generator) -> Camera:
    if kind == "gaussian":
        noise = float(rng.uniform(5.0, 20.0))
        return Camera(offset_adu=200.0, read_noise_e=noise, shot_noise=False, bits=16)
    if kind == "scmos":
        return Camera(
            offset_adu=100.0,
            adu_per_electron=float(rng.uniform(1.5, 4.0)),
            quantum_efficiency=float(rng.uniform(0.7, 0.95)),
            read_noise_e=float(rng.uniform(0.9, 2.5)),
            bits=16,
        )
    if kind == "emccd":
        return Camera(
            offset_adu=float(rng.uniform(100.0, 400.0)),
            adu_per_electron=float(1 / rng.uniform(10.0, 20.0)),
            quantum_efficiency=float(rng.uniform(0.85, 0.95)),
            read_noise_e=float(rng.uniform(20.0, 60.0)),
            em_gain=float(rng.uniform(50.0, 300.0)),
            bits=16,
        )
    raise InputError(f"camera kind must be gaussian, scmos or emccd, got {kind!r}")


def _bright_photons(snr: float, device: Camera, background: float) -> float:
    """Signal per pixel, photons, at which signal ÷ noise reaches `snr`.

    The positive root S of S² = snr² (c S + r), where c S + r is the noise variance under the
    signal and its background (`Camera.variance_adu`) in photons².
    """
    dark, lit = device.variance_adu(np.array([0.0, 1.0 + background])) / device.adu_per_photon**2
    half = 0.5 * snr**2 * (lit - dark)
    return float(half + np.sqrt(half**2 + snr**2 * dark))


def _drift(length_nm: float, rng: np.random.Generator) -> tuple[float, float]:
    angle = rng.uniform(0.0, 2 * np.pi)
    return float(length_nm * np.sin(angle)), float(length_nm * np.cos(angle))


def _sometimes(probability: float, value: float, rng: np.random.Generator) -> float:
    return float(value) if rng.random() < probability else 0.0


def _log_uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _fixed(*, n_emitters: float, peak_to_noise: float, bleaching: float = 0.0) -> Preset:
    def scene(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
        return custom(
            n_emitters=n_emitters,
            peak_to_noise=peak_to_noise,
            bleaching=bleaching,
            fwhm_nm=PSF_FWHM_PX * pixel_size_nm,
            pixel_size_nm=pixel_size_nm,
        )

    return scene


PRESETS: dict[str, Preset] = {
    "meos3.2": meos32,
    "paper": paper,
    "paper-bleaching": partial(paper, bleaching=True),
    "camera": camera,
    "emccd": partial(camera, kind="emccd"),
    "scmos": partial(camera, kind="scmos"),
    "rare": rare,
    "sparse": _fixed(n_emitters=1500, peak_to_noise=2.5),
    "dense": _fixed(n_emitters=3000, peak_to_noise=0.5),
    "bleaching": _fixed(n_emitters=6000, peak_to_noise=0.6, bleaching=0.015),
    "dim": _fixed(n_emitters=40_000, peak_to_noise=0.05),
}
"""Scenes by name."""


def preset(name: str, rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """The scene of a name in `PRESETS`.

    Parameters
    ----------
    name : str
        meos3.2, paper, paper-bleaching, camera, emccd, scmos, rare, sparse, dense, bleaching or
        dim.
    rng : int, Generator or None
        Draws the figures of those that are random.
    pixel_size_nm : float
        Camera pixel in the sample.

    Raises
    ------
    InputError
        If there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"no preset is called {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name](rng, pixel_size_nm=pixel_size_nm)
