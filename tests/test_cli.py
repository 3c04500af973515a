"""The command line: what it accepts, what it refuses in one line, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
import warnings
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dlbi import __version__
from dlbi.cli import main
from dlbi.cli.arguments import parse_frames, parse_roi
from dlbi.cli.console import PlainProgress, progress_report
from dlbi.cli.reconstruct import Method, Quality, Start
from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.optics import GaussianPSF
from dlbi.io.images import load_grid_image, load_image, save_image
from dlbi.io.stacks import load_stack
from dlbi.io.tables import load_emitters
from dlbi.learning.network import METADATA_KEY, ModelMetadata, load_network
from dlbi.learning.observation import CHANNELS
from dlbi.reconstruction import METHODS, QUALITIES, STARTS, reconstruct
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
        "--roi", "--frames", "--quality", "--start", "--seed", "--workers", "--overwrite",
    ],
    "train": ["CONFIG.toml", "--out", "--resume", "--workers"],
    "evaluate": [
        "SR.tif", "--truth", "--movie", "--psf-fwhm", "--pixel-size", "--error-map", "--json",
    ],
    "doctor": [],
}  # fmt: skip


@pytest.fixture
def refusal(dlbi):
    """The one line on stderr of a command that must be refused and change no file."""

    def run(folder, *arguments):
        before = snapshot(folder)
        code, _, err = dlbi(*arguments)
        assert code == 2, err
        assert err.count("\n") == 1
        assert err.startswith("error: ")
        assert "Traceback" not in err
        assert snapshot(folder) == before
        return err

    return run


def snapshot(folder):
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}


def counts(shape=(30, 24, 24), seed=5):
    return np.random.default_rng(seed).integers(90, 900, shape).astype(np.uint16)


def write_movie(path, movie, **options):
    tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TYX"}, **options)
    return path


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A small simulated movie with all its siblings."""
    folder = tmp_path_factory.mktemp("simulated")
    movie = folder / "movie.ome.tif"
    arguments = ["--size", 192, "--frames", 30, "--emitters", 400, "--seed", 4]
    assert main([str(a) for a in ["simulate", "filaments", "--out", movie, *arguments]]) == 0
    return movie


# Help, version and the process


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
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
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
    "numpy", "scipy", "numba", "matplotlib", "skimage", "tifffile", "zarr", "onnxruntime", "onnx",
    "torch",
}  # fmt: skip


def test_help_needs_none_of_the_heavy_modules():
    code = (
        "import sys; from dlbi.cli import main; main(['reconstruct', '--help']); "
        "main(['train', '--help']); main(['calibrate', '--help']); "
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


# Options


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
    [("0:5", (0, 5)), ("3:", (3, None)), (":7", (0, 7)), (":", (0, None)), (" 1 : 2 ", (1, 2))],
)
def test_frames_are_read_as_written(text, frames):
    assert parse_frames(text) == frames


@pytest.mark.parametrize("text", ["", "5", "1:2:3", "-3:4", "a:b"])
def test_frames_that_cannot_be_read(text):
    with pytest.raises(InputError, match=r"--frames .*A:B"):
        parse_frames(text)


# Bad input


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


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--roi", "10,0,24,24"], "reaches outside the 24×24 field"),
        (["--roi", "0,0,0,5"], "reaches outside"),
        (["--frames", "3:4"], "fewer than 2"),
        (["--frames", "0:31"], "beyond its 30 frames"),
        (["--frames", "40:"], "fewer than 2"),
        (["--pixel-size", "0"], "--pixel-size 0 nm is absurd"),
        (["--pixel-size", "nan"], "absurd"),
        (["--pixel-size", "1e9"], "absurd"),
    ],
)
def test_options_that_do_not_fit_the_movie(tmp_path, refusal, options, says):
    movie = write_movie(tmp_path / "movie.tif", counts(), resolution=(6.25, 6.25))
    options = ["--pixel-size", "160", "--method", "rl", *options]
    line = refusal(tmp_path, "reconstruct", movie, "--out", tmp_path / "sr.tif", *options)
    assert line.startswith(f"error: {movie}: ")
    assert says in line


def test_unknown_pixel_size(tmp_path, refusal):
    movie = write_movie(tmp_path / "movie.tif", counts())
    line = refusal(tmp_path, "reconstruct", movie, "--out", tmp_path / "sr.tif", "--method", "rl")
    assert f"{movie}: does not state its pixel size; give it with --pixel-size NM" in line


@pytest.mark.parametrize("value", ["0", "-3", "inf"])
def test_impossible_psf(tmp_path, refusal, value):
    movie = write_movie(tmp_path / "movie.tif", counts())
    arguments = ["--out", tmp_path / "sr.tif", "--pixel-size", 160, f"--psf-fwhm={value}"]
    line = refusal(tmp_path, "reconstruct", movie, *arguments, "--method", "rl")
    assert "error: --psf-fwhm: " in line


# Networks


def write_model(path, *, n_frames=None, **described):
    """A network that enlarges its last input but the mask; without a description if none given."""
    if n_frames is None:
        first, width, n_maps = "statistics", len(CHANNELS), 3
    else:
        first, width, n_maps = "frames", n_frames, 1
    inputs = {first: ["N", width, "Y", "X"], "mask": ["N", 2, "Y", "X"]}
    if n_frames is None:
        inputs["guide"] = ["N", 1, "Y8", "X8"]
    constants = {
        "scales": np.array([1, 1, 8, 8], np.float32), "begin": np.array([0]),
        "end": np.array([n_maps]), "axis": np.array([1]),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Slice", [first, "begin", "end", "axis"], ["coarse"]),
            helper.make_node("Resize", ["coarse", "", "scales"], ["image"], mode="nearest"),
        ],
        "stub",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, d) for n, d in inputs.items()],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", n_maps, "Y8", "X8"])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if described:
        sizes = {"mask_channels": 2, "keep": 0.8, "halo_px": 0, "n_frames": n_frames}
        metadata = ModelMetadata("stub", **sizes, **described)
        helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def text_model(path):
    path.write_text("weights")
    return path


def other_statistics(path):
    names = ("tomorrow", *CHANNELS[1:])
    return write_model(path, kind="compact", channels=names)


BAD_MODELS = {
    "missing": (lambda p: p, "cannot be read"),
    "folder": (lambda p: p.mkdir() or p, "cannot be read"),
    "text": (text_model, "is not an ONNX model that ONNX Runtime"),
    "without a description": (write_model, "without a description by dlbi"),
    "of another dlbi": (other_statistics, "does not compute (tomorrow)"),
    "of other inputs": (
        lambda p: write_model(p, kind="compact", channels=CHANNELS[:5]),
        "does not run as its description says",
    ),
}


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_models_that_cannot_be_used(tmp_path, refusal, simulated, kind):
    write, says = BAD_MODELS[kind]
    model = write(tmp_path / "model.onnx")
    line = refusal(
        tmp_path, "reconstruct", simulated, "--out", tmp_path / "sr.tif", "--model", model
    )
    assert line.startswith(f"error: {model}: ")
    assert says in line


@pytest.mark.parametrize("method", ["bayes", "rl", "sofi", "mean"])
def test_a_model_is_for_the_methods_with_a_network(tmp_path, refusal, simulated, method):
    model = write_model(tmp_path / "model.onnx", kind="compact", channels=CHANNELS)
    options = ["--out", tmp_path / "sr.tif", "--model", model, "--method", method]
    line = refusal(tmp_path, "reconstruct", simulated, *options)
    assert f"--model is for dlbi and network; method {method} has no network" in line


@pytest.mark.parametrize("method", ["dlbi", "network"])
@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((30, 15, 24), [], "at least 16×16 camera pixels, got 24×15; bayes needs 8×8"),
        ((30, 24, 24), ["--roi", "0,0,15,24"], "at least 16×16 camera pixels, got 15×24"),
        ((1, 24, 24), [], "single frame"),
        ((30, 24, 24), ["--frames", "3:4"], "fewer than 2"),
        ((30, 24, 24), ["--guide", "GUIDE"], "takes its guide from the network"),
    ],
)
def test_movies_that_do_not_fit_the_network(tmp_path, refusal, method, shape, options, says):
    movie = write_movie(tmp_path / "movie.tif", counts(shape))
    guide = save_image(tmp_path / "g.tif", np.ones((192, 192), "f4"), PixelGrid((192, 192), 20.0))
    options = [guide if word == "GUIDE" else word for word in options]
    scale = ["--pixel-size", 160, "--psf-fwhm", 422]
    out = ["--out", tmp_path / "sr.tif"]
    line = refusal(tmp_path, "reconstruct", movie, *out, *scale, "--method", method, *options)
    assert line.startswith(f"error: {movie}: ")
    assert says in line


def test_a_network_of_frames_needs_as_many(tmp_path, dlbi, refusal, simulated):
    model = write_model(tmp_path / "model.onnx", kind="paper", n_frames=12)
    out = tmp_path / "sr.tif"
    options = ["--out", out, "--model", model, "--method", "network", "--psf-fwhm", 422]
    line = refusal(tmp_path, "reconstruct", simulated, *options)
    assert "reads exactly 12 frames, the movie has 30; choose 12 of them with --frames A:B" in line
    assert dlbi("reconstruct", simulated, *options, "--frames", "5:17", "--seed", 1)[0] == 0
    assert not (tmp_path / "sr.p_value.tif").exists()


def test_a_movie_unlike_those_of_the_training_is_told(tmp_path, dlbi, simulated):
    model = write_model(
        tmp_path / "model.onnx", kind="compact", channels=CHANNELS,
        ranges={"n_frames": (100.0, 400.0), "psf_sigma_px": (0.5, 2.0)},
    )  # fmt: skip
    options = ["--out", tmp_path / "sr.tif", "--model", model, "--method", "network"]
    code, _, err = dlbi("reconstruct", simulated, *options, "--psf-fwhm", 422)
    assert code == 0
    assert "n_frames 30 (trained on 100 to 400)" in err
    assert "psf_sigma_px" not in err
    assert "never compared with known truth" in err
    assert all(line.startswith("warning: ") for line in err.splitlines())


def test_a_model_is_never_overwritten(tmp_path, refusal, simulated):
    model = write_model(tmp_path / "sr.tif", kind="compact", channels=CHANNELS)
    options = ["--out", model, "--model", model, "--overwrite"]
    line = refusal(tmp_path, "reconstruct", simulated, *options)
    assert f"{model}: is an input of this command" in line


# Outputs


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


# Simulation


def test_simulation_writes_the_movie_and_its_truth(simulated):
    folder = simulated.parent
    names = sorted(p.name for p in folder.iterdir())
    truths = ["movie.truth.tif", "movie.truth_x2.tif", "movie.truth_x4.tif"]
    assert names == sorted(
        ["movie.ome.tif", "movie.emitters.csv", "movie.provenance.json", *truths]
    )
    stack = load_stack(simulated)
    assert stack.data.shape == (30, 24, 24)
    assert stack.grid.pixel_size_nm == 160.0
    fine, grid = load_grid_image(folder / "movie.truth.tif")
    assert grid == stack.grid.refine(8)
    assert fine.sum() == pytest.approx(400, rel=1e-4)
    for factor in (2, 4):
        coarse, grid = load_grid_image(folder / f"movie.truth_x{factor}.tif")
        assert grid == stack.grid.refine(factor)
        np.testing.assert_allclose(coarse, block_sum(fine, 8 // factor), rtol=1e-5)
    emitters = load_emitters(folder / "movie.emitters.csv")
    assert abs(len(emitters) - 400) < 5 * 20


def test_simulation_records_where_it_comes_from(simulated):
    record = json.loads((simulated.parent / "movie.provenance.json").read_text())
    assert record["seed"] == 4
    assert record["command"][:3] == ["dlbi", "simulate", "filaments"]
    assert record["config"]["preset"] == "meos3.2"
    assert record["config"]["scene"]["labelling"]["n_emitters"] == 400
    assert record["config"]["scene"]["microscope"]["pixel_size_nm"] == 160


def test_the_same_seed_gives_the_same_movie(tmp_path, dlbi, simulated):
    def movie(name, seed):
        out = tmp_path / name
        options = ["--size", 192, "--frames", 30, "--emitters", 400, "--seed", seed]
        assert dlbi("simulate", "filaments", "--out", out, *options)[0] == 0
        return out.read_bytes()

    assert movie("a.ome.tif", 4) == simulated.read_bytes()
    assert movie("b.ome.tif", 5) != simulated.read_bytes()


def test_a_drawn_seed_is_printed_and_repeats_the_movie(tmp_path, dlbi):
    options = ["simulate", "rings", "--size", 64, "--frames", 4, "--preset", "camera"]
    _, out, _ = dlbi(*options, "--out", tmp_path / "a.tif")
    seed = out.partition("seed ")[2].split()[0]
    assert dlbi(*options, "--out", tmp_path / "b.tif", "--seed", seed)[0] == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_upscaling_chooses_the_truths(tmp_path, dlbi):
    options = ["simulate", "rings", "--frames", 4, "--size", 96, "--seed", 1]
    movie = tmp_path / "m.tif"
    assert dlbi(*options, "--out", movie, "--upscaling", 4)[0] == 0
    assert load_stack(movie).grid.shape == (24, 24)
    assert (tmp_path / "m.truth_x2.tif").exists()
    assert not (tmp_path / "m.truth_x4.tif").exists()
    assert dlbi(*options, "--out", movie, "--upscaling", 6, "--overwrite")[0] == 0
    assert load_stack(movie).grid.shape == (16, 16)
    assert dlbi(*options, "--out", movie, "--upscaling", 3, "--overwrite")[0] == 0
    assert not (tmp_path / "m.truth_x2.tif").exists()


@pytest.mark.parametrize("preparation", ["density", "natural", "sketch"])
def test_a_picture_is_a_structure(tmp_path, dlbi, preparation):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[20:40, 30:70] = 200
    tifffile.imwrite(tmp_path / "picture.tif", picture, photometric="rgb")
    options = ["--frames", 3, "--emitters", 50, "--seed", 2, "--preparation", preparation]
    code, _, err = dlbi("simulate", tmp_path / "picture.tif", "--out", tmp_path / "m.tif", *options)
    assert (code, err) == (0, "")
    truth, grid = load_grid_image(tmp_path / "m.truth.tif")
    assert grid == PixelGrid((64, 96), 20.0)
    inside = truth[25:35, 40:60].sum() / truth.sum()
    assert inside > 0.2 if preparation != "natural" else inside == 0.0
    record = json.loads((tmp_path / "m.provenance.json").read_text())
    assert record["inputs"][0]["name"] == "picture.tif"
    assert record["config"]["preparation"] == preparation


def test_pictures_are_scaled_to_the_size_that_is_asked_for(tmp_path, dlbi):
    save_image(tmp_path / "s.tif", np.ones((50, 100), "f4"), PixelGrid((50, 100), 20.0))
    code, _, err = dlbi(
        "simulate", tmp_path / "s.tif", "--out", tmp_path / "m.tif", "--size", 160, "--frames", 3
    )
    assert code == 0
    assert load_stack(tmp_path / "m.tif").grid.shape == (10, 20)
    assert err.startswith("warning: ")
    assert "states pixels of 20 nm but they are taken as 32 nm" in err


def test_stretching_a_picture_is_told(tmp_path, dlbi):
    save_image(tmp_path / "s.tif", np.ones((70, 75), "f4"), PixelGrid((70, 75), 20.0))
    _, _, err = dlbi("simulate", tmp_path / "s.tif", "--out", tmp_path / "m.tif", "--frames", 3)
    assert err.count("\n") == 1
    assert "75×70 px do not divide by the upscaling 8; the image is stretched to 72×72" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["circles"], "choose one of filaments"),
        (["rings", "--preset", "alexa"], "--preset: no preset is called 'alexa'"),
        (["rings", "--emitters", "0"], "--emitters: "),
        (["rings", "--frames", "1"], "at least 2 frames"),
        (["rings", "--size", "100"], "--size 100"),
        (["rings", "--size", "56"], "--size 56"),
        (["rings", "--pixel-size", "1e6"], "--pixel-size: "),
        (["rings", "--pixel-size", "nan"], "--pixel-size: "),
        (["small.tif"], "at least 8×8"),
        (["black.tif"], "black.tif: the structure is empty"),
        (["negative.tif"], "negative.tif: a density must not be negative"),
        (["text.tif"], "text.tif: is neither an image nor a movie"),
    ],
)
def test_simulations_that_cannot_be(tmp_path, refusal, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    save_image("small.tif", np.ones((20, 20), "f4"), PixelGrid((20, 20), 20.0))
    save_image("black.tif", np.zeros((80, 80), "f4"), PixelGrid((80, 80), 20.0))
    save_image("negative.tif", -np.eye(80, dtype="f4"), PixelGrid((80, 80), 20.0))
    (tmp_path / "text.tif").write_text("text")
    assert says in refusal(tmp_path, "simulate", *arguments, "--out", "movie.tif")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, "SIGTERM"])
def test_an_interrupted_simulation_leaves_nothing(tmp_path, dlbi, monkeypatch, stop):
    @contextmanager
    def interrupted():
        def progress(stage, done, total):
            assert list(tmp_path.iterdir()), "the movie is being written"
            if stop is KeyboardInterrupt:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)

        yield progress

    usual = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("dlbi.cli.simulate.progress_report", interrupted)
    code, _, err = dlbi("simulate", "rings", "--out", tmp_path / "m.tif", "--size", 64)
    assert code == 1
    assert err == "error: interrupted; no file is half-written\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) == usual


# Reconstruction and scores


@pytest.fixture(scope="module", params=["rl", "bayes", "network", "dlbi"])
def reconstructed(request, simulated, tmp_path_factory):
    """A reconstruction of the simulated movie and its method."""
    out = tmp_path_factory.mktemp(request.param) / "sr.ome.tif"
    arguments = ["--out", out, "--method", request.param, "--psf-fwhm", 422, "--seed", 9]
    quick = ["--quality", "preview", "--workers", 1]
    assert main([str(a) for a in ["reconstruct", simulated, *arguments, *quick]]) == 0
    return out, request.param


def test_reconstruction_is_written_with_its_siblings(reconstructed):
    out, method = reconstructed
    siblings = {"sr.ome.tif", "sr.background.ome.tif", "sr.provenance.json"}
    if method != "rl":
        siblings |= {"sr.std.ome.tif", "sr.p_value.ome.tif"}
    if method in ("bayes", "dlbi"):
        siblings |= {"sr.emitters.csv", "sr.occupancy.ome.tif"}
    assert {p.name for p in out.parent.iterdir()} == siblings
    _, grid = load_grid_image(out)
    assert grid == PixelGrid((192, 192), 20.0)


def test_reconstruction_records_where_it_comes_from(reconstructed, simulated):
    out, method = reconstructed
    record = json.loads((out.parent / "sr.provenance.json").read_text())
    assert record["seed"] == 9
    assert record["inputs"][0]["name"] == simulated.name
    assert len(record["inputs"][0]["sha256"]) == 64
    assert record["config"]["method"] == method
    assert record["config"]["frames"] == [0, 30]
    assert record["config"]["psf_fwhm_nm"] == 422
    assert record["config"]["start"] == "guide"
    assert record["config"]["model"] is None
    assert record["reconstruction"]["method"] == method
    network = record["reconstruction"].get("network", {}).get("sha256")
    assert network == (load_network().sha256 if method in ("network", "dlbi") else None)
    assert record["software"]["dlbi"] == __version__
    assert record["command"][:2] == ["dlbi", "reconstruct"]


def test_reconstruction_scores_above_the_null_image(dlbi, reconstructed, simulated):
    out, _ = reconstructed
    truth = simulated.parent / "movie.truth.tif"
    code, text, err = dlbi("evaluate", out, "--truth", truth, "--movie", simulated, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(text)
    image, null = scores["truth"]["rows"]
    assert (image["name"], null["name"]) == ("image", "null")
    assert image["psnr_ls_db"] > null["psnr_ls_db"]
    assert image["corr_4px"] > 0.6
    assert null["corr_4px"] is None
    assert scores["movie"]["rsp"] > 0.7
    assert scores["movie"]["n_frames"] == 30
    assert scores["movie_without_background"]["rsp"] >= scores["movie"]["rsp"]


def test_table_has_the_null_row_and_names_the_normalisations(dlbi, reconstructed, simulated):
    out, _ = reconstructed
    truth = simulated.parent / "movie.emitters.csv"
    code, text, _ = dlbi("evaluate", out, "--truth", truth, "--movie", simulated)
    assert code == 0
    lines = text.splitlines()
    assert any(line.startswith("image ") for line in lines)
    assert any(line.startswith("null ") and "–" in line for line in lines)
    assert any(line.startswith("ls: ") for line in lines)
    assert any(line.startswith("p999: ") for line in lines)
    assert "RSP" in text


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "bayes", "--roi", "4,4,12,12"],
        ["--method", "bayes", "--roi", "4,4,12,12", "--start", "resampled"],
        ["--method", "dlbi", "--roi", "4,4,16,16"],
    ],
    ids=["bayes", "resampled", "dlbi"],
)
def test_the_same_seed_gives_the_same_files_at_any_number_of_workers(
    tmp_path, dlbi, simulated, options
):
    def files(name, workers):
        folder = tmp_path / name
        folder.mkdir()
        quick = ["--psf-fwhm", 422, "--quality", "preview", "--seed", 2, "--workers", workers]
        assert dlbi("reconstruct", simulated, "--out", folder / "sr.tif", *options, *quick)[0] == 0
        return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".json"}

    assert files("one", 1) == files("two", 2)


def test_the_paper_start_is_another_start(tmp_path, dlbi, simulated):
    common = ["--method", "bayes", "--roi", "4,4,12,12", "--psf-fwhm", 422, "--quality", "preview"]
    images = []
    for start in ("guide", "resampled"):
        out = tmp_path / f"{start}.tif"
        options = ["--out", out, *common, "--seed", 2, "--start", start]
        assert dlbi("reconstruct", simulated, *options)[0] == 0
        record = json.loads((tmp_path / f"{start}.provenance.json").read_text())
        assert record["config"]["start"] == record["reconstruction"]["schedule"]["start"] == start
        images.append(load_image(out)[0])
    assert not np.array_equal(*images)


def test_part_of_a_movie_is_scored_against_that_part(tmp_path, dlbi, simulated):
    out = tmp_path / "part.tif"
    options = ["--method", "mean", "--roi", "4,6,16,12", "--frames", "5:25"]
    assert dlbi("reconstruct", simulated, "--out", out, *options)[0] == 0
    _, grid = load_grid_image(out)
    assert grid == PixelGrid((24, 24), 160.0).crop(6, 4, 12, 16).refine(8)
    truth = simulated.parent / "movie.truth.tif"
    code, text, _ = dlbi("evaluate", out, "--truth", truth, "--movie", simulated, "--json")
    assert code == 0
    scores = json.loads(text)
    assert scores["movie"]["n_frames"] == 20
    assert scores["movie"]["rsp"] > 0.98
    (tmp_path / "part.provenance.json").write_text('{"config": {"frames": 20}}')
    _, text, _ = dlbi("evaluate", out, "--movie", simulated, "--json")
    assert json.loads(text)["movie"]["n_frames"] == 30
    part = tmp_path / "truth.tif"
    whole, fine = load_grid_image(truth)
    save_image(part, whole[48:144, 32:160], fine.crop(48, 32, 96, 128))
    _, text, _ = dlbi("evaluate", out, "--truth", part, "--json")
    assert json.loads(text)["truth"]["rows"] == scores["truth"]["rows"]


def test_a_psf_that_the_movie_does_not_show_is_told(tmp_path, dlbi, simulated):
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--frames", "0:4"]
    code, text, err = dlbi("reconstruct", simulated, "--out", out, *options)
    assert code == 0
    assert err.count("\n") == 1
    assert err.startswith("warning: ")
    assert "--psf-fwhm" in err
    assert "PSF 422 nm FWHM, from: preset" in text
    assert dlbi("reconstruct", simulated, "--out", out, *options)[0] == 2
    options += ["--psf-fwhm", 300, "--overwrite"]
    code, text, err = dlbi("reconstruct", simulated, "--out", out, *options)
    assert (code, err) == (0, "")
    assert "PSF 300 nm FWHM, from: given" in text


@pytest.mark.parametrize("scale", [8, 4, 1])
def test_guides_of_the_field_fit_any_region(tmp_path, dlbi, simulated, scale):
    guide = np.random.default_rng(1).random((24 * scale, 24 * scale), dtype=np.float32)
    save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 160.0 / scale))
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--guide", tmp_path / "g.tif", "--psf-fwhm", 422]
    assert dlbi("reconstruct", simulated, "--out", out, *options, "--roi", "6,4,12,16")[0] == 0
    fine = guide.repeat(8 // scale, axis=0).repeat(8 // scale, axis=1) * (scale / 8) ** 2
    expected = reconstruct(
        load_stack(simulated).select(roi=(6, 4, 12, 16)),
        method="rl",
        psf=GaussianPSF(422),
        guide=fine[32:160, 48:144],
    )
    np.testing.assert_array_equal(load_image(out)[0], expected.mean)
    record = json.loads((tmp_path / "sr.provenance.json").read_text())
    assert [i["name"] for i in record["inputs"]] == ["movie.ome.tif", "g.tif"]


def test_a_guide_of_just_the_region_is_taken_as_it_is(tmp_path, dlbi, simulated):
    whole = np.random.default_rng(1).random((192, 192), dtype=np.float32)
    images = []
    for guide in (whole, whole[32:160, 48:144]):
        save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 20.0), overwrite=True)
        options = ["--method", "rl", "--guide", tmp_path / "g.tif", "--roi", "6,4,12,16"]
        out = tmp_path / f"sr{len(images)}.tif"
        assert dlbi("reconstruct", simulated, "--out", out, "--psf-fwhm", 422, *options)[0] == 0
        images.append(load_image(out)[0])
    np.testing.assert_array_equal(*images)


@pytest.mark.parametrize(
    ("guide", "says"),
    [
        (np.ones((100, 192), "f4"), "192×192 px are needed"),
        (-np.eye(192, dtype="f4"), "non-negative"),
        (np.zeros((192, 192), "f4"), "not all zero"),
    ],
)
def test_guides_that_do_not_fit(tmp_path, refusal, simulated, guide, says):
    path = save_image(tmp_path / "g.tif", guide, PixelGrid(guide.shape, 20.0))
    out = tmp_path / "sr.tif"
    options = ["--method", "rl", "--guide", path]
    line = refusal(tmp_path, "reconstruct", simulated, "--out", out, *options)
    assert f"{path}: " in line
    assert says in line


def test_error_maps(tmp_path, dlbi, refusal, simulated):
    out = tmp_path / "sr.tif"
    assert dlbi("reconstruct", simulated, "--out", out, "--method", "mean")[0] == 0
    scores = ["evaluate", out, "--movie", simulated, "--error-map"]
    assert dlbi(*scores, tmp_path / "error.tif")[0] == 0
    error, grid = load_grid_image(tmp_path / "error.tif")
    assert grid == PixelGrid((24, 24), 160.0)
    assert error.min() >= 0 < error.max()
    assert dlbi(*scores, tmp_path / "error.png")[0] == 0
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")
    assert "exists already" in refusal(tmp_path, *scores, tmp_path / "error.tif")
    assert "give --movie" in refusal(
        tmp_path, "evaluate", out, "--truth", out, "--error-map", tmp_path / "e.tif"
    )


def test_scores_need_something_to_compare_with(tmp_path, refusal):
    image = save_image(tmp_path / "i.tif", np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0))
    assert "give --truth, --movie or both" in refusal(tmp_path, "evaluate", image)
    other = save_image(tmp_path / "o.tif", np.eye(60, dtype="f4"), PixelGrid((60, 60), 20.0))
    assert "is not a part of" in refusal(tmp_path, "evaluate", image, "--truth", other)
    assert "cannot" in refusal(
        tmp_path,
        "evaluate",
        image,
        "--truth",
        save_image(tmp_path / "n.tif", -np.eye(64, dtype="f4"), PixelGrid((64, 64), 20.0)),
    )


def test_images_without_a_pixel_size_take_that_of_the_field(tmp_path, dlbi, refusal, simulated):
    truth = simulated.parent / "movie.truth.tif"
    plain = tmp_path / "plain.tif"
    tifffile.imwrite(plain, load_image(truth)[0], metadata=None)
    for field in (["--movie", simulated], ["--truth", truth]):
        assert dlbi("evaluate", plain, *field)[0] == 0
    line = refusal(tmp_path, "evaluate", plain, "--truth", plain)
    assert "does not state its pixel size" in line
    code, text, _ = dlbi("evaluate", truth, "--truth", plain, "--json")
    assert code == 0
    assert json.loads(text)["truth"]["rows"][0]["corr_0px"] == pytest.approx(1.0)


# What is printed


def test_warnings_are_single_lines(dlbi, monkeypatch):
    def warn():
        warnings.warn("something\n  happened", DlbiWarning, stacklevel=1)
        warnings.warn("something\n  happened", DlbiWarning, stacklevel=1)

    monkeypatch.setattr("dlbi.cli.doctor._memory", warn)
    _, _, err = dlbi("doctor")
    assert err == "warning: something happened\n" * 2


def test_plain_progress_is_a_line_for_each_stage_and_every_ten_seconds(capsys):
    seconds = iter([0.0, 1.0, 9.9, 10.1, 15.0, 16.0])
    report = PlainProgress(clock=lambda: next(seconds))
    for stage, done in (("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 4)):
        report(stage, done, 4)
    assert capsys.readouterr().out.splitlines() == ["a: 3 of 4", "a: 4 of 4", "b: 4 of 4"]


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress_report() as report:
        report("sampling", 1, 4)
        report("sampling", 4, 4)
    out = capsys.readouterr().out
    assert "sampling" in out
    assert "4/4" in out


def test_doctor_reports_and_never_fails(dlbi, monkeypatch):
    code, out, err = dlbi("doctor")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines["dlbi"] == __version__
    assert lines["numpy"] == np.__version__
    assert "GiB" in lines["memory"]
    assert "kept in" in lines["compiled"]
    network = load_network()
    assert lines["network"] == f"{network.metadata.name}, sha256 {network.sha256}"
    monkeypatch.setattr("dlbi.cli.doctor.tempfile.TemporaryFile", no_space)
    code, out, _ = dlbi("doctor")
    assert code == 0
    assert "set NUMBA_CACHE_DIR" in out


def test_doctor_tells_of_a_network_that_cannot_be_used(dlbi, monkeypatch):
    monkeypatch.setattr("dlbi.learning.network._SHIPPED", "models/none.onnx")
    code, out, _ = dlbi("doctor")
    assert code == 0
    assert "cannot be used (the network of this package: cannot be read" in out


def no_space(**_):
    raise OSError("no space left")
