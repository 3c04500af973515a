from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.optics import Halo
from dlbi.forward import Projection
from dlbi.simulation.movie import simulate
from dlbi.simulation.presets import custom
from dlbi.simulation.structures import draw
from dlbi.training.pairs import (
    MARGIN_PX,
    STRUCTURE_SHARE,
    Pair,
    make_frames_pair,
    make_pair,
    simulate_experiment,
    true_light,
)
from dlbi.training.scenes import FAMILIES, REGIMES, Experiment

FIELD = 24
OPTIONS = {"field_px": FIELD, "n_frames": (60, 60), "families": FAMILIES, "regimes": REGIMES}


def pair(seed: int, **options: object) -> Pair:
    return make_pair(seed, **(OPTIONS | options))


def test_a_pair_is_a_function_of_its_seed() -> None:
    one, two, other = pair(3), pair(3), pair(4)
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, two.arrays()[name])
    assert one.record() == two.record()
    assert not np.array_equal(one.target, other.target)


def test_shapes_fit_and_values_are_possible() -> None:
    p = pair(5)
    assert p.target.shape == p.structure.shape == p.observation.guide.shape == (192, 192)
    assert p.target.min() >= 0
    assert np.isfinite(p.target).all()
    light = p.target**2
    clear = light > 1.5 * STRUCTURE_SHARE * light.max()
    dark = light < 0.5 * STRUCTURE_SHARE * light.max()
    assert p.structure[clear].all()
    assert not p.structure[dark].any()


def test_true_light_through_the_psf_is_the_movie_without_background() -> None:
    side = 8 * (FIELD + 2 * MARGIN_PX)
    structure = draw("er", PixelGrid((side, side), 20.0), 2)
    scene = replace(
        custom(n_emitters=8000, photons=100.0, noise=0.5, background_factor=0.0), non_blinking=0.5
    )
    movie = simulate(structure, scene, n_frames=100, rng=1)
    experiment = Experiment("er", "plain", structure, scene, 100, 1.0, 0.0)
    light = true_light(movie, experiment)
    camera = movie.grid.crop_region((slice(MARGIN_PX, MARGIN_PX + FIELD),) * 2)
    seen = Projection(camera.refine(8), camera, scene.microscope.psf).forward(light)
    mean = movie.select(roi=(MARGIN_PX, MARGIN_PX, FIELD, FIELD)).mean()
    mean = mean - scene.microscope.camera.offset_adu
    inner = (slice(4, -4),) * 2  # light from beyond the border is not in `light`
    # 8000 fluorophores blink 100 frames: their light fluctuates by about 1 %.
    assert mean[inner].sum() == pytest.approx(seen[inner].sum(), rel=0.05)
    assert np.corrcoef(mean[inner].ravel(), seen[inner].ravel())[0, 1] > 0.97


def test_true_light_is_without_the_halo() -> None:
    experiment, movie = simulate_experiment(
        3, field_px=FIELD, n_frames=(20, 20), families={"er": 1.0}, regimes={"tailed": 1.0}
    )
    scope = movie.scene.microscope
    bare = replace(movie, scene=replace(movie.scene, microscope=replace(scope, halo=Halo())))
    light, all_of_it = true_light(movie, experiment), true_light(bare, experiment)
    np.testing.assert_allclose(light, (1.0 - scope.halo.share) * all_of_it, rtol=1e-5)


def test_light_out_of_focus_has_no_structure() -> None:
    found = [pair(s, families={"haze": 1.0}, n_frames=(20, 20)) for s in range(8)]
    empty = [not p.target.any() for p in found]
    assert 0 < sum(empty) < len(empty)
    for p, is_empty in zip(found, empty, strict=True):
        assert p.structure.any() != is_empty


def test_field_is_cut_from_a_wider_simulation() -> None:
    _, movie = simulate_experiment(6, **OPTIONS)
    assert movie.grid.shape == (FIELD + 2 * MARGIN_PX,) * 2


def test_frames_pair_is_normalised_by_its_first_frame() -> None:
    p = make_frames_pair(7, **OPTIONS)
    assert p.frames.shape == (60, FIELD, FIELD)
    assert (p.frames[0].min(), p.frames[0].max()) == pytest.approx((-1.0, 1.0))
    assert p.density.max() == pytest.approx(1.0)
    # The same seed gives the same structure in both views.
    np.testing.assert_allclose(
        np.corrcoef(p.density.ravel(), (pair(7).target ** 2).ravel())[0, 1], 1.0, atol=1e-5
    )
