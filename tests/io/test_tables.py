"""Emitters survive ThunderSTORM tables, and tables of other programs are read."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlbi.core.emitters import Emitters
from dlbi.core.errors import FileFormatError, InputError, OutputError, ShapeError
from dlbi.io import tables
from dlbi.io.tables import load_emitters, save_emitters, write_emitter_series

COLUMNS = ("photons", "frames_on", "bleach_frame", "sd_x_nm", "sd_y_nm", "p_real")


@settings(max_examples=40, deadline=None)
@given(
    known=st.sets(st.sampled_from(COLUMNS)),
    n=st.integers(0, 30),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
def test_round_trip(tmp_path_factory, known, n, dtype, seed):
    rng = np.random.default_rng(seed)
    columns = {name: rng.uniform(0, 1e5, n).astype(dtype) for name in ("x_nm", "y_nm", *known)}
    emitters = Emitters(**columns)
    path = tmp_path_factory.mktemp("t") / "t.csv"
    assert save_emitters(path, emitters) == path
    again = load_emitters(path)
    if not ({"sd_x_nm", "sd_y_nm"} & known) or {"sd_x_nm", "sd_y_nm"} <= known:
        assert set(again.columns()) == set(columns)
    for name, column in columns.items():
        np.testing.assert_allclose(getattr(again, name), column, rtol=1e-9)


def test_one_axis_of_the_error_is_not_invented(tmp_path):
    emitters = Emitters(np.ones(2), np.ones(2), sd_x_nm=np.ones(2))
    again = load_emitters(save_emitters(tmp_path / "t.csv", emitters))
    assert set(again.columns()) == {"x_nm", "y_nm", "sd_x_nm"}


def test_file_is_what_thunderstorm_expects(tmp_path):
    emitters = Emitters(
        np.array([80.0, 1234.5678]),
        np.array([240.0, 0.125]),
        photons=np.array([500.0, np.nan]),
        frames_on=np.array([3, 12]),
        sd_x_nm=np.array([3.0, 1.0]),
        sd_y_nm=np.array([4.0, 1.0]),
        p_real=np.array([0.99, 1e-7]),
    )
    path = save_emitters(tmp_path / "t.csv", emitters, sigma_nm=150)
    header, *rows = list(csv.reader(path.open()))
    assert path.read_text().startswith('"id","frame","x [nm]","y [nm]","sigma [nm]",')
    assert header == [
        "id",
        "frame",
        "x [nm]",
        "y [nm]",
        "sigma [nm]",
        "intensity [photon]",
        "uncertainty [nm]",
        "sd_x [nm]",
        "sd_y [nm]",
        "p_real",
        "frames_on",
    ]
    assert rows[0][:6] == ["1", "1", "80", "240", "150", "500"]
    assert float(rows[0][6]) == pytest.approx(np.sqrt(12.5))
    assert rows[0][7:] == ["3", "4", "0.99", "3"]
    assert rows[1][:6] == ["2", "1", "1234.5678", "0.125", "150", "NaN"]


def test_blocks_of_rows_join_seamlessly(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_ROWS_AT_ONCE", 4)
    emitters = Emitters(np.arange(11.0), np.arange(11.0) * 2)
    path = save_emitters(tmp_path / "t.csv", emitters)
    ids = [row.split(",")[0] for row in path.read_text().splitlines()[1:]]
    assert ids == [str(i) for i in range(1, 12)]
    np.testing.assert_array_equal(load_emitters(path).y_nm, emitters.y_nm)


@pytest.mark.parametrize(
    "text",
    [
        # ThunderSTORM
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
        '"bkgstd [photon]","chi2","uncertainty [nm]"\n'
        "1.0,1.0,800.5,1600.25,140.0,900.0,10.0,2.0,1.0,7.5\n",
        # DECODE and Picasso exports: names without quotes, other order and columns
        "frame,uncertainty_xy [nm],y [nm],x [nm],intensity [photon]\n12,7.5,1600.25,800.5,900\n",
        # micrometres, BOM, Windows line ends, upper case
        "\ufeffX [µm],Y [µm],Intensity [Photon],Uncertainty [nm]\r\n0.8005,1.60025,900,7.5\r\n",
    ],
)
def test_tables_of_other_programs(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8", newline="")
    emitters = load_emitters(tmp_path / "t.csv")
    np.testing.assert_allclose(emitters.x_nm, [800.5])
    np.testing.assert_allclose(emitters.y_nm, [1600.25])
    np.testing.assert_allclose(emitters.photons, [900])
    np.testing.assert_allclose(emitters.sd_x_nm, [7.5])
    np.testing.assert_allclose(emitters.sd_y_nm, [7.5])
    assert emitters.p_real is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "needs the columns"),
        (b"a,b\n1,2\n", r"needs the columns 'x \[nm\]' and 'y \[nm\]'.*got a"),
        (b'"x [px]","y [px]"\n1,2\n', r"needs the columns.*export it in nanometres"),
        (b"x,y\n1,2\n", "export it in nanometres"),
        (b'"x [nm]","y [nm]"\n1\n', "is not a readable CSV table"),
        (b'"x [nm]","y [nm]"\n1,=cmd()\n', "is not a readable CSV table"),
        (b'"x [nm]","y [nm]"\n1,__import__("os")\n', "is not a readable CSV table"),
        (b"II*\x00\xff\xfe\xfd" + bytes(range(256)), "is not a readable CSV table"),
        (b"x" * 200_000, "needs the columns"),
    ],
)
def test_not_a_table(tmp_path, content, says):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=says) as caught:
        load_emitters(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 600


def test_bad_positions_and_paths(tmp_path):
    (tmp_path / "t.csv").write_text('"x [nm]","y [nm]"\n1,nan\n')
    with pytest.raises(InputError, match="NaN or infinite"):
        load_emitters(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"nowhere\.csv: cannot be read"):
        load_emitters(tmp_path / "nowhere.csv")
    emitters = Emitters(np.ones(1), np.ones(1))
    with pytest.raises(OutputError, match="--overwrite"):
        save_emitters(tmp_path / "t.csv", emitters)
    with pytest.raises(OutputError, match="cannot tell the format"):
        save_emitters(tmp_path / "t.tif", emitters)


def test_a_series_has_one_header_and_the_columns_of_its_emitters(tmp_path):
    none, some = Emitters(np.zeros(0), np.zeros(0)), Emitters(*np.ones((3, 2)))
    write_emitter_series(tmp_path / "t.csv", iter([none, some, none, some]))
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == [
        '"id","frame","x [nm]","y [nm]","intensity [photon]"',
        "1,2,1,1,1", "2,2,1,1,1", "3,4,1,1,1", "4,4,1,1,1",
    ]  # fmt: skip
    write_emitter_series(tmp_path / "none.csv", [none, none])
    assert len(load_emitters(tmp_path / "none.csv")) == 0
    with pytest.raises(ShapeError, match="frame 2 have other columns"):
        write_emitter_series(tmp_path / "t.csv", [some, Emitters(np.ones(1), np.ones(1))])
