"""Movie files: which part is taken, and what is refused before any work."""

from __future__ import annotations

import shutil
from functools import partial

import numpy as np
import pytest

from dlbi.bench.cases import Case
from dlbi.bench.contestants import BICUBIC
from dlbi.bench.films import channel_pair, film
from dlbi.core.errors import InputError

GIVEN = partial(film, seed=1, pixel_size_nm=160.0)


def test_the_patch_lies_in_the_middle_of_the_whole_field(film_of):
    path = film_of("m.tif", (30, 24, 40))
    patch, field = GIVEN(path, patch_px=20)
    assert patch.roi == (10, 2, 20, 20)
    assert field.roi == (0, 0, 40, 24)
    frames = field.load().stack.load()
    np.testing.assert_array_equal(patch.load().stack.load(), frames[:, 2:22, 10:30])


def test_a_region_may_be_chosen_and_a_small_field_is_its_own_patch(film_of):
    path = film_of("m.tif", (30, 24, 40))
    patch, _ = GIVEN(path, patch_px=20, roi=(3, 4, 16, 17))
    assert patch.roi == (3, 4, 16, 17)
    patch, field = GIVEN(path, patch_px=60)
    assert patch.roi == (0, 0, 40, 24)
    assert field is None


def test_the_first_200_frames_are_taken(film_of):
    patch, _ = GIVEN(film_of("m.tif", (210, 16, 16)), patch_px=16)
    assert patch.load().stack.n_frames == 200


def test_content_decides_and_not_the_folder(film_of, tmp_path):
    path, other = film_of("m.tif", (30, 16, 16)), film_of("n.tif", (31, 16, 16))
    (tmp_path / "folder").mkdir()
    copy = shutil.copy(path, tmp_path / "folder" / "m.tif")
    films = [GIVEN(p, patch_px=16)[0] for p in (path, copy, other)]
    keys = [Case(filmed, BICUBIC).key for filmed in films]
    assert keys[0] == keys[1] != keys[2]
    assert str(tmp_path) not in str(films[0].settings())


def test_what_cannot_be_used_is_refused(film_of, tmp_path):
    with pytest.raises(InputError, match=r"missing\.tif"):
        GIVEN(tmp_path / "missing.tif", patch_px=20)
    path = film_of("m.tif", (30, 24, 40))
    with pytest.raises(InputError, match="16×16 camera pixels, the region has 12×20"):
        GIVEN(path, patch_px=20, roi=(0, 0, 12, 20))
    with pytest.raises(InputError, match="reaches outside"):
        GIVEN(path, patch_px=20, roi=(30, 0, 20, 20))


def test_channels_must_show_one_field(film_of):
    a, b = film_of("a.tif", (30, 16, 20)), film_of("b.tif", (25, 16, 20))
    pair = channel_pair((a, b), GIVEN)
    assert [channel.roi for channel in pair] == [(0, 0, 20, 16)] * 2
    c = film_of("c.tif", (30, 18, 20))
    with pytest.raises(InputError, match="do not show one field: 20×16 px of 160 nm and 20×18 px"):
        channel_pair((a, c), GIVEN)
