"""`dlbi reconstruct --model`: networks, and what fits them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.cli.movies import counts, write_movie

from dlbi.core.grid import PixelGrid
from dlbi.io.images import save_image
from dlbi.learning.network import METADATA_KEY, ModelMetadata
from dlbi.learning.observation import CHANNELS


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
