from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.rng import stream_key
from dlbi.learning.dropout import dropout_mask, mask_reference

N_PASS = 3


def whole(seed: int, n_pass: int, keep: float = 0.8) -> np.ndarray:
    field = (slice(0, 50), slice(0, 40))
    return dropout_mask(seed, n_pass, keep=keep, n_channels=16, shape=(50, 40), region=field)


@settings(deadline=None)  # the first example compiles
@given(
    st.integers(0, 2**40),
    st.integers(1, 4),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.floats(0.05, 1.0),
    st.data(),
)
def test_a_region_is_a_crop_of_the_reference_mask(seed, n_channels, shape, keep, data):
    y = sorted(data.draw(st.lists(st.integers(0, shape[0]), min_size=2, max_size=2)))
    x = sorted(data.draw(st.lists(st.integers(0, shape[1]), min_size=2, max_size=2)))
    region = slice(*y), slice(*x)
    mask = dropout_mask(seed, N_PASS, keep=keep, n_channels=n_channels, shape=shape, region=region)
    expected = mask_reference(stream_key(seed, "dropout", N_PASS), keep, n_channels, shape)
    np.testing.assert_array_equal(mask, expected[:, *region])


@pytest.mark.parametrize("keep", [0.25, 0.8])
def test_features_are_kept_with_the_stated_probability_and_rescaled(keep):
    mask = whole(5, 0, keep)
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {np.float32(0.0), np.float32(1.0 / keep)}
    kept = (mask > 0).mean()
    assert abs(kept - keep) < 4 * np.sqrt(keep * (1 - keep) / mask.size)


def test_nothing_is_dropped_when_all_is_kept():
    assert (whole(1, 0, 1.0) == 1.0).all()


def test_seeds_passes_and_channels_have_independent_masks():
    here = whole(5, 0)
    others = [whole(5, 1), whole(6, 0), np.roll(here, 1, axis=0)]
    for other in others:
        r = np.corrcoef(here.ravel(), other.ravel())[0, 1]
        assert abs(r) * np.sqrt(here.size) < 4.5


def test_neighbouring_pixels_are_dropped_independently():
    kept = whole(7, 0) > 0
    for a, b in ((kept[:, 1:], kept[:, :-1]), (kept[:, :, 1:], kept[:, :, :-1])):
        r = np.corrcoef(a.ravel(), b.ravel())[0, 1]
        assert abs(r) * np.sqrt(a.size) < 4.5
