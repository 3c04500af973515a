"""A small movie with a reconstruction that holds everything a page can show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.core.images import Reconstruction
from dlbi.reconstruction import reconstruct
from dlbi.simulation.movie import SimulatedMovie, simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw

NAME = "<b>cell & co.tif"
"""A file name that would be markup if it were not escaped."""

CHAIN = {
    "table_p1_to_p5": [0.25, 0.75, 0.2, 0.79, 0.01],
    "flux": 80.0,
    "n_live": [60, 50],
    "emitters_per_fluorophore": 1.0,
}

RECORD = {
    "method": "dlbi",
    "psf": {"fwhm_nm": 422.4, "standard_error_nm": 6.0, "origin": "movie"},
    "network": {
        "name": "compact",
        "sha256": "ab" * 32,
        "out_of_range": [],
        "share_in_disagreement": 0.02,
    },
    "largest_light_z": 90.0,
    "tiles": [{"chains": [CHAIN, CHAIN | {"flux": 100.0}]}],
    "r_hat_median": 1.02,
    "r_hat_95": 1.31,
}

PROVENANCE = {
    "software": {"dlbi": "0.1.0", "python": "3.11.7"},
    "inputs": [{"name": NAME, "bytes": 12, "sha256": "cd" * 32}],
    "command": ["dlbi", "reconstruct", f"/data/{NAME}", "--out", "here/sr.tif", "--workers", "2"],
    "config": {"quality": "standard", "roi_xywh": None, "frames": [0, 60], "n_workers": 2},
    "seed": 77,
    "started_utc": "2026-01-02T03:04:05+00:00",
    "reconstruction": RECORD,
}


@pytest.fixture(scope="session")
def movie() -> SimulatedMovie:
    structure = draw("filaments", PixelGrid((192, 160), 20.0), np.random.default_rng(4))
    return simulate(structure, custom(n_emitters=500, peak_to_noise=3.0), n_frames=60, rng=5)


@pytest.fixture(scope="session")
def sr(movie) -> Reconstruction:
    plain = reconstruct(movie.stack, method="rl", rng=1)
    return replace(
        plain,
        std=0.2 * plain.mean,
        p_value=np.exp(-plain.mean).astype(np.float32),
        emitters=Emitters(np.full(55, 100.0), np.full(55, 200.0)),
        provenance=PROVENANCE,
    )
