import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.rng import stream
from dlbi.simulation.structures import KINDS
from dlbi.training.scenes import (
    FAMILIES,
    REGIMES,
    UNSEEN_FAMILIES,
    USUAL_FRAMES,
    draw_experiment,
    plain,
    tailed,
)

GRID = PixelGrid((128, 128), 20.0)


def draws(n: int, **options: object) -> list:
    settings = {"n_frames": (20, 400)} | options
    return [draw_experiment(GRID, stream(i, "test"), **settings) for i in range(n)]


def test_shares_add_up_and_unseen_families_stay_unseen() -> None:
    for shares in (FAMILIES, REGIMES, UNSEEN_FAMILIES):
        assert sum(shares.values()) == pytest.approx(1.0)
    assert set(FAMILIES) | set(UNSEEN_FAMILIES) == set(KINDS)
    assert not set(FAMILIES) & set(UNSEEN_FAMILIES)


def test_families_and_regimes_come_in_their_shares() -> None:
    n = 300
    found = draws(n, families={"points": 0.75, "haze": 0.25})
    for name, share, key in (("points", 0.75, "family"), ("camera", REGIMES["camera"], "regime")):
        count = sum(getattr(e, key) == name for e in found)
        assert abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share)), name
    assert {e.regime for e in found} == set(REGIMES)


def test_lengths_lie_in_the_range_and_often_are_the_papers() -> None:
    found = [e.n_frames for e in draws(200, families={"haze": 1.0})]
    assert min(found) >= 20
    assert max(found) <= 400
    usual = sum(n == USUAL_FRAMES for n in found)
    assert abs(usual - 80) < 4 * np.sqrt(200 * 0.4 * 0.6)
    short = [e.n_frames for e in draws(50, families={"haze": 1.0}, n_frames=(20, 50))]
    assert USUAL_FRAMES not in short
    assert len(set(short)) > 10


def test_only_haze_goes_out_of_focus() -> None:
    found = draws(60, families={"haze": 0.5, "points": 0.5})
    assert all(e.defocus == 1.0 for e in found if e.family == "points")
    hazy = [e.defocus for e in found if e.family == "haze"]
    assert 0 < sum(d > 2.0 for d in hazy) < len(hazy)


def test_same_stream_same_experiment() -> None:
    one, two = (draw_experiment(GRID, stream(4, "x"), n_frames=(20, 400)) for _ in range(2))
    np.testing.assert_array_equal(one.structure.density, two.structure.density)
    assert one.scene == two.scene
    assert one[4:] == two[4:]


def test_tailed_scenes_have_halos_and_smearing_emccds() -> None:
    scopes = [tailed(stream(i, "tailed")).microscope for i in range(200)]
    shares = [scope.halo.share for scope in scopes]
    assert 0.1 <= min(shares) < 0.15
    assert 0.45 < max(shares) <= 0.5
    ratios = [scope.halo.sigma_nm / scope.psf.sigma_nm for scope in scopes]
    assert 2.0 <= min(ratios) < max(ratios) <= 4.0
    smears = {scope.camera.em_gain > 1.0: [] for scope in scopes}
    for scope in scopes:
        smears[scope.camera.em_gain > 1.0].append(scope.camera.smear)
    assert not any(smears[False])
    assert 0.3 < max(smears[True]) <= 0.4


def test_plain_scenes_cover_sparse_and_dense() -> None:
    numbers = [plain(stream(i, "plain")).labelling.n_emitters for i in range(200)]
    assert min(numbers) < 1000
    assert max(numbers) > 20_000
