"""Populations of fluorophores in and out of focus, and their blinking light over a movie."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import stream, stream_key
from dlbi.simulation.blinking import DwellLaw, start_states
from dlbi.simulation.emission import EmissionTable, emit
from dlbi.simulation.placement import MARGIN_PX, inside, place
from dlbi.simulation.scene import Scene

_DEFOCUS_SPREAD_NM = 500.0


@dataclass(frozen=True, slots=True)
class Population:
    """Fluorophores that share one look.

    Parameters
    ----------
    name : str
        Names the random streams.
    y_nm, x_nm : ndarray, (N,)
        Positions, those of the margin among them.
    table : EmissionTable
    """

    name: str
    y_nm: NDArray[np.float64]
    x_nm: NDArray[np.float64]
    table: EmissionTable


def in_focus(density: StructureImage, scene: Scene, margin_px: int, seed: int) -> Population:
    """The fluorophores of the structure and of its mirrored margin of `margin_px` fine pixels."""
    scope = scene.microscope
    y, x = place(density, margin_px, seed)
    return Population(
        "focus", y, x, EmissionTable.of(scope.fwhm, scope.photons, scope.pixel_size_nm)
    )


def out_of_focus(focus: Population, scene: Scene, camera: PixelGrid, seed: int) -> Population:
    """Bright, blurred fluorophores about 0.5 µm beside those in focus."""
    scope, rng = scene.microscope, stream(seed, "defocus")
    n = focus.y_nm.size
    parents = rng.integers(n, size=rng.poisson(scene.out_of_focus * n)) if n else np.empty(0, int)
    dy, dx = rng.normal(0.0, _DEFOCUS_SPREAD_NM, (2, parents.size))
    y, x = focus.y_nm[parents] + dy, focus.x_nm[parents] + dx
    near = inside(camera.pad(MARGIN_PX), y, x)
    blur = scene.out_of_focus_blur
    fwhm = replace(
        scope.fwhm,
        median_nm=scope.fwhm.median_nm * blur,
        low_nm=scope.fwhm.low_nm * blur,
        high_nm=scope.fwhm.high_nm * blur,
    )
    photons = replace(scope.photons, mean=scope.photons.mean * scene.out_of_focus_brightness)
    table = EmissionTable.of(fwhm, photons, scope.pixel_size_nm)
    return Population("defocus", y[near], x[near], table)


class BlinkingLight:
    """A population that blinks through a movie, run of frames by run of frames.

    Parameters
    ----------
    population : Population
    chain : BlinkingChain
    canvas : PixelGrid
        Camera pixels with room for every splat.
    seed : int

    Attributes
    ----------
    states : ChainStates
        Where the fluorophores stand after the frames so far.
    signal : ndarray, (N,), photons
        What they have emitted so far.
    """

    def __init__(
        self, population: Population, chain: BlinkingChain, canvas: PixelGrid, seed: int
    ) -> None:
        self._law = DwellLaw.of(chain)
        self._table = population.table
        self._blink_key = stream_key(seed, population.name, "blinking")
        self._light_key = stream_key(seed, population.name, "light")
        self._y_px, self._x_px = canvas.to_px(population.y_nm, population.x_nm)
        self.states = start_states(population.y_nm.size, self._law, self._blink_key)
        self.signal = np.zeros(population.y_nm.size)

    def add(self, start: int, drift_px: NDArray[np.float64], canvas: FloatImage) -> None:
        """Add the expected photons of the frames from `start` on to a canvas, (T, Y, X)."""
        emit(
            self._y_px,
            self._x_px,
            self._blink_key,
            self._light_key,
            self._law,
            self._table,
            self.states,
            start,
            drift_px,
            canvas,
            self.signal,
        )
