"""The movies of the experiments, and those that are simulated, with their truth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.lines import LineGroup
from dlbi.core.optics import GaussianPSF
from dlbi.core.rng import derived_seed
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import PIXEL_SIZE_NM, preset
from dlbi.simulation.structures import draw

UPSCALING = 8
FIELD_PX = 60
N_FRAMES = 200
"""The paper's areas: 60×60 camera pixels, 200 frames, reconstructed at ×8 (2.1.3)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A movie, and what is known about it.

    Parameters
    ----------
    stack : ImageStack
    truth : SimulatedMovie or None
        Structure, fluorophores and scene behind it.
    psf : GaussianPSF or None
        True, or told by the user; measured from the movie if None.
    groups : tuple of LineGroup
        Groups of lines in the structure.
    """

    stack: ImageStack
    truth: SimulatedMovie | None = None
    psf: GaussianPSF | None = None
    groups: tuple[LineGroup, ...] = ()


class Source(Protocol):
    """Where a movie comes from."""

    @property
    def title(self) -> str:
        """A few words for tables and pictures."""

    @property
    def seed(self) -> int:
        """Seed of the methods that look at it."""

    def settings(self) -> dict[str, Any]:
        """Everything that decides the frames, as plain values; no path."""

    def load(self) -> Subject:
        """The movie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """A movie drawn from a seed.

    Parameters
    ----------
    structure, preset : str
        Of `dlbi.simulation.structures.KINDS` and `dlbi.simulation.presets.PRESETS`.
    seed : int
        Draws structure, scene and movie.
    field_px : int
        Camera pixels along each side.
    n_frames, shown : int
        Frames simulated, and how many of the first of them the methods get.
    light : float
        Factor on the photons of an emission.
    labelling : int
        Another number puts other fluorophores on the same structure.
    """

    structure: str
    preset: str
    seed: int
    field_px: int = FIELD_PX
    n_frames: int = N_FRAMES
    shown: int = N_FRAMES
    light: float = 1.0
    labelling: int = 0

    @property
    def title(self) -> str:
        """Structure, preset and, if it is not the first, labelling."""
        again = f", labelling {self.labelling + 1}" if self.labelling else ""
        return f"{self.structure}, {self.preset}{again}"

    def settings(self) -> dict[str, Any]:
        """All fields."""
        return {"kind": "simulated", **asdict(self)}

    def load(self) -> Subject:
        """Simulate the movie, once for several methods in a row."""
        movie = _simulated(replace(self, shown=self.n_frames))
        scene = movie.scene
        return Subject(movie.stack.select(slice(0, self.shown)), movie, scene.microscope.psf)


@lru_cache(maxsize=2)
def _simulated(source: Simulated) -> SimulatedMovie:
    side = UPSCALING * source.field_px
    grid = PixelGrid((side, side), PIXEL_SIZE_NM / UPSCALING)
    structure = draw(source.structure, grid, np.random.default_rng(source.seed))
    scene = preset(source.preset, np.random.default_rng(source.seed + 1))
    photons = replace(scene.microscope.photons, mean=source.light * scene.microscope.photons.mean)
    scene = replace(scene, microscope=replace(scene.microscope, photons=photons))
    seed = source.seed
    if source.labelling:
        seed = derived_seed(seed, "labelling", source.labelling)
    return simulate(structure, scene, n_frames=source.n_frames, upscaling=UPSCALING, rng=seed)


def area_seed(seed: int, structure: str, preset_name: str, n: int = 0) -> int:
    """Seed of the n-th area of a structure under a preset; areas never share one."""
    return seed + crc32(f"{preset_name} {structure}".encode()) % 1000 + 1000 * n
