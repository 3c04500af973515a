"""Calibrations come back as they were written, and faults are told in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import FileFormatError, InputError, OutputError
from dlbi.core.scope import Estimate
from dlbi.io.saving import save
from dlbi.io.scopes import load_scope, save_scope, scope_text

origins = st.sampled_from(["movie", "bounds", "prior"])
amounts = st.floats(0.0, 1e300, allow_subnormal=False)


@given(st.lists(amounts, min_size=3, max_size=3), origins, st.floats(-1e9, 1e9))
def test_every_figure_comes_back(tmp_path_factory, scope, figures, origin, level):
    low, value, high = sorted(figures)
    changed = replace(scope, level=level, n_emitters=Estimate(value, low, high, origin))
    path = tmp_path_factory.mktemp("scope") / "scope.toml"
    assert load_scope(save_scope(path, changed)) == changed


def test_save_writes_scopes_and_replaces_nothing_unasked(tmp_path, scope):
    (path,) = save(scope, tmp_path / "s.toml")
    assert load_scope(path) == scope
    with pytest.raises(OutputError, match="exists already"):
        save(scope, path)
    with pytest.raises(OutputError, match=r"end it in one of \.toml"):
        save(scope, tmp_path / "s.tif")
    assert [p.name for p in tmp_path.iterdir()] == ["s.toml"]


FAULTS = {
    "unknown head": ("level = ", "stage = ", "unknown key 'stage'"),
    "unknown table": ("[gain]", "[gian]", "unknown key 'gian'"),
    "unknown key": ("low = 1.9", "least = 1.9", r"unknown key 'least' in \[gain\]"),
    "missing key": ("low = 1.9\n", "", r"the key 'low' in \[gain\] is missing"),
    "missing head": ("n_frames = 200\n", "", "the key 'n_frames' is missing"),
    "no format": ("format = 3\n", "", "needs format = 3, got None"),
    "other format": ("format = 3\n", "format = 2\n", "needs format = 3, got 2"),
    "text": ("value = 2.0", 'value = "two"', r"value in \[gain\] must be a number, got 'two'"),
    "truth value": ("value = 2.0", "value = true", r"value in \[gain\] must be a number"),
    "not a number": ("value = 2.0", "value = nan", r"\[gain\]: value, low and high must be finite"),
    "infinite": ("high = 2.1", "high = inf", r"\[gain\]: value, low and high must be finite"),
    "outside": ("value = 2.0", "value = 7.0", r"\[gain\]: the value 7 must lie in its interval"),
    "impossible": ("low = 1.9", "low = -1.9", "gain: -1.9 is impossible"),
    "origin": (
        'high = 2.1\norigin = "movie"',
        'high = 2.1\norigin = "me"',
        r"\[gain\]: the origin",
    ),
    "half a frame": ("n_frames = 200", "n_frames = 200.5", "n_frames must be a whole number"),
    "negative pixels": ("pixel_size_nm = 160.0", "pixel_size_nm = -160.0", "must be positive"),
    "no table": ("[gain]", "[gain.camera]", r"unknown key 'camera' in \[gain\]"),
    "no TOML": ("[gain]", "[gain", "is not a readable TOML file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_told(tmp_path, scope, fault):
    old, new, says = FAULTS[fault]
    head, table, tail = scope_text(scope).partition("[gain]")
    in_head = old in head.partition("[psf_fwhm_nm]")[0]
    head, rest = (head.replace(old, new, 1), table + tail) if in_head else (
        head, (table + tail).replace(old, new, 1)
    )  # fmt: skip
    text = head + rest
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((InputError, FileFormatError), match=says) as error:
        load_scope(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        load_scope(tmp_path / "none.toml")
