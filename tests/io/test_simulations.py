"""A simulated movie and its truths on disk: one set, written in bounded memory."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dlbi.core.errors import OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import StructureImage
from dlbi.io.images import load_grid_image
from dlbi.io.simulations import (
    check_simulation_writable,
    save_simulation,
    simulation_paths,
)
from dlbi.io.stacks import load_stack
from dlbi.io.tables import load_emitters
from dlbi.simulation.movie import Simulation, simulate
from dlbi.simulation.presets import custom

FINE = PixelGrid((64, 80), 20.0)


def structure():
    density = np.zeros(FINE.shape, np.float32)
    density[20:40, 10:60] = 1.0
    return StructureImage(density, FINE)


def simulation(upscaling=8, n_frames=70):
    scene = custom(n_emitters=150, pixel_size_nm=20.0 * upscaling)
    return Simulation(structure(), scene, n_frames=n_frames, upscaling=upscaling, rng=11)


def test_files_hold_what_simulate_returns(tmp_path):
    steps = []
    written = save_simulation(
        tmp_path / "m.ome.tif",
        simulation(),
        provenance={"seed": 11},
        progress=lambda *step: steps.append(step),
    )
    assert written[0] == tmp_path / "m.ome.tif"
    assert set(written) == set(tmp_path.iterdir())
    expected = simulate(
        structure(), custom(n_emitters=150, pixel_size_nm=160.0), n_frames=70, rng=11
    )
    movie = load_stack(tmp_path / "m.ome.tif")
    np.testing.assert_array_equal(movie.data[:], expected.stack.data)
    assert movie.grid == expected.stack.grid
    assert movie.frame_interval_s == expected.stack.frame_interval_s
    names = {8: "m.truth.tif", 4: "m.truth_x4.tif", 2: "m.truth_x2.tif"}
    for factor, name in names.items():
        density, grid = load_grid_image(tmp_path / name)
        truth = expected.truth_density(factor)
        np.testing.assert_array_equal(density, truth.density)
        assert grid == truth.grid
    emitters = load_emitters(tmp_path / "m.emitters.csv")
    np.testing.assert_allclose(emitters.x_nm, expected.emitters.x_nm, rtol=1e-9)
    np.testing.assert_allclose(emitters.bleach_frame, expected.emitters.bleach_frame)
    assert json.loads((tmp_path / "m.provenance.json").read_text()) == {"seed": 11}
    assert steps == [("frames", 64, 70), ("frames", 70, 70)]


@pytest.mark.parametrize(
    ("upscaling", "factors"), [(8, {8, 4, 2}), (4, {4, 2}), (16, {16, 4, 2}), (1, {1}), (2, {2})]
)
def test_truths_are_proper_divisors_of_the_upscaling(upscaling, factors):
    assert set(simulation_paths("m.tif").truths(upscaling)) == factors
    assert simulation_paths("m.tif").truths(upscaling)[upscaling].name == "m.truth.tif"


def test_overwriting_removes_truths_of_the_earlier_movie(tmp_path):
    path = tmp_path / "m.tif"
    save_simulation(path, simulation(), provenance={})
    with pytest.raises(OutputError, match="exists already"):
        save_simulation(path, simulation(), provenance={})
    save_simulation(path, simulation(upscaling=4), provenance={}, overwrite=True)
    assert not (tmp_path / "m.truth_x4.tif").exists()
    assert load_grid_image(tmp_path / "m.truth_x2.tif")[1].pixel_size_nm == 40.0


@pytest.mark.parametrize("name", [p.name for p in simulation_paths("m.tif").every()])
def test_any_file_of_the_set_is_protected(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        check_simulation_writable(tmp_path / "m.tif")
    check_simulation_writable(tmp_path / "m.tif", overwrite=True)


@pytest.mark.parametrize("frame", [64, 70])
def test_interruption_leaves_nothing(tmp_path, frame):
    def interrupt(stage, done, total):
        if done == frame:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_simulation(tmp_path / "m.tif", simulation(), provenance={}, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_names_must_be_those_of_a_tiff():
    with pytest.raises(OutputError, match="cannot tell the format"):
        simulation_paths("movie.csv")
