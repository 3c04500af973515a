"""Files that are no movie are refused in one line by every command that reads one."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from tests.cli.movies import counts, write_movie

from dlbi.core.grid import PixelGrid
from dlbi.io.images import save_image


def constant(path):
    return write_movie(path, np.full((5, 24, 24), 700, np.uint16))


def truncated(path):
    write_movie(path, counts())
    path.write_bytes(path.read_bytes()[:9000])
    return path


def four_gigabytes_in_a_kilobyte(path):
    header = "ImageJ=1.54f\nimages=32000000\nframes=32000000\nunit=nm\n"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint16), description=header, metadata=None)
    assert path.stat().st_size < 1024
    return path


def with_value(value):
    movie = counts().astype(np.float32)
    movie[7, 3, 2] = value
    return lambda path: write_movie(path, movie)


BAD_MOVIES = {
    "text": (lambda p: p.write_text("frame,x,y") and p, "neither an image nor a movie"),
    "empty": (lambda p: p.write_bytes(b"") or p, "is empty"),
    "missing": (lambda p: p, "no such file"),
    "single frame": (lambda p: write_movie(p, counts()[:1]), "single frame"),
    "NaN": (with_value(np.nan), "pixel x=2, y=3 of frame 7 is nan"),
    "infinity": (with_value(np.inf), "pixel x=2, y=3 of frame 7 is inf"),
    "constant": (constant, "every pixel is 700"),
    "zero": (lambda p: write_movie(p, np.zeros((5, 24, 24), np.uint16)), "every pixel is 0"),
    "RGB": (
        lambda p: tifffile.imwrite(p, np.zeros((24, 24, 3), np.uint8), photometric="rgb") or p,
        "colour (RGB)",
    ),
    "ambiguous": (
        lambda p: (
            tifffile.imwrite(p, counts((4, 3, 24, 24)), imagej=True, metadata={"axes": "TZYX"}) or p
        ),
        "4 frames and 3 slices",
    ),
    "truncated": (truncated, "truncated"),
    "declares 4 GB": (
        four_gigabytes_in_a_kilobyte,
        "declares 32000000 images but holds 1",
    ),
    "tiny field": (lambda p: write_movie(p, counts((30, 7, 24))), "at least 8×8"),
}


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (command, kind)
        for command in ("reconstruct", "evaluate", "calibrate")
        for kind in BAD_MOVIES
        if (command, kind) != ("evaluate", "tiny field")
    ],
)
def test_bad_movies(tmp_path, refusal, command, kind):
    write, says = BAD_MOVIES[kind]
    movie = tmp_path / "movie.tif"
    write(movie)
    if command == "reconstruct":
        arguments = [movie, "--out", tmp_path / "sr.tif", "--pixel-size", 160, "--method", "rl"]
    elif command == "calibrate":
        arguments = [movie, "--out", tmp_path / "scope.toml", "--pixel-size", 160]
        says = "needs at least 24 frames of 12×12" if kind == "tiny field" else says
    else:
        sr = save_image(tmp_path / "sr.tif", np.eye(192, dtype="f4"), PixelGrid((192, 192), 20.0))
        arguments = [sr, "--movie", movie, "--pixel-size", 160]
    line = refusal(tmp_path, command, *arguments)
    assert line.startswith(f"error: {movie}: ")
    assert says in line
