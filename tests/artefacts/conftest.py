"""A small movie without any fault, and the same with one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw


@pytest.fixture(scope="session")
def film():
    """Simulates one structure with changes of the scene."""
    structure = draw("filaments", PixelGrid((256, 256), 20.0), np.random.default_rng(4))
    scene = custom(n_emitters=700, peak_to_noise=3.0)

    def make(**changes) -> ImageStack:
        return simulate(structure, replace(scene, **changes), n_frames=80, rng=5).stack

    return make


@pytest.fixture(scope="session")
def movie(film) -> ImageStack:
    return film()


@pytest.fixture(scope="session")
def noise() -> ImageStack:
    counts = np.random.default_rng(6).normal(200.0, 9.0, (60, 24, 24)).round()
    return ImageStack(counts.astype(np.uint16), PixelGrid((24, 24), 160.0))
