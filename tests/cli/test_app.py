"""The program as a whole: its help, its options and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from tests.cli.movies import counts, write_movie

from dlbi import __version__
from dlbi.cli import main
from dlbi.cli.reconstruct import Method, Quality, Start
from dlbi.reconstruction import METHODS, QUALITIES, STARTS
from dlbi.simulation.presets import PRESETS
from dlbi.simulation.structures import KINDS

CONTRACT = {
    "demo": ["--out", "--seed", "--overwrite"],
    "simulate": [
        "STRUCTURE", "--out", "--frames", "--upscaling", "--pixel-size", "--preset",
        "--preparation", "--size", "--emitters", "--seed", "--overwrite",
    ],
    "calibrate": [
        "MOVIE", "--out", "--pixel-size", "--roi", "--frames", "--seed", "--overwrite",
    ],
    "reconstruct": [
        "MOVIE", "--out", "--method", "--guide", "--model", "--pixel-size", "--psf-fwhm", "--scope",
        "--roi", "--frames", "--quality", "--start", "--seed", "--workers",
        "--no-report", "--overwrite",
    ],
    "train": ["CONFIG.toml", "--out", "--resume", "--workers"],
    "evaluate": [
        "SR.tif", "--truth", "--movie", "--half", "--psf-fwhm", "--pixel-size", "--error-map",
        "--resolution-map", "--json",
    ],
    "bench": [
        "--out", "--experiment", "--quick", "--ablations", "--movie", "--channels", "--pixel-size",
        "--psf-fwhm", "--roi", "--threeb", "--seed", "--workers", "--resume", "--list",
    ],
    "doctor": [],
}  # fmt: skip


def test_help_lists_every_command(dlbi):
    code, out, err = dlbi("--help")
    assert (code, err) == (0, "")
    for command in CONTRACT:
        assert f"  {command} " in out
    assert dlbi() == (0, out, "")


@pytest.mark.parametrize("command", CONTRACT)
def test_help_of_a_command_lists_its_contract(dlbi, command):
    code, out, _ = dlbi(command, "--help")
    assert code == 0
    for word in CONTRACT[command]:
        assert f"  {word} " in out or f"  {word}\n" in out


def test_choices_are_those_of_the_library(dlbi):
    assert {m.value for m in Method} == set(METHODS)
    assert {q.value for q in Quality} == set(QUALITIES)
    assert {s.value for s in Start} == set(STARTS)
    _, out, _ = dlbi("simulate", "--help")
    words = out.replace(",", " ").replace(".", " ").replace("meos3 2", "meos3.2").split()
    assert set(KINDS) | set(PRESETS) <= set(words)


def test_version(dlbi):
    assert dlbi("--version") == (0, f"dlbi {__version__}\n", "")


def test_installed_program_is_this_one():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert EntryPoint("dlbi", project["scripts"]["dlbi"], "").load() is main


def in_process(*arguments, **options):
    code = "import sys; from dlbi.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


HEAVY = {
    "numpy", "scipy", "numba", "matplotlib", "jinja2", "PIL", "skimage", "tifffile", "zarr",
    "onnxruntime", "onnx", "torch",
}  # fmt: skip


def test_help_needs_none_of_the_heavy_modules():
    code = (
        "import sys; from dlbi.cli import main; main(['reconstruct', '--help']); "
        "main(['train', '--help']); main(['calibrate', '--help']); main(['bench', '--help']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_a_real_process_refuses_in_one_line(tmp_path):
    (tmp_path / "notes.tif").write_text("not a movie")
    done = in_process("reconstruct", tmp_path / "notes.tif", "--out", tmp_path / "sr.tif")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "notes.tif" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["notes.tif"]


def test_any_terminal_encoding_will_do():
    done = in_process("simulate", "--help", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert "STRUCTURE" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="POSIX descriptors")
@pytest.mark.parametrize(("where", "code"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 1)])
def test_an_output_that_cannot_be_written_is_no_traceback(where, code):
    program = f"{sys.executable} -c 'import sys; from dlbi.cli import main; sys.exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"{program} doctor {where}"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code
    assert done.stderr.count("error: ") == code


@pytest.mark.skipif(os.name == "nt", reason="POSIX pipes")
def test_a_closed_pipe_is_no_traceback():
    program = f"{sys.executable} -c 'import sys; from dlbi.cli import main; sys.exit(main())'"
    done = subprocess.run(
        ["bash", "-c", f"{program} doctor | true; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "BrokenPipe" not in done.stderr
    assert done.returncode in (0, 1)


def test_usage_errors_are_one_line(tmp_path, refusal):
    movie = write_movie(tmp_path / "m.tif", counts())
    out = tmp_path / "sr.tif"
    cases = {
        "No such command": ["nothing"],
        "Missing argument 'MOVIE'": ["reconstruct"],
        "Missing option '--out'": ["reconstruct", movie],
        "--metod": ["reconstruct", movie, "--out", out, "--metod", "rl"],
        "'magic' is not one of": ["reconstruct", movie, "--out", out, "--method", "magic"],
        "'fast' is not one of": ["reconstruct", movie, "--out", out, "--quality", "fast"],
        "'random' is not one of": ["reconstruct", movie, "--out", out, "--start", "random"],
        "Missing argument 'CONFIG.toml'": ["train", "--out", out],
        "'--workers'": ["train", movie, "--out", out, "--workers", 0],
        "--workers": ["reconstruct", movie, "--out", out, "--workers", 0],
        "--seed": ["simulate", "rings", "--out", out, "--seed", -1],
        "--frames": ["simulate", "rings", "--out", out, "--frames", "many"],
        "--pixel-size": ["reconstruct", movie, "--out", out, "--pixel-size", "big"],
        "'--seed'": ["calibrate", movie, "--out", out, "--seed", "x"],
    }
    for says, arguments in cases.items():
        line = refusal(tmp_path, *arguments)
        assert says in line
        assert "--help" in line
