"""One small movie, and networks whose output is a plain function of their input."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.rng import stream
from dlbi.inference.measurement.background import Background
from dlbi.inference.measurement.noise import NoiseModel
from dlbi.learning.confidence import Confidence
from dlbi.learning.network import ModelMetadata, Network
from dlbi.learning.observation import CHANNELS
from dlbi.reconstruction.measurement import Movie
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

MEASURED = Confidence(1.0, (-5.0, 5.0), (5.0, -5.0))
"""The network's own spread and logit."""

Picture = Callable[[FloatImage], FloatImage]
"""What a network draws, as a function of its guide."""


@pytest.fixture(scope="session")
def movie() -> SimulatedMovie:
    structure = draw("bundles", PixelGrid((256, 256), 20.0), np.random.default_rng(12))
    return simulate(structure, custom(n_emitters=600, peak_to_noise=2.0), n_frames=120, rng=12)


@pytest.fixture(scope="session")
def compact() -> Callable[..., Network]:
    """A compact network whose amplitude is `picture(guide)`, structure wherever it draws."""

    def make(picture: Picture, **metadata: Any) -> Network:
        def image(statistics: FloatImage, guide: FloatImage, mask: FloatImage) -> FloatImage:
            amplitude = picture(guide)
            logit = np.where(amplitude > 0.05, 4.0, -4.0)
            return np.concatenate([amplitude, np.full_like(guide, np.log(0.1)), logit], axis=1)

        settings: dict[str, Any] = {"channels": CHANNELS, "confidence": MEASURED}
        return _network(image, kind="compact", **settings | metadata)

    return make


@pytest.fixture(scope="session")
def paper() -> Callable[..., Network]:
    """A network of the paper's kind that draws the mean of its frames, and dropout if asked to."""

    def make(n_frames: int, contrast: float = 0.0, **metadata: Any) -> Network:
        def image(frames: FloatImage, mask: FloatImage) -> FloatImage:
            drawn = frames.mean(axis=1, keepdims=True) + contrast * mask.mean(axis=1, keepdims=True)
            return np.clip(drawn.repeat(8, axis=-2).repeat(8, axis=-1), -1.0, 1.0)

        return _network(image, kind="paper", n_frames=n_frames, **metadata)

    return make


def _network(image: Callable[..., FloatImage], **metadata: Any) -> Network:
    session = SimpleNamespace(run=lambda _, inputs: [image(**inputs)])
    settings: dict[str, Any] = {"name": "stub", "mask_channels": 2, "keep": 0.8, "halo_px": 0}
    return Network(session, ModelMetadata(**settings | metadata), "0" * 64)


@pytest.fixture(scope="session")
def measured() -> Callable[..., Movie]:
    """A measured movie whose mean image, noise and background are given numbers."""

    def make(
        mean: FloatImage, *, variance: float = 4.0, haze: float = 0.0, n_frames: int = 2
    ) -> Movie:
        mean = np.asarray(mean, np.float32)
        stack = ImageStack(
            np.broadcast_to(mean, (n_frames, *mean.shape)), PixelGrid(mean.shape, 160.0)
        )
        background = Background(np.zeros(n_frames, np.float32), np.full_like(mean, haze))
        fading = np.ones(n_frames, np.float32)
        return Movie(stack, mean, NoiseModel(variance, 0.0, 1e-12), background, fading)

    return make


@pytest.fixture(scope="session")
def faded() -> ImageStack:
    """Filaments of which one in 50 dark fluorophores bleaches in each frame."""
    grid = PixelGrid((256, 256), 20.0)
    scene = custom(n_emitters=1500, peak_to_noise=1.0, bleaching=0.02)
    return simulate(draw("filaments", grid, stream(5, "faded")), scene, rng=5).stack
