"""Outputs are checked before any work, and an input is never one."""

from __future__ import annotations

import os

import numpy as np
import pytest
from tests.cli.movies import counts, write_movie

from dlbi.core.grid import PixelGrid
from dlbi.io.images import save_image


def outputs_of(command, folder, out):
    """Arguments of a command that would work but for its output."""
    movie = folder / "movie.tif"
    if not movie.exists():
        write_movie(movie, counts())
    return {
        "reconstruct": ["reconstruct", movie, "--pixel-size", 160, "--method", "mean"],
        "simulate": ["simulate", "rings", "--size", 64, "--frames", 4],
    }[command] + ["--out", out]


@pytest.mark.parametrize("command", ["reconstruct", "simulate"])
def test_outputs_that_cannot_be_written(tmp_path, refusal, monkeypatch, command):
    def line(out):
        return refusal(tmp_path, *outputs_of(command, tmp_path, out))

    write_movie(tmp_path / "movie.tif", counts())
    (tmp_path / "folder.tif").mkdir()
    assert "does not exist; create it" in line(tmp_path / "nowhere" / "sr.tif")
    assert "is a folder" in line(tmp_path / "folder.tif")
    assert "cannot tell the format" in line(tmp_path / "sr.jpg")
    old = tmp_path / "old.tif"
    old.write_bytes(b"precious")
    assert f"{old}: exists already; use --overwrite" in line(old)
    (tmp_path / "new.provenance.json").write_text("{}")
    assert "new.provenance.json: exists already" in line(tmp_path / "new.tif")
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
    assert "is not writable" in line(tmp_path / "sr.tif")


def test_output_is_checked_before_the_input_is_opened(tmp_path, refusal):
    line = refusal(
        tmp_path, "reconstruct", tmp_path / "missing.tif", "--out", tmp_path / "no" / "sr.tif"
    )
    assert "folder" in line


def test_inputs_are_never_overwritten(tmp_path, refusal):
    movie = write_movie(tmp_path / "movie.tif", counts())
    image = save_image(tmp_path / "s.tif", np.eye(192, dtype="f4"), PixelGrid((192, 192), 20.0))
    for arguments in (
        ["reconstruct", movie, "--out", movie, "--pixel-size", 160],
        ["simulate", image, "--out", image],
        ["simulate", tmp_path / "m.truth.tif", "--out", tmp_path / "m.ome.tif"],
        ["evaluate", image, "--truth", image, "--movie", movie, "--error-map", movie],
    ):
        assert "is an input of this command" in refusal(tmp_path, *arguments, "--overwrite")
