from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dlbi.core.errors import FileFormatError, InputError
from dlbi.core.rng import derived_seed
from dlbi.training.pairs import make_pair
from dlbi.training.pool import DataConfig, make_pool, open_pool

CONFIG = DataConfig(n_series=3, n_validation=2, field_px=16, n_frames=(20, 24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    make_pool(folder, CONFIG, 11, "training")
    return folder


def test_series_are_those_of_their_seeds(folder: Path) -> None:
    pool = open_pool(folder, "training")
    assert len(pool) == 3
    pair = make_pair(
        derived_seed(11, "training", 2),
        field_px=16,
        n_frames=(20, 24),
        families=CONFIG.families,
        regimes=CONFIG.regimes,
    )
    for name, values in pair.arrays().items():
        stored = pool.arrays[name][2]
        np.testing.assert_allclose(stored, values, rtol=1e-3, atol=1e-3)
    assert pool.records[2] == pair.record()


def test_an_interrupted_pool_goes_on(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_pool(tmp_path, CONFIG, 11, "training")
    records = tmp_path / "training" / "records.jsonl"
    lines = records.read_text("utf-8").splitlines(keepends=True)
    records.write_text(lines[0], "utf-8")
    with pytest.raises(FileFormatError, match="1 of 3 series"):
        open_pool(tmp_path, "training")
    records.write_text(lines[0] + lines[1][:20], "utf-8")  # killed while writing
    broken = np.load(tmp_path / "training" / "target.npy", mmap_mode="r+")
    broken[1:] = 0
    broken.flush()
    make_pool(tmp_path, CONFIG, 11, "training", progress=lambda *s: seen.append(s))
    again = open_pool(tmp_path, "training")
    whole = open_pool(folder, "training")
    np.testing.assert_array_equal(again.arrays["target"], whole.arrays["target"])
    assert again.records == whole.records
    assert seen == [(3, 3)]


def test_other_settings_do_not_mix(folder: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        make_pool(folder, CONFIG, 12, "training")


def test_no_pool(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match="holds no training series"):
        open_pool(tmp_path, "training")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_frames": (50, 20)}, "n_frames must rise"),
        ({"view": "frames"}, "one length"),
        ({"families": {"unicorns": 1.0}}, "unicorns"),
        ({"regimes": {"dream": 1.0}}, "dream"),
        ({"families": {}}, "families"),
        ({"field_px": 8}, "field_px"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_impossible_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataConfig.model_validate({"n_series": 3, "n_validation": 2} | change)
