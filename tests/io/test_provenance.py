"""Provenance is strict JSON that identifies software, input, settings, seed and time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dlbi
from dlbi.core.errors import FileFormatError, InputError, OutputError
from dlbi.io.provenance import (
    content_sha256,
    describe,
    first_difference,
    load_json,
    plain,
    save_json,
    software_versions,
)


@dataclass(frozen=True)
class Config:
    sweeps: int
    folder: Path
    limits: tuple[float, float]


def test_description(tmp_path):
    movie = tmp_path / "movie.tif"
    movie.write_bytes(b"frames" * 1000)
    started = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    record = describe(
        inputs=movie,
        command=["dlbi", "reconstruct"],
        config=Config(60, Path("d"), (0.0, np.inf)),
        seed=7,
        started=started,
    )
    assert record["inputs"] == [
        {
            "name": "movie.tif",
            "bytes": 6000,
            "sha256": hashlib.sha256(b"frames" * 1000).hexdigest(),
        }
    ]
    assert record["config"] == {"sweeps": 60, "folder": "d", "limits": [0.0, None]}
    assert record["seed"] == 7
    assert record["command"] == ["dlbi", "reconstruct"]
    assert record["started_utc"] == "2026-03-01T10:00:00+00:00"
    assert record["software"]["dlbi"] == dlbi.__version__
    assert record["software"]["numpy"] == np.__version__
    assert {"python", "scipy", "numba", "tifffile"} <= set(software_versions())
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_time_is_now_in_utc_and_the_rest_repeats():
    before = datetime.now(UTC)
    a, b = describe(seed=1), describe(seed=1)
    assert before <= datetime.fromisoformat(a.pop("started_utc")) <= datetime.now(UTC)
    b.pop("started_utc")
    assert a == b


def test_hash_of_a_folder_depends_on_names_and_contents(tmp_path):
    def folder(name, files):
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return content_sha256(tmp_path / name)

    reference = folder("a", {"x.tif": "1", "sub/y.tif": "2"})
    assert folder("b", {"sub/y.tif": "2", "x.tif": "1"}) == reference
    assert folder("c", {"x.tif": "2", "sub/y.tif": "1"}) != reference
    assert folder("d", {"x.tif": "1", "y.tif": "2"}) != reference
    assert folder("e", {"x.tif": "1", "sub/y.tif": "2", "z": ""}) != reference
    assert describe(inputs=[tmp_path / "a"])["inputs"][0]["bytes"] == 2
    with pytest.raises(InputError, match="cannot be read"):
        content_sha256(tmp_path / "nowhere")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(JSON_VALUES)
def test_plain_is_strict_and_idempotent(value):
    result = plain(value)
    assert plain(result) == result
    json.dumps(result, allow_nan=False)


def test_plain_turns_scientific_types_into_json():
    value = {
        "scalar": np.float32(0.5),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "matrix": np.array([[1.0, np.nan]]),
        1: (2, 3),
        "path": Path("a") / "b",
        "config": Config(1, Path("c"), (1.0, 2.0)),
    }
    assert plain(value) == {
        "scalar": 0.5,
        "count": 3,
        "flag": True,
        "matrix": [[1.0, None]],
        "1": [2, 3],
        "path": "a/b",
        "config": {"sweeps": 1, "folder": "c", "limits": [1.0, 2.0]},
    }


def test_json_files(tmp_path):
    content = {"µ": [1, 2.5, None], "nested": {"a": "b"}}
    path = save_json(tmp_path / "p.json", content)
    assert load_json(path) == content
    assert path.read_text(encoding="utf-8").endswith("}\n")
    with pytest.raises(OutputError, match="--overwrite"):
        save_json(path, content)
    path.write_text("[1]")
    with pytest.raises(FileFormatError, match="holds a JSON list"):
        load_json(path)
    path.write_text('{"a": ')
    with pytest.raises(FileFormatError, match="is not a readable JSON file"):
        load_json(path)


def test_runs_that_give_the_same_bytes_do_not_differ(tmp_path):
    (tmp_path / "m.tif").write_bytes(b"frames")
    options = {"inputs": tmp_path / "m.tif", "seed": 3}
    record = describe(config={"quality": "best", "n_workers": 1}, command=["a"], **options)
    again = json.loads(json.dumps(describe(
        config={"quality": "best", "n_workers": 2}, command=["b"],
        started=datetime(2026, 3, 1, tzinfo=UTC), **options,
    )))  # fmt: skip
    assert first_difference(record, again) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 4}, "seed 4, not 3"),
        ({"config": {"quality": "preview"}}, "quality preview, not best"),
        ({"config": {}}, "quality nothing, not best"),
        ({"config": {"quality": "best", "window": 9}}, "window 9, not nothing"),
        ({"inputs": []}, "the number of inputs 0, not 1"),
        (
            {"inputs": [{"name": "m", "sha256": "f" * 64}]},
            "SHA-256 of m ffffffffffff…, not aaaaaaaaaaaa…",
        ),
        ({"software": {"dlbi": "0.0"}}, "dlbi 0.0, not 0.1"),
    ],
)
def test_what_gives_other_bytes_is_named(change, says):
    record = {
        "inputs": [{"name": "m", "sha256": "a" * 64}], "config": {"quality": "best"}, "seed": 3,
        "software": {"dlbi": "0.1"},
    }  # fmt: skip
    assert first_difference(record, record | change) == says
