import threading
from functools import partial

import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import derived_seed
from dlbi.inference.hmm.chains import run_chains
from dlbi.inference.hmm.maps import PosteriorMaps
from dlbi.inference.hmm.refinement import Refinement, Schedule

GRID = PixelGrid((32, 40), 20.0)
N_SWEEPS = 200


class Spots:
    """A chain in whose sweeps spots of random light stand still, or jump with the seed."""

    def __init__(self, *, seed, jump=0.0, noise=0.1, threads=None):
        self.seed, self.noise, self.done = seed, noise, 0
        self.rng = np.random.default_rng(seed)
        self.y, self.x = (c.ravel() * 1.0 for c in np.mgrid[4:32:8, 4:40:8])
        self.level = 1.0 + jump * self.rng.standard_normal(self.y.size)
        self.threads = set() if threads is None else threads
        self.maps = PosteriorMaps(GRID, 8)

    def run(self, n_sweeps, *, n_workers, progress):
        self.threads.add((threading.current_thread().name, n_workers))
        while self.done < n_sweeps:
            light = self.level + self.noise * self.rng.standard_normal(self.y.size)
            self.maps.add(self.y, self.x, light)
            self.done += 1
            progress(self.done)

    def result(self):
        emitters = Emitters(np.array([float(self.seed % 97)]), np.zeros(1))
        chain = BlinkingChain(0.5, 0.1)
        return Refinement(self.maps, emitters, chain, 2.0, 1.0, [self.seed], True)


def alone(seed, **options):
    chain = Spots(seed=seed, **options)
    chain.run(N_SWEEPS, n_workers=1, progress=lambda done: None)
    return chain.result()


def schedule(n_chains, **changes):
    return Schedule(**{"n_sweeps": N_SWEEPS, "n_burn_in": 0, "n_chains": n_chains} | changes)


def test_one_chain_is_that_chain():
    expected = alone(7)
    found = run_chains(Spots, schedule(1, enough=0.0), seed=7)
    np.testing.assert_array_equal(found.density, expected.maps.mean())
    np.testing.assert_allclose(found.std, expected.maps.std(), atol=1e-6)
    np.testing.assert_array_equal(found.p_empty, expected.maps.p_empty())
    told = {"n_sweeps": N_SWEEPS, "stopped": False, "chains": [expected.diagnostics()]}
    assert found.diagnostics == told


def test_chains_are_averaged_and_their_differences_count():
    seeds = [3, derived_seed(3, "chain", 1), derived_seed(3, "chain", 2)]
    each = [alone(seed, jump=0.5) for seed in seeds]
    found = run_chains(partial(Spots, jump=0.5), schedule(3), seed=3)
    means = np.array([r.maps.mean() for r in each])
    np.testing.assert_allclose(found.density, means.mean(axis=0), atol=1e-6)
    within = np.mean([r.maps.std().astype(float) ** 2 for r in each], axis=0)
    expected = np.sqrt(within + means.var(axis=0, ddof=1))
    np.testing.assert_allclose(found.std, expected, atol=1e-5)
    np.testing.assert_array_equal(found.emitters.x_nm, each[0].emitters.x_nm)
    empty = found.p_empty[4, 4], found.p_empty[0, 0]
    assert empty == pytest.approx((0.5 / (3 * N_SWEEPS + 1), 1 - 0.5 / (3 * N_SWEEPS + 1)))


def test_r_hat_is_one_for_chains_that_agree_and_the_ratio_of_spreads_for_those_that_do_not():
    same = run_chains(Spots, schedule(4), seed=1).diagnostics
    assert same["r_hat_median"] == pytest.approx(1.0, abs=0.02)
    apart = run_chains(partial(Spots, jump=0.5), schedule(20), seed=1).diagnostics
    assert apart["r_hat_median"] == pytest.approx(np.sqrt(1 + (0.5 / 0.1) ** 2), rel=0.15)
    assert apart["r_hat_95"] > apart["r_hat_median"]


def test_chains_stop_at_the_first_look_at_which_they_agree():
    found = run_chains(partial(Spots, noise=0.5), schedule(2, enough=0.85), seed=1).diagnostics
    looks = {int(done): value for done, value in found["agreement"].items()}
    last = max(looks)
    assert found["stopped"]
    assert found["n_sweeps"] == last < N_SWEEPS
    assert looks.pop(last) >= 0.85
    assert looks
    assert max(looks.values()) < 0.85


def test_chains_that_never_agree_make_all_their_sweeps():
    never = run_chains(partial(Spots, jump=0.5), schedule(2, enough=0.9999), seed=1).diagnostics
    assert (never["n_sweeps"], never["stopped"]) == (N_SWEEPS, False)


def test_chains_whose_images_are_alike_go_on_while_they_differ_more_than_each_varies():
    """Spots 2 % apart still correlate well, and vary by 0.1 % in each chain."""
    options = schedule(2, enough=0.9)
    apart = run_chains(partial(Spots, jump=0.02, noise=0.001), options, seed=1).diagnostics
    assert min(apart["agreement"].values()) > 0.9
    assert apart["r_hat_median"] > 1.5
    assert (apart["n_sweeps"], apart["stopped"]) == (N_SWEEPS, False)
    alike = run_chains(partial(Spots, jump=0.0, noise=0.001), options, seed=1).diagnostics
    assert alike["stopped"]


def test_chains_that_agree_at_once_still_keep_ten_sweeps():
    options = schedule(2, n_burn_in=18, enough=-1.0)
    assert run_chains(Spots, options, seed=1).diagnostics["n_sweeps"] == 28


@pytest.mark.parametrize(
    ("n_workers", "threads"), [(1, {1}), (2, {1}), (3, {1}), (4, {1, 2}), (7, {2, 3})]
)
def test_workers_are_shared_by_the_chains_and_change_nothing(n_workers, threads):
    one = run_chains(Spots, schedule(3, enough=0.999), seed=5)
    seen, steps, looks = set(), [], []
    many = run_chains(
        partial(Spots, threads=seen), schedule(3, enough=0.999), seed=5, n_workers=n_workers,
        progress=lambda *s: steps.append(s), on_preview=lambda: looks.append(len(steps)),
    )  # fmt: skip
    np.testing.assert_array_equal(one.density, many.density)
    assert one.diagnostics == many.diagnostics
    assert {n for _, n in seen} == threads
    main = threading.main_thread().name
    assert {name == main for name, _ in seen} == {n_workers == 1}
    made = 3 * many.diagnostics["n_sweeps"]
    assert steps[:made] == [(n, 3 * N_SWEEPS) for n in range(1, made + 1)]
    assert steps[-1] == (3 * N_SWEEPS, 3 * N_SWEEPS)
    assert looks == [60]
