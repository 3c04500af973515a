import threading

import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import derived_seed
from dlbi.inference.chains import run_chains
from dlbi.inference.posterior import PosteriorMaps
from dlbi.inference.refinement import Refinement

GRID = PixelGrid((32, 40), 20.0)
N_SWEEPS = 200


def refinement(seed, *, jump=0.0):
    """A chain of sweeps in which spots of random light stand still, or jump with the seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[4:32:8, 4:40:8]
    level = 1.0 + jump * rng.standard_normal(y.size)
    maps = PosteriorMaps(GRID, 8)
    for _ in range(N_SWEEPS):
        maps.add(y.ravel() * 1.0, x.ravel() * 1.0, level + 0.1 * rng.standard_normal(y.size))
    emitters = Emitters(np.array([float(seed % 97)]), np.zeros(1))
    return Refinement(maps, emitters, BlinkingChain(0.5, 0.1), 2.0, 1.0, [seed], True)


def chain(*, seed, n_workers, progress, **options):
    for done in range(3):
        progress(done + 1, 3)
    return refinement(seed, **options)


def test_one_chain_is_that_chain():
    alone = refinement(7)
    found = run_chains(chain, 1, seed=7)
    np.testing.assert_array_equal(found.density, alone.maps.mean())
    np.testing.assert_allclose(found.std, alone.maps.std(), atol=1e-6)
    np.testing.assert_array_equal(found.p_empty, alone.maps.p_empty())
    assert found.diagnostics == {"chains": [alone.diagnostics()]}


def test_chains_are_averaged_and_their_differences_count():
    seeds = [3, derived_seed(3, "chain", 1), derived_seed(3, "chain", 2)]
    alone = [refinement(seed, jump=0.5) for seed in seeds]
    found = run_chains(lambda **a: chain(**a, jump=0.5), 3, seed=3)
    means = np.array([r.maps.mean() for r in alone])
    np.testing.assert_allclose(found.density, means.mean(axis=0), atol=1e-6)
    within = np.mean([r.maps.std().astype(float) ** 2 for r in alone], axis=0)
    expected = np.sqrt(within + means.var(axis=0, ddof=1))
    np.testing.assert_allclose(found.std, expected, atol=1e-5)
    np.testing.assert_array_equal(found.emitters.x_nm, alone[0].emitters.x_nm)
    empty = found.p_empty[4, 4], found.p_empty[0, 0]
    assert empty == pytest.approx((0.5 / (3 * N_SWEEPS + 1), 1 - 0.5 / (3 * N_SWEEPS + 1)))


def test_r_hat_is_one_for_chains_that_agree_and_the_ratio_of_spreads_for_those_that_do_not():
    same = run_chains(chain, 4, seed=1).diagnostics
    assert same["r_hat_median"] == pytest.approx(1.0, abs=0.02)
    apart = run_chains(lambda **a: chain(**a, jump=0.5), 20, seed=1).diagnostics
    assert apart["r_hat_median"] == pytest.approx(np.sqrt(1 + (0.5 / 0.1) ** 2), rel=0.15)
    assert apart["r_hat_95"] > apart["r_hat_median"]


def test_workers_change_nothing_and_progress_counts_all_sweeps():
    steps, seen = [], set()

    def threaded(*, seed, n_workers, progress):
        seen.add(threading.current_thread().name)
        assert n_workers == 2
        return chain(seed=seed, n_workers=n_workers, progress=progress)

    one = run_chains(chain, 3, seed=5)
    many = run_chains(threaded, 3, seed=5, n_workers=6, progress=lambda *s: steps.append(s))
    np.testing.assert_array_equal(one.density, many.density)
    assert one.diagnostics == many.diagnostics
    assert steps == [(n, 9) for n in range(1, 10)]
    assert threading.main_thread().name not in seen
