"""Fields of line groups of one spacing as movies of an experiment."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np

from dlbi.bench.subjects import N_FRAMES, UPSCALING, Subject
from dlbi.core.grid import PixelGrid
from dlbi.core.lines import LineGroup
from dlbi.simulation.line_groups import draw_groups, place_groups
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import PIXEL_SIZE_NM, preset

FIELD_PX = 64
"""Just enough room for sixteen groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineField:
    """Pairs, ladders and bands of one spacing.

    Parameters
    ----------
    spacing_nm : float
    preset : str
    seed : int
        Places the groups and draws the movie.
    scene_seed : int
        Draws the scene; one for all spacings, so that they can be compared.
    """

    spacing_nm: float
    preset: str
    seed: int
    scene_seed: int

    @property
    def title(self) -> str:
        """Spacing and preset."""
        return f"lines {self.spacing_nm:g} nm apart, {self.preset}"

    def settings(self) -> dict[str, Any]:
        """All fields."""
        return {"kind": "simulated", "structure": "lines", **asdict(self)}

    def load(self) -> Subject:
        """Simulate the movie, once for several methods in a row."""
        movie, groups = _simulated(self)
        return Subject(movie.stack, movie, movie.scene.microscope.psf, groups)


@lru_cache(maxsize=2)
def _simulated(field: LineField) -> tuple[SimulatedMovie, tuple[LineGroup, ...]]:
    side = UPSCALING * FIELD_PX
    grid = PixelGrid((side, side), PIXEL_SIZE_NM / UPSCALING)
    groups = place_groups(grid, field.spacing_nm, np.random.default_rng(field.seed))
    scene = preset(field.preset, np.random.default_rng(field.scene_seed))
    structure = draw_groups(groups, grid)
    movie = simulate(structure, scene, n_frames=N_FRAMES, upscaling=UPSCALING, rng=field.seed)
    return movie, tuple(groups)


def line_field(seed: int, preset_name: str, spacing_nm: float) -> LineField:
    """The field of a spacing under a preset that belongs to a seed."""
    return LineField(
        spacing_nm=spacing_nm,
        preset=preset_name,
        seed=seed + crc32(f"{preset_name} {spacing_nm:g}".encode()) % 1000,
        scene_seed=seed,
    )
