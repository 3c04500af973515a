"""Fields of lines: what is drawn is what is scored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dlbi.bench import line_fields
from dlbi.bench.line_fields import line_field
from dlbi.bench.scoring import score
from dlbi.core.images import Reconstruction
from dlbi.reconstruction import reconstruct


@pytest.fixture(scope="module")
def wide():
    """Lines 320 nm apart, in few frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_fields, "N_FRAMES", 12)
        yield line_field(23_000, "meos3.2", 320.0).load()


def test_the_drawing_resolves_all_and_the_camera_nothing(wide):
    density = wide.truth.truth_density(8)
    drawn = score(Reconstruction(density.density, density.grid), wide)
    assert [drawn[kind] for kind in ("pairs", "ladders", "bands")] == [1.0, 1.0, 0.0]
    seen = score(reconstruct(wide.stack, method="mean", rng=1), wide)
    assert [seen[kind] for kind in ("pairs", "ladders", "bands")] == [0.0, 0.0, 0.0]


def test_one_scene_for_all_spacings():
    fields = [line_field(23_000, "paper", nm) for nm in (60.0, 320.0)]
    assert fields[0].seed != fields[1].seed
    assert fields[0].scene_seed == fields[1].scene_seed == 23_000
    assert fields[0].settings() != fields[1].settings()
    assert replace(fields[0], spacing_nm=61.0).settings() != fields[0].settings()
