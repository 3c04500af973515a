"""Every experiment: what it runs, and what it makes of outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from matplotlib.image import imread

from dlbi.bench import experiment as plans
from dlbi.bench.experiment import Plan
from dlbi.bench.experiments import ASKED_FOR, EXPERIMENTS, NOT_REPRODUCED
from dlbi.bench.experiments import areas as area_module
from dlbi.bench.experiments.ablations import BASE, change_by_name
from dlbi.bench.experiments.areas import areas
from dlbi.bench.experiments.channels import blurred_correlation, shift_px
from dlbi.bench.experiments.families import FAMILIES, REGIMES
from dlbi.bench.experiments.real import error_maps
from dlbi.bench.films import channel_pair, film
from dlbi.evaluation.squirrel import score_movie
from dlbi.figures import intensity_limits
from dlbi.reconstruction.measurement import measure

SEED = 23_000


@pytest.fixture
def plan(monkeypatch, film_of):
    """A quick plan on fields of 16 px, with a real movie and two channels."""
    monkeypatch.setattr(plans, "QUICK_FIELD_PX", 16)
    patch, field = film(film_of("m.tif", (12, 20, 20)), seed=1, patch_px=16, pixel_size_nm=160.0)
    paths = film_of("a.tif", (12, 16, 16)), film_of("b.tif", (12, 16, 16))
    pair = channel_pair(paths, partial(film, seed=1, pixel_size_nm=160.0))
    return Plan(seed=SEED, quick=True, patches=(patch,), fields=(field,), channels=pair)


def keys(tasks):
    return {case.key for case, _ in tasks}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_reports_and_pictures_come_of_outcomes(name, plan, invented, tmp_path):
    experiment = EXPERIMENTS[name]
    tasks = experiment.tasks(plan)
    outcomes = invented(tasks)
    report = experiment.report(outcomes)
    if name != "channels":  # it compares one method's two images
        for case, _ in tasks:
            assert case.contestant.name in report
    path = tmp_path / "figure.png"
    experiment.draw(outcomes, path)
    assert imread(path).shape[1] > 1000


def test_the_eight_areas_of_the_paper_under_each_preset():
    whole = areas(Plan(seed=SEED))
    kinds = [(area.preset, area.structure) for area in whole]
    assert len(set(whole)) == 16
    assert {kinds.count(kind) for kind in kinds} == {4}
    assert all((a.field_px, a.n_frames) == (60, 200) for a in whole)


def test_stages_and_run_times_need_no_case_of_their_own(plan):
    simulated = replace(plan, patches=())
    known = keys(EXPERIMENTS["areas"].tasks(simulated))
    assert keys(EXPERIMENTS["stages"].tasks(simulated)) < known
    assert keys(EXPERIMENTS["runtime"].tasks(simulated)) < known


def test_families_are_all_pairs_with_their_published_seeds():
    movies = {case.source for case, _ in EXPERIMENTS["families"].tasks(Plan(seed=SEED))}
    assert len(movies) == len(FAMILIES) * len(REGIMES)
    assert {m.seed for m in movies if m.structure == "filaments" and m.preset == "meos3.2"} == {
        23_929
    }


def test_real_movies_need_paths_and_3b_gets_no_whole_field(plan):
    for name in ("patches", "fields"):
        assert EXPERIMENTS[name].tasks(Plan(seed=SEED)) == []
        assert EXPERIMENTS[name].needs
    methods = [
        {case.contestant.method for case, _ in EXPERIMENTS[name].tasks(plan)}
        for name in ("patches", "fields")
    ]
    assert methods == [
        {"mean", "rl", "sofi", "3b", "bayes", "network", "dlbi"},
        {"mean", "rl", "sofi", "network", "dlbi"},
    ]


def test_nanopyx_takes_part_where_it_is_installed(plan, monkeypatch):
    for installed in (False, True):
        monkeypatch.setattr(area_module, "esrrf_is_installed", lambda there=installed: there)
        methods = [c.method for c in area_module.contestants(plan)]
        assert ("esrrf" in methods) is installed


def test_only_the_ablations_must_be_asked_for():
    assert set(ASKED_FOR) == {"ablations"}
    assert all(NOT_REPRODUCED.values())


def test_a_change_is_taken_on_the_same_movie(outcome, tiny):
    found = []
    for seed, structure, base in ((1, "rings", 0.9), (2, "mesh", 0.5)):
        movie = replace(tiny, seed=seed, structure=structure)
        found.append(outcome(BASE, {"corr_2px": base}, source=movie))
        found.append(outcome("dim", {"corr_2px": base - 0.1 * seed},
                             source=replace(movie, light=0.5)))  # fmt: skip
    changes = change_by_name(found, "corr_2px")
    assert changes[BASE] == (0.0, 0.0)
    assert changes["dim"] == (pytest.approx(-0.15), pytest.approx(0.1 / np.sqrt(2)))


def test_every_handicap_is_a_case_of_its_own():
    tasks = EXPERIMENTS["ablations"].tasks(Plan(seed=SEED))
    names = {case.contestant.name for case, _ in tasks}
    assert len(keys(tasks)) == len(tasks)
    assert {"no network (bayes)", "no refinement (network)", "one chain instead of two",
            "PSF 20 % too narrow", "20 frames", "half the light"} <= names  # fmt: skip


@pytest.mark.parametrize("moved", [(0, 0), (3, -5), (-7, 2)])
def test_the_shift_between_channels_has_its_sign(moved):
    image = np.random.default_rng(2).random((48, 40)).astype(np.float32)
    assert shift_px(image, np.roll(image, moved, axis=(0, 1))) == moved


def test_correlation_of_channels_rises_with_the_blur_that_hides_their_grain():
    rng = np.random.default_rng(2)
    field = np.zeros((64, 64), np.float32)
    field[20:40] = 1.0
    a, b = (field * rng.poisson(1.0, field.shape).astype(np.float32) for _ in range(2))
    grainy, smooth = blurred_correlation(a, b, 0.0), blurred_correlation(a, b, 2.0)
    assert grainy < 0.6 < 0.95 < smooth


def test_error_maps_of_a_movie_share_one_scale(plan, invented):
    group = invented(EXPERIMENTS["patches"].tasks(plan)[:3])
    maps = error_maps(group)
    assert [m.title for m in maps] == [f"error, {o.case.contestant.name}" for o in group]
    assert {m.limits for m in maps} == {(0.0, max(intensity_limits(m.image)[1] for m in maps))}
    subject = group[0].case.source.load()
    haze = measure(subject.stack).background.haze
    expected = score_movie(group[0].image(), subject.stack, background=haze).error_map
    np.testing.assert_array_equal(maps[0].image, expected)


def test_a_channel_that_failed_is_told_and_the_other_shown(plan, invented, tmp_path):
    first, second = invented(EXPERIMENTS["channels"].tasks(plan))
    failed = replace(second, scores={}, picture=None)
    channels = EXPERIMENTS["channels"]
    assert "could not be reconstructed" in channels.report([first, failed])
    channels.draw([first, failed], tmp_path / "one.png")
    channels.draw([first, second], tmp_path / "both.png")
    one, both = (imread(tmp_path / f"{name}.png") for name in ("one", "both"))
    assert one.shape[0] > both.shape[0]  # two pictures in a row of the same width are larger


def test_ablations_show_means_and_changes(outcome, tiny):
    found = []
    for seed, structure in ((1, "rings"), (2, "mesh")):
        movie = replace(tiny, seed=seed, structure=structure)
        found.append(outcome(BASE, {"corr_2px": 0.9, "psnr_ls_db": 20.0}, source=movie))
        worse = {"corr_2px": 0.9 - 0.1 * seed, "psnr_ls_db": 20.0 - 1e-9}
        found.append(outcome("dim", worse, source=replace(movie, light=0.5)))
    report = EXPERIMENTS["ablations"].report(found)
    assert f"| {BASE} | 0.900 | – | 20.00 | – | – | 2.0 |" in report
    assert "| dim | 0.750 (-0.150 ± 0.071) | – | 20.00 (+0.00 ± 0.00) | – |" in report
