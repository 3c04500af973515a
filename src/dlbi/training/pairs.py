"""Training pairs: a simulated movie as the network sees it, and its true light."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.optics import FwhmLaw, GaussianPSF
from dlbi.core.rng import derived_seed, stream
from dlbi.learning.observation import Observation
from dlbi.learning.passes import normalised_frames
from dlbi.reconstruction.measurement import (
    deconvolve,
    measure,
    observed,
    optics_of,
    projection_of,
    without_halo,
)
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import PIXEL_SIZE_NM
from dlbi.training.scenes import Experiment, draw_experiment

UPSCALING = 8
MARGIN_PX = 4
"""Camera pixels simulated around a field and cut off, so that light enters over its border."""

TARGET_SIGMA_PX = 1.0
"""Blur of the true density, fine pixels."""

STRUCTURE_SHARE = 0.05
"""Share of the peak density from which on a fine pixel counts as structure."""

_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, slots=True)
class Pair:
    """One training example.

    Parameters
    ----------
    observation : Observation
    target : ndarray, (Y·8, X·8), float32
        √(64 · true light density ÷ scale), in the unit of the guide.
    structure : ndarray, (Y·8, X·8), bool
        Where there is structure.
    family, regime : str
    """

    observation: Observation
    target: FloatImage
    structure: NDArray[np.bool_]
    family: str
    regime: str

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored of it, by name."""
        return {
            "statistics": self.observation.statistics,
            "guide": self.observation.guide,
            "target": self.target,
            "structure": self.structure,
        }

    def record(self) -> dict[str, Any]:
        """What is known about it."""
        return {"family": self.family, "regime": self.regime, "summary": self.observation.summary}


@dataclass(frozen=True, slots=True)
class FramesPair:
    """One training example of a network that sees the frames themselves (paper 2.2.2).

    Parameters
    ----------
    frames : ndarray, (T, Y, X), float32
        Normalised by the first frame, as the authors do: its minimum is −1, its maximum 1.
    density : ndarray, (Y·8, X·8), float32
        Structure, maximum 1.
    family, regime : str
    """

    frames: NDArray[np.float32]
    density: FloatImage
    family: str
    regime: str

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored of it, by name."""
        return {"frames": self.frames, "density": self.density}

    def record(self) -> dict[str, Any]:
        """What is known about it."""
        return {"family": self.family, "regime": self.regime, "summary": {}}


def make_pair(
    seed: int,
    *,
    field_px: int,
    n_frames: tuple[int, int],
    families: dict[str, float],
    regimes: dict[str, float],
) -> Pair:
    """Simulate one series and look at it as a user's program would.

    Parameters
    ----------
    seed : int
        The pair is a pure function of the seed and the options.
    field_px : int
        Camera pixels along one side of the field.
    n_frames : tuple of int
        Shortest and longest movie.
    families, regimes : dict
        Shares of structure families and scenes.
    """
    experiment, movie = simulate_experiment(
        seed, field_px=field_px, n_frames=n_frames, families=families, regimes=regimes
    )
    stack = movie.select(roi=(MARGIN_PX, MARGIN_PX, field_px, field_px))
    focal_nm = movie.scene.microscope.psf.fwhm_nm / experiment.defocus
    psf = GaussianPSF(focal_nm * (1 + experiment.psf_error))
    measured = without_halo(measure(stack), optics_of(stack, psf).halo)
    projection = projection_of(stack, psf, UPSCALING)
    observation = observed(measured, deconvolve(measured, projection), projection)
    light = true_light(movie, experiment)
    amplitude = np.sqrt(light * np.float32(UPSCALING**2 / observation.scale))
    return Pair(
        observation, amplitude, light > STRUCTURE_SHARE * light.max(),
        experiment.family, experiment.regime,
    )  # fmt: skip


def make_frames_pair(
    seed: int,
    *,
    field_px: int,
    n_frames: tuple[int, int],
    families: dict[str, float],
    regimes: dict[str, float],
) -> FramesPair:
    """Simulate one series and keep its frames; options as in `make_pair`."""
    experiment, movie = simulate_experiment(
        seed, field_px=field_px, n_frames=n_frames, families=families, regimes=regimes
    )
    stack = movie.select(roi=(MARGIN_PX, MARGIN_PX, field_px, field_px))
    light = true_light(movie, experiment)
    return FramesPair(
        normalised_frames(stack.load()), light / max(float(light.max()), _TINY),
        experiment.family, experiment.regime,
    )  # fmt: skip


def simulate_experiment(
    seed: int,
    *,
    field_px: int,
    n_frames: tuple[int, int],
    families: dict[str, float],
    regimes: dict[str, float],
) -> tuple[Experiment, SimulatedMovie]:
    """The experiment of a seed and its movie, `MARGIN_PX` wider than the field on each side."""
    side = UPSCALING * (field_px + 2 * MARGIN_PX)
    grid = PixelGrid((side, side), PIXEL_SIZE_NM / UPSCALING)
    experiment = draw_experiment(
        grid, stream(seed, "experiment"), n_frames=n_frames, families=families, regimes=regimes
    )
    scope = experiment.scene.microscope
    blurred = replace(scope, fwhm=_wider(scope.fwhm, experiment.defocus))
    movie = simulate(
        experiment.structure,
        replace(experiment.scene, microscope=blurred),
        n_frames=experiment.n_frames,
        upscaling=UPSCALING,
        rng=derived_seed(seed, "movie"),
    )
    return experiment, movie


def true_light(movie: SimulatedMovie, experiment: Experiment) -> FloatImage:
    """Mean light of the structure in each fine pixel of the field, blurred by 1 px, counts.

    The density of the structure times the mean light of its labels, blinking or not, without what
    the optics spread into a halo, which is background; nothing if the labels are out of focus.
    """
    margin = MARGIN_PX * UPSCALING
    inside = (slice(margin, -margin),) * 2
    density = movie.density.density
    if experiment.defocus > 1.0:
        return np.zeros(density[inside].shape, np.float32)
    scene, fluorophores = movie.scene, movie.emitters
    photons, frames_on = fluorophores.photons, fluorophores.frames_on
    if photons is None or frames_on is None:
        raise InputError("the emitters of a simulation carry photons and frames_on")
    mean_trend = float(scene.trend(np.arange(movie.n_frames), movie.n_frames).mean())
    light = float(photons @ frames_on) / movie.n_frames * (1.0 + scene.non_blinking) * mean_trend
    light *= 1.0 - scene.microscope.halo.share
    blurred = gaussian_filter(density, TARGET_SIGMA_PX, mode="nearest")
    share = blurred[inside] * np.float32(light / density.sum(dtype=np.float64))
    return np.asarray(np.maximum(share, 0.0), np.float32)


def _wider(law: FwhmLaw, factor: float) -> FwhmLaw:
    return replace(
        law,
        median_nm=factor * law.median_nm,
        low_nm=factor * law.low_nm,
        high_nm=factor * law.high_nm,
    )
