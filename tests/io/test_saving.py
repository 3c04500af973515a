"""`save` writes each kind of result in its own format."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.emitters import Emitters
from dlbi.core.errors import InputError, OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.io.images import load_structure
from dlbi.io.reconstructions import load_reconstruction
from dlbi.io.saving import save
from dlbi.io.stacks import load_stack
from dlbi.io.tables import load_emitters

GRID = PixelGrid((12, 10), 100.0)
IMAGE = np.arange(120, dtype=np.float32).reshape(12, 10)


def test_every_kind_comes_back(tmp_path, movie):
    files = save(Reconstruction(IMAGE, GRID, std=IMAGE), tmp_path / "sr.tif")
    assert [p.name for p in files] == ["sr.tif", "sr.std.tif", "sr.provenance.json"]
    np.testing.assert_array_equal(load_reconstruction(files[0]).std, IMAGE)
    files = save(ImageStack(movie, GRID), tmp_path / "m.tif")
    np.testing.assert_array_equal(load_stack(*files).data[:], movie)
    files = save(StructureImage(IMAGE, GRID), str(tmp_path / "s.tif"))
    np.testing.assert_array_equal(load_structure(*files).density, IMAGE)
    files = save(Emitters(np.array([1.0]), np.array([2.0])), tmp_path / "e.csv")
    assert load_emitters(*files).y_nm == [2.0]


def test_nothing_is_replaced_unasked(tmp_path):
    save(StructureImage(IMAGE, GRID), tmp_path / "s.tif")
    with pytest.raises(OutputError, match="exists already"):
        save(StructureImage(IMAGE, GRID), tmp_path / "s.tif")
    save(StructureImage(IMAGE, GRID), tmp_path / "s.tif", overwrite=True)


def test_other_kinds_have_no_format(tmp_path):
    with pytest.raises(InputError, match="a dict has no file format"):
        save({"a": 1}, tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []
