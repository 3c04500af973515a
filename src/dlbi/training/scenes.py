"""Random experiments for training: the paper's simulator and real cameras, over wide ranges."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.core.optics import Halo
from dlbi.core.rng import RngLike, as_generator
from dlbi.simulation.presets import PIXEL_SIZE_NM, Preset, camera, custom, meos32, paper, rare
from dlbi.simulation.scene import Scene
from dlbi.simulation.structures import draw

FAMILIES = {
    "filaments": 0.09,
    "bundles": 0.10,
    "line_pairs": 0.10,
    "rings": 0.09,
    "mesh": 0.09,
    "er": 0.08,
    "sketch": 0.06,
    "texture": 0.06,
    "points": 0.05,
    "haze": 0.04,
    "asters": 0.06,
    "domains": 0.08,
    "mixed": 0.10,
}
"""Structure families of the training and their shares."""

UNSEEN_FAMILIES = {"mitochondria": 1 / 3, "chromatin": 1 / 3, "star": 1 / 3}
"""Structure families that no training draws: they validate."""

REGIMES = {"camera": 0.45, "paper": 0.15, "plain": 0.15, "meos3.2": 0.10, "thick": 0.15}
"""Shares of random real cameras, the paper's simulator, plain Gaussian noise over a wide range of
densities, an EMCCD with mEos3.2, and random real cameras on thick, hazy specimens. A training may
name `SCENES` beyond these."""

DEFOCUS = (2.2, 3.0)
"""PSF of haze without structure, relative to the focal one."""

PSF_ERROR, LARGE_PSF_ERROR, LARGE_PSF_ERROR_SHARE = 0.03, 0.10, 0.15
"""Relative errors of a PSF width measured from the movie, or taken from a preset."""

PSF_FWHM_PX = (1.7, 3.4)
USUAL_FRAMES, USUAL_FRAMES_SHARE = 200, 0.4


class Experiment(NamedTuple):
    """One draw of everything.

    Parameters
    ----------
    family, regime : str
    structure : StructureImage
        Density of any scale on the fine grid.
    scene : Scene
    n_frames : int
    defocus : float
        True PSF width relative to that of the focal plane; above 1 nothing is in focus, so there
        is no structure to find.
    psf_error : float
        Relative error of the PSF width that the observer will assume.
    """

    family: str
    regime: str
    structure: StructureImage
    scene: Scene
    n_frames: int
    defocus: float
    psf_error: float


def draw_experiment(
    grid: PixelGrid,
    rng: np.random.Generator,
    *,
    n_frames: tuple[int, int],
    families: dict[str, float] = FAMILIES,
    regimes: dict[str, float] = REGIMES,
) -> Experiment:
    """Draw structure, microscope and length of one training series.

    Parameters
    ----------
    grid : PixelGrid
        Fine pixels of the structure.
    rng : Generator
    n_frames : tuple of int
        Shortest and longest movie; two in five have 200 frames if that lies between.
    families, regimes : dict
        Shares, which add up to 1.
    """
    family, regime = _choose(families, rng), _choose(regimes, rng)
    structure = draw(family, grid, rng)
    pixel_nm = 8 * grid.pixel_size_nm
    scene = SCENES[regime](rng, pixel_size_nm=pixel_nm)
    hazy = family == "haze" and rng.random() < 0.5
    spread = LARGE_PSF_ERROR if rng.random() < LARGE_PSF_ERROR_SHARE else PSF_ERROR
    return Experiment(
        family,
        regime,
        structure,
        scene,
        _length(n_frames, rng),
        defocus=float(rng.uniform(*DEFOCUS)) if hazy else 1.0,
        psf_error=float(np.exp(rng.normal(0.0, spread))) - 1.0,
    )


def plain(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """Gaussian camera noise only, with density, brightness and blinking drawn over wide ranges."""
    rng = as_generator(rng)
    n_emitters = 10 ** rng.uniform(2.8, 4.6)
    brightest = 0.5 + 0.45 * np.log10(4e4 / n_emitters)
    return custom(
        n_emitters=float(n_emitters),
        peak_to_noise=float(10 ** rng.uniform(-1.2, brightest)),
        fwhm_nm=float(rng.uniform(*PSF_FWHM_PX)) * pixel_size_nm,
        emitting_to_dark=float(rng.uniform(0.25, 0.95)),
        dark_to_emitting=float(10 ** rng.uniform(-2.3, -0.4)),
        bleaching=float(rng.choice([0.0, 1.0]) * 10 ** rng.uniform(-3.5, -1.7)),
        brightness_cv=float(rng.uniform(0.05, 0.6)),
        background_factor=float(rng.uniform(0.06, 0.7)),
        pixel_size_nm=pixel_size_nm,
    )


def thick(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """A random real camera on a thick specimen: much haze, many blinking emitters out of focus."""
    rng = as_generator(rng)
    return replace(
        camera(rng, pixel_size_nm=pixel_size_nm),
        haze=float(np.exp(rng.uniform(np.log(0.3), np.log(4.0)))),
        haze_sigma_px=float(rng.uniform(3.0, 15.0)),
        out_of_focus=float(np.exp(rng.uniform(np.log(0.03), np.log(0.4)))),
        out_of_focus_brightness=float(rng.uniform(1.0, 3.0)),
        out_of_focus_blur=float(rng.uniform(1.6, 3.5)),
    )


def tailed(rng: RngLike = None, *, pixel_size_nm: float = PIXEL_SIZE_NM) -> Scene:
    """A random real camera behind optics with a halo; the register of an EMCCD smears charge.

    Notes
    -----
    In a real actin movie (Actin2) the covariance of blinking pixels falls beyond two pixels as
    that of a Gaussian with 44 % of its light in a halo 2.9 times as wide; its camera leaves 26 % of
    a pixel's charge to the neighbours.
    """
    rng = as_generator(rng)
    scene = camera(rng, pixel_size_nm=pixel_size_nm)
    scope = scene.microscope
    halo = Halo(
        share=float(rng.uniform(0.1, 0.5)),
        sigma_nm=scope.psf.sigma_nm * float(np.exp(rng.uniform(np.log(2.0), np.log(4.0)))),
    )
    smear = float(rng.uniform(0.0, 0.4))
    device = replace(scope.camera, smear=smear if scope.camera.em_gain > 1.0 else 0.0)
    return replace(scene, microscope=replace(scope, halo=halo, camera=device))


SCENES: dict[str, Preset] = {
    "camera": camera,
    "paper": paper,
    "plain": plain,
    "meos3.2": meos32,
    "thick": thick,
    "tailed": tailed,
    "rare": rare,
}
"""Kinds of scene by name."""


def _choose(shares: dict[str, float], rng: np.random.Generator) -> str:
    names = sorted(shares)
    weights = np.array([shares[n] for n in names])
    return names[int(rng.choice(len(names), p=weights / weights.sum()))]


def _length(n_frames: tuple[int, int], rng: np.random.Generator) -> int:
    shortest, longest = n_frames
    if shortest <= USUAL_FRAMES <= longest and rng.random() < USUAL_FRAMES_SHARE:
        return USUAL_FRAMES
    return round(float(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))
