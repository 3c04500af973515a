"""Networks whose output is a plain function of their input."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlbi.learning.network import ModelMetadata, Network
from dlbi.learning.observation import CHANNELS, Observation

Function = Callable[..., np.ndarray]


@pytest.fixture
def compact() -> Callable[..., Network]:
    """A compact network that computes `function(statistics, guide, mask)`."""

    def make(function: Function, **metadata: Any) -> Network:
        settings: dict[str, Any] = {
            "name": "stub", "kind": "compact", "mask_channels": 2, "keep": 0.8, "halo_px": 0,
            "channels": CHANNELS,
        }  # fmt: skip
        return network_of(function, settings | metadata)

    return make


@pytest.fixture
def paper() -> Callable[..., Network]:
    """A paper network of 3 frames that computes `function(frames, mask)`."""

    def make(function: Function, **metadata: Any) -> Network:
        settings: dict[str, Any] = {
            "name": "stub", "kind": "paper", "mask_channels": 2, "keep": 0.8, "halo_px": 0,
            "n_frames": 3,
        }  # fmt: skip
        return network_of(function, settings | metadata)

    return make


def network_of(function: Function, metadata: dict[str, Any]) -> Network:
    session = SimpleNamespace(run=lambda _, inputs: [function(**inputs)])
    return Network(session, ModelMetadata(**metadata), "0" * 64)


@pytest.fixture
def observation() -> Callable[..., Observation]:
    """Random statistics and guide of a field."""

    def make(shape: tuple[int, int] = (16, 18), scale: float = 64.0, seed: int = 0) -> Observation:
        rng = np.random.default_rng(seed)
        statistics = rng.standard_normal((len(CHANNELS), *shape)).astype(np.float32)
        guide = rng.random((8 * shape[0], 8 * shape[1])).astype(np.float32)
        return Observation(statistics, guide, scale, {})

    return make
