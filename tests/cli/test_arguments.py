"""Options that several commands share are read as they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.cli.arguments import parse_frames, parse_roi
from dlbi.core.errors import InputError


@given(st.tuples(*[st.integers(0, 10**6)] * 4))
def test_roi_is_read_as_written(roi):
    assert parse_roi(",".join(map(str, roi))) == roi
    assert parse_roi(", ".join(map(str, roi))) == roi


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,-4", "a,b,c,d", "1.5,2,3,4"])
def test_roi_that_cannot_be_read(text):
    with pytest.raises(InputError, match=r"--roi .*X,Y,W,H"):
        parse_roi(text)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("0:5", (0, 5, 1)), ("3:", (3, None, 1)), (":7", (0, 7, 1)), (":", (0, None, 1)),
        (" 1 : 2 ", (1, 2, 1)), ("1:200:2", (1, 200, 2)), ("::3", (0, None, 3)),
        (None, (0, None, 1)),
    ],
)  # fmt: skip
def test_frames_are_read_as_written(text, frames):
    assert parse_frames(text) == slice(*frames)


@pytest.mark.parametrize("text", ["", "5", "1:2:3:4", "-3:4", "a:b", "0:9:-1", "0:9:1.5"])
def test_frames_that_cannot_be_read(text):
    with pytest.raises(InputError, match=r"--frames .*A:B"):
        parse_frames(text)


def test_a_step_of_no_frame_is_refused():
    with pytest.raises(InputError, match="--frames 0:9:0: the step must be at least 1"):
        parse_frames("0:9:0")
