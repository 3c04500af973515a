import numpy as np
import pytest
import torch

from dlbi.learning.observation import CHANNELS
from dlbi.training.compact.config import CompactConfig
from dlbi.training.pool import Pool

FIELD_PX = 16


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def make_fake_pool():
    """A pool of noise in which truth is the guide, half as bright; the last series is empty."""

    def make(n=5, seed=0, empty=True):
        rng = np.random.default_rng(seed)
        side = 8 * FIELD_PX
        guide = rng.random((n, side, side)).astype(np.float16)
        target = (guide.astype(np.float32) / 2).astype(np.float16)
        if empty:
            target[-1] = 0.0
        statistics = rng.normal(size=(n, len(CHANNELS), FIELD_PX, FIELD_PX))
        arrays = {
            "statistics": statistics.astype(np.float16),
            "guide": guide,
            "target": target,
            "structure": (target > 0.25).astype(np.uint8),
        }
        return Pool(arrays, [{"summary": {"n_frames": 20.0 + i}} for i in range(n)])

    return make


@pytest.fixture
def make_config():
    """A configuration whose training takes no time."""

    def make(cycles=(4, 2), **optimisation):
        return CompactConfig.model_validate(
            {
                "name": "tiny",
                "seed": 3,
                "data": {"n_series": 5, "n_validation": 3, "field_px": FIELD_PX},
                "network": {"channels": 4, "blocks": 1, "widths": [3, 2, 2]},
                "optimisation": {
                    "cycles": [{"steps": n} for n in cycles],
                    "batch": 2, "crop_px": 8, "warmup_steps": 2, "robust_from": 3,
                    "checkpoint_every": 2, "validate_every": 3,
                } | optimisation,
            }
        )  # fmt: skip

    return make
