import numba
import numpy as np
import pytest

from dlbi.core.lanes import LANES, load, multiply_add, splat, store, whole_blocks, zero_rows


@numba.njit
def weighted_sum(weights, rows, out):
    for t in range(0, out.size, LANES):
        total = splat(np.float32(0.5))
        for k in range(weights.size):
            total = multiply_add(weights[k], load(rows[k], t), total)
        store(out, t, total)


def test_blocks_add_what_numpy_adds():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(9).astype(np.float32)
    rows = zero_rows((9, 3 * LANES))
    rows[:] = rng.standard_normal(rows.shape)
    out = np.full(4 * LANES, 7.0, np.float32)
    weighted_sum(weights, rows, out[: 3 * LANES])
    np.testing.assert_allclose(out[: 3 * LANES], 0.5 + weights @ rows, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(out[3 * LANES :], 7.0)


def test_blocks_may_begin_anywhere():
    rows = np.arange(2 * LANES + 1, dtype=np.float32)[None]
    out = np.zeros(2 * LANES + 1, np.float32)
    weighted_sum(np.ones(1, np.float32), rows[:, 1:], out[1:])
    np.testing.assert_array_equal(out[1:], rows[0, 1:] + 0.5)
    assert out[0] == 0.0


@pytest.mark.parametrize(("n", "padded"), [(1, LANES), (LANES, LANES), (LANES + 1, 2 * LANES)])
def test_whole_blocks_hold_all_numbers(n, padded):
    assert whole_blocks(n) == padded


def test_zero_rows_begin_on_a_cache_line():
    for shape in [(1, LANES), (3, 5, 2 * LANES)]:
        rows = zero_rows(shape)
        assert rows.shape == shape
        assert rows.dtype == np.float32
        assert not rows.any()
        assert rows.ctypes.data % 64 == 0
