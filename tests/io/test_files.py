"""Names of outputs, refusals before work, and all-or-nothing writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dlbi.core.errors import DlbiError, FileFormatError, InputError, OutputError
from dlbi.io.files import (
    check_writable,
    pending_outputs,
    reading,
    sibling,
    split_suffix,
    writing,
)
from dlbi.io.kinds import file_kind


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("SR.ome.tif", ("SR", ".ome.tif")),
        ("SR.OME.TIFF", ("SR", ".OME.TIFF")),
        ("a.b.tif", ("a.b", ".tif")),
        ("SR.tiff", ("SR", ".tiff")),
        ("t.csv", ("t", ".csv")),
    ],
)
def test_suffixes(name, parts):
    assert split_suffix(Path("somewhere") / name) == parts


@pytest.mark.parametrize("name", ["SR", "SR.foo", ".ome.tif", "tif", "SR.npy"])
def test_unknown_suffix(name):
    with pytest.raises(OutputError, match=r"end it in one of \.ome\.tif"):
        split_suffix(name)


def test_siblings():
    assert sibling("d/SR.ome.tif", "std") == Path("d/SR.std.ome.tif")
    assert sibling("d/SR.tif", "emitters", ".csv") == Path("d/SR.emitters.csv")


def test_check_writable(tmp_path):
    check_writable(tmp_path / "new.tif")
    cases = {
        tmp_path / "missing" / "new.tif": "does not exist; create it",
        tmp_path / "folder.tif": "is a folder",
        tmp_path / "there.tif": "use --overwrite",
        tmp_path / "there.tif" / "new.tif": "does not exist",
        tmp_path / "new.foo": "cannot tell the format",
    }
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "there.tif").write_text("mine")
    for path, says in cases.items():
        with pytest.raises(OutputError, match=says) as caught:
            check_writable([tmp_path / "new.tif", path])
        assert str(caught.value).startswith(str(path))
    check_writable(tmp_path / "there.tif", overwrite=True)
    with pytest.raises(OutputError, match="is a folder"):
        check_writable(tmp_path / "folder.tif", overwrite=True)


@pytest.mark.parametrize("length", [300, 245])
def test_names_too_long_for_the_disk_are_refused(tmp_path, length):
    """Those of the file itself, and those under which it is written first."""
    path = tmp_path / f"{'x' * (length - 4)}.tif"
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(path)
    check_writable(tmp_path / f"{'x' * 230}.tif")


def test_what_went_wrong_is_told_though_the_rest_cannot_be_tidied(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    def fail():
        with pending_outputs(tmp_path / "new.tif"):
            monkeypatch.setattr(Path, "unlink", refuse)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(OutputError, match=r"new.tif: cannot be written \(Permission denied\)"):
        check_writable(tmp_path / "new.tif")
    with pytest.raises(InputError, match=r"movie.tif: cannot be read \(Permission denied\)"):
        file_kind(tmp_path / "movie.tif")


def test_read_only_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    with pytest.raises(OutputError, match="is not writable"):
        check_writable(tmp_path / "new.tif")


def test_outputs_appear_together_at_the_end(tmp_path):
    names = [tmp_path / "a.csv", tmp_path / "b.json"]
    with pending_outputs(names) as parts:
        for name in names:
            parts[name].write_text(name.name)
            assert parts[name].parent == tmp_path
        assert not any(name.exists() for name in names)
    assert sorted(tmp_path.iterdir()) == names
    assert names[0].read_text() == "a.csv"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_error(tmp_path, error):
    def fail():
        with pending_outputs([tmp_path / "a.csv", tmp_path / "b.csv"]) as parts:
            parts[tmp_path / "a.csv"].write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_old_files_survive_an_error(tmp_path):
    old = tmp_path / "a.csv"
    old.write_text("old")

    def fail():
        with pending_outputs(old, overwrite=True) as parts:
            parts[old].write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


def test_failure_while_renaming_leaves_nothing(tmp_path, monkeypatch):
    rename = Path.replace

    def fail_second(self, target):
        if target.name == "b.csv":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail_second)
    names = [tmp_path / "a.csv", tmp_path / "b.csv"]

    def write():
        with pending_outputs(names) as parts:
            for part in parts.values():
                part.write_text("x")

    with pytest.raises(OutputError, match=r"b\.csv: cannot be written \(Input/output error\)"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path):
    path = tmp_path / "a.csv"

    def write():
        with pending_outputs(path) as parts:
            parts[path].write_text("ours")
            path.write_text("theirs")

    with pytest.raises(OutputError, match="exists already"):
        write()
    assert path.read_text() == "theirs"


def test_obsolete_files_go_with_the_old_output(tmp_path):
    old = tmp_path / "a.std.tif"
    old.write_text("old")
    with (
        pytest.raises(OutputError, match="exists already"),
        pending_outputs(tmp_path / "a.tif", obsolete=[old]),
    ):
        pass
    with pending_outputs(tmp_path / "a.tif", obsolete=[old], overwrite=True) as parts:
        parts[tmp_path / "a.tif"].write_text("new")
        assert old.exists()
    assert not old.exists()


def test_errors_are_translated_once():
    with pytest.raises(OutputError, match=r"x: cannot be written \(Denied\)"), writing("x"):
        raise OSError(13, "Denied")
    with pytest.raises(InputError, match=r"x: cannot be read \(Denied\)"), reading("x", "TIFF"):
        raise OSError(13, "Denied")
    says = r"^x: is not a readable TIFF \(two lines\)"
    with pytest.raises(FileFormatError, match=says), reading("x", "TIFF"):
        raise IndexError("two\n   lines")
    with pytest.raises(InputError, match=r"^x: needs more memory.*--roi"), reading("x", "TIFF"):
        raise MemoryError
    for context in (writing("x"), reading("x", "TIFF")):
        with pytest.raises(DlbiError, match=r"^ours$"), context:
            raise OutputError("ours")
