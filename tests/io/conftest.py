"""A small movie and a reading of it that any format must give back."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def movie() -> np.ndarray:
    """Blinking counts, (7, 12, 10), uint16, every value different from its neighbours."""
    return np.random.default_rng(3).integers(90, 4000, (7, 12, 10)).astype(np.uint16)
