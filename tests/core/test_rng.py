import numba
import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import kstest

from dlbi.core.kernels import fill_normal, fill_uniform, mix, normal_pair, uniform
from dlbi.core.rng import as_generator, root_seed, stream, stream_key

N = 200_000
MASK = (1 << 64) - 1


@numba.njit
def draw_uniforms(key, first, out):
    for i in range(out.size):
        out[i] = uniform(key, np.uint64(first + i))


@numba.njit
def draw_pairs(key, out):
    for i in range(out.shape[0]):
        out[i, 0], out[i, 1] = normal_pair(key, np.uint64(i))


@numba.njit
def draw_bits(key, out):
    for i in range(out.size):
        out[i] = mix(key, np.uint64(i))


@pytest.fixture(scope="module")
def uniforms():
    out = np.empty(N)
    draw_uniforms(stream_key(5, "uniform"), 0, out)
    return out


@pytest.fixture(scope="module")
def normals():
    out = np.empty((N, 2))
    draw_pairs(stream_key(5, "normal"), out)
    return out


def lag_z(x, lag):
    """Lag correlation in units of its standard error 1/√n."""
    return float(np.corrcoef(x[:-lag], x[lag:])[0, 1]) * np.sqrt(len(x) - lag)


def test_same_seed_and_names_repeat_the_stream():
    a, b = (stream(11, "noise", 3).standard_normal(8) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert stream_key(11, "noise", 3) == stream_key(11, "noise", 3)


def test_other_seeds_names_or_numbers_give_uncorrelated_streams():
    keys = [(11, "noise", 3), (12, "noise", 3), (11, "blinking", 3), (11, "noise", 4), (11, 3)]
    draws = np.array([stream(*key).standard_normal(N) for key in keys])
    z = (np.corrcoef(draws) - np.eye(len(keys))) * np.sqrt(N)
    assert np.abs(z).max() < 4.5
    assert len({int(stream_key(*key)) for key in keys}) == len(keys)


def test_root_seed_keeps_an_integer_and_draws_once_from_a_generator():
    assert root_seed(42) == 42
    assert root_seed(np.int64(42)) == 42
    a, b = np.random.default_rng(1), np.random.default_rng(1)
    first, second = root_seed(a), root_seed(a)
    assert first == root_seed(b)
    assert first != second
    assert root_seed(None) != root_seed(None)
    assert 0 <= first < 2**63


def test_as_generator_returns_a_generator_unchanged():
    generator = np.random.default_rng(1)
    assert as_generator(generator) is generator
    assert as_generator(7).random() == np.random.default_rng(7).random()


def test_mix_is_the_split_mix_finaliser_in_exact_integers():
    key = int(stream_key(9, "bits"))
    out = np.empty(50, np.uint64)
    draw_bits(np.uint64(key), out)
    for counter, bits in enumerate(out):
        z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        assert int(bits) == z ^ (z >> 31)


def test_uniform_numbers_fill_the_open_interval_evenly(uniforms):
    assert 0.0 < uniforms.min() < uniforms.max() < 1.0
    assert kstest(uniforms, "uniform").pvalue > 1e-4
    assert abs(uniforms.mean() - 0.5) < 4.5 / np.sqrt(12 * N)


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 64])
def test_uniform_numbers_of_neighbouring_counters_are_uncorrelated(uniforms, lag):
    assert abs(lag_z(uniforms, lag)) < 4.5


def test_uniform_numbers_do_not_depend_on_where_counting_starts(uniforms):
    part = np.empty(100)
    draw_uniforms(stream_key(5, "uniform"), 1000, part)
    np.testing.assert_array_equal(part, uniforms[1000:1100])


def test_normal_pairs_are_box_muller_of_two_counters_each():
    pairs, u = np.empty((50, 2)), np.empty(100)
    draw_pairs(np.uint64(77), pairs)
    draw_uniforms(np.uint64(77), 0, u)
    expected = np.sqrt(-2.0 * np.log(u[::2])) * np.exp(2j * np.pi * u[1::2])
    np.testing.assert_allclose(pairs, np.column_stack([expected.real, expected.imag]), atol=1e-12)


def test_normal_numbers_have_the_moments_of_the_law(normals):
    for column in normals.T:
        assert kstest(column, "norm").pvalue > 1e-4
        # Standard errors of the first four moments of n normal numbers: √(1, 2, 15, 96) / √n.
        moments = [np.mean(column**k) for k in (1, 2, 3, 4)]
        z = (np.array(moments) - [0, 1, 0, 3]) * np.sqrt(N) / np.sqrt([1, 2, 15, 96])
        assert np.abs(z).max() < 4.5


def test_normal_pairs_are_independent_within_and_between(normals):
    first, second = normals.T
    assert abs(np.corrcoef(first, second)[0, 1]) * np.sqrt(N) < 4.5
    assert abs(np.corrcoef(first**2, second**2)[0, 1]) * np.sqrt(N) < 4.5
    assert abs(lag_z(first, 1)) < 4.5
    assert abs(lag_z(normals.ravel(), 2)) < 4.5


def filled_uniforms(key, n):
    u = np.empty(n)
    fill_uniform(key, u)
    return u


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_filled_uniforms_are_the_two_halves_of_each_word(n):
    words = np.empty((n + 1) // 2, np.uint64)
    draw_bits(np.uint64(21), words)
    halves = np.column_stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)])
    expected = (halves.ravel().astype(np.float64) + 0.5) * 2.0**-32
    np.testing.assert_array_equal(filled_uniforms(np.uint64(21), n), expected[:n])


@pytest.mark.parametrize("n", [1, 2, 7, N])
def test_filled_normals_are_the_inverse_law_of_uniforms_of_23_bits(n):
    words = np.empty((n + 1) // 2, np.uint64)
    bits, floats = (words.view(kind)[:n] for kind in (np.int32, np.float32))
    x, normals = np.empty((2, n), np.float32)
    fill_normal(np.uint64(33), words, bits, floats, x, normals)
    drawn = np.empty_like(words)
    draw_bits(np.uint64(33), drawn)
    low = drawn.view(np.uint32)[:n] & 0x7FFFFF
    expected = ndtri((low + 0.5) * 2.0**-23)
    np.testing.assert_allclose(normals, expected, rtol=2e-6, atol=2e-7)


def test_filled_normals_are_normal_and_independent():
    words = np.empty(N // 2, np.uint64)
    bits, floats = words.view(np.int32), words.view(np.float32)
    x, normals = np.empty((2, N), np.float32)
    fill_normal(np.uint64(33), words, bits, floats, x, normals)
    assert np.abs(normals).max() > 4.0
    assert kstest(normals, "norm").pvalue > 1e-4
    assert abs(lag_z(normals, 1)) < 4.5
