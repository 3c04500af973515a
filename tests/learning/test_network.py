from __future__ import annotations

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dlbi.core.errors import FileFormatError, InputError
from dlbi.learning.confidence import Confidence
from dlbi.learning.network import METADATA_KEY, ModelMetadata, load_network

COMPACT = ModelMetadata(
    "tiny", "compact", mask_channels=4, keep=0.8, halo_px=0, channels=("signal", "noise"),
    ranges={"haze": (0.0, 2.5)}, confidence=Confidence(2.0, (-1.0, 1.5), (3.0, -2.0)),
    training={"steps": 7, "config": {"rate": 0.1}}, dlbi_version="1.2.3",
)  # fmt: skip
PAPER = ModelMetadata("frames", "paper", mask_channels=2, keep=0.5, halo_px=0, n_frames=3)

WEIGHTS = {
    "compact": np.arange(1.0, 13.0, dtype=np.float32).reshape(3, 4, 1, 1) / 7,
    "paper": np.array([[[[0.5]], [[-0.25]]]], np.float32),
}


def graph_of(metadata: ModelMetadata) -> onnx.ModelProto:
    """The mask through a 1×1 convolution, ReLU, and each pixel repeated 8 times; adds the rest."""
    value = TensorProto.FLOAT
    first, width = (
        ("statistics", len(metadata.channels)) if metadata.n_frames is None
        else ("frames", metadata.n_frames)
    )  # fmt: skip
    inputs = [helper.make_tensor_value_info(first, value, ["N", width, "Y", "X"])]
    n_maps = WEIGHTS[metadata.kind].shape[0]
    nodes = [
        helper.make_node("Conv", ["mask", "weight", "bias"], ["mixed"]),
        helper.make_node("Relu", ["mixed"], ["positive"]),
        helper.make_node("ReduceMean", [first, "one"], ["mean"], keepdims=1),
        helper.make_node("Add", ["positive", "mean"], ["coarse"]),
        helper.make_node("Resize", ["coarse", "", "scales"], ["fine"], mode="nearest"),
    ]
    if metadata.n_frames is None:
        inputs.append(helper.make_tensor_value_info("guide", value, ["N", 1, "Y8", "X8"]))
        nodes.append(helper.make_node("Add", ["fine", "guide"], ["image"]))
    else:
        nodes.append(helper.make_node("Tanh", ["fine"], ["image"]))
    inputs.append(
        helper.make_tensor_value_info("mask", value, ["N", metadata.mask_channels, "Y", "X"])
    )
    constants = {
        "weight": WEIGHTS[metadata.kind],
        "bias": np.linspace(0.5, 1.0, n_maps, dtype=np.float32),
        "one": np.array([1]),
        "scales": np.array([1, 1, 8, 8], np.float32),
    }
    graph = helper.make_graph(
        nodes, "tiny", inputs,
        [helper.make_tensor_value_info("image", value, ["N", n_maps, "Y8", "X8"])],
        initializer=[numpy_helper.from_array(a, name) for name, a in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    return model


@pytest.fixture
def saved(tmp_path):
    """Write a model, described by `text` if given, and return its path."""

    def save(model: onnx.ModelProto, text: str | None = None):
        if text is not None:
            helper.set_model_props(model, {METADATA_KEY: text})
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


def expected_coarse(weight: np.ndarray, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    bias = np.linspace(0.5, 1.0, weight.shape[0])[:, None, None]
    mixed = np.einsum("oc,ncyx->noyx", weight[..., 0, 0], mask) + bias
    return np.maximum(mixed, 0) + values.mean(axis=1, keepdims=True)


def test_a_compact_network_runs_on_named_inputs(saved):
    path = saved(graph_of(COMPACT))
    network = load_network(path)
    rng = np.random.default_rng(1)
    statistics = rng.standard_normal((2, 2, 5, 3)).astype(np.float32)
    mask = rng.random((2, 4, 5, 3)).astype(np.float32)
    guide = rng.random((2, 1, 40, 24)).astype(np.float32)
    coarse = expected_coarse(WEIGHTS["compact"], statistics, mask)
    np.testing.assert_allclose(
        network.run(statistics, guide, mask), np.kron(coarse, np.ones((8, 8))) + guide, atol=1e-6
    )
    assert network.metadata == COMPACT
    assert network.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_paper_network_runs_on_frames(saved):
    network = load_network(saved(graph_of(PAPER)))
    rng = np.random.default_rng(2)
    frames = rng.uniform(-1, 1, (1, 3, 4, 6)).astype(np.float32)
    mask = rng.random((1, 2, 4, 6)).astype(np.float32)
    coarse = expected_coarse(WEIGHTS["paper"], frames, mask)
    image = network.run_frames(frames, mask)
    np.testing.assert_allclose(image, np.tanh(np.kron(coarse, np.ones((8, 8)))), rtol=1e-5)


def test_views_that_are_turned_or_of_other_precision_are_taken(saved):
    network = load_network(saved(graph_of(PAPER)))
    frames = np.random.default_rng(3).uniform(-1, 1, (1, 3, 4, 6))
    mask = np.ones((1, 2, 6, 4), np.float32)
    turned = np.rot90(frames, axes=(-2, -1))
    np.testing.assert_array_equal(
        network.run_frames(turned, mask),
        network.run_frames(np.ascontiguousarray(turned, np.float32), mask),
    )


def test_threads_may_share_a_network(saved):
    network = load_network(saved(graph_of(PAPER)))
    rng = np.random.default_rng(4)
    movies = [rng.uniform(-1, 1, (1, 3, 20, 20)).astype(np.float32) for _ in range(8)]
    mask = np.ones((1, 2, 20, 20), np.float32)
    alone = [network.run_frames(movie, mask) for movie in movies]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda movie: network.run_frames(movie, mask), movies))
    np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("metadata", [COMPACT, PAPER], ids=["compact", "paper"])
def test_a_description_survives_its_text(metadata):
    assert ModelMetadata.from_json(metadata.to_json()) == metadata
    assert json.loads(metadata.to_json())["format"] == 1


def test_equal_descriptions_have_equal_texts():
    other = replace(COMPACT, training=dict(reversed(COMPACT.training.items())))
    assert other.to_json() == COMPACT.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "other"},
        {"keep": 0.0},
        {"keep": 1.5},
        {"mask_channels": 0},
        {"halo_px": -1},
        {"channels": ()},
        {"ranges": {"haze": (2.0, 1.0)}},
        {"ranges": {"haze": (float("nan"), 1.0)}},
        {"kind": "paper", "n_frames": None},
        {"kind": "paper", "n_frames": 1},
    ],
)
def test_impossible_descriptions_are_refused(change):
    with pytest.raises(InputError):
        replace(COMPACT, **change)


def described(**changes) -> str:
    content = json.loads(COMPACT.to_json()) | changes
    return json.dumps({k: v for k, v in content.items() if v != "absent"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged description"),
        ("[1]", "damaged description"),
        (described(halo_px="absent"), "damaged description .*halo_px"),
        (described(ranges={"haze": [1]}), "damaged description"),
        (described(confidence={"std_scale": 1}), "damaged description .*score"),
        (described(surprise=1), "damaged description .*surprise"),
        (described(keep="much"), "damaged description"),
        (described(format=2), "format 2 .* reads format 1"),
        (described(format="absent"), "damaged description .*format"),
        (described(upscaling=4), "×4 but ×8"),
        (described(channels=["signal", "flavour"]), r"does not compute \(flavour\).* dlbi \d"),
        (described(mask_channels=5), "does not run as its description says"),
        (described(kind="paper", n_frames=2), "does not run as its description says"),
    ],
)
def test_models_that_cannot_be_used_are_refused_in_one_line(saved, text, message):
    path = saved(graph_of(COMPACT), text)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_network(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_output_of_another_shape_is_refused(saved):
    model = graph_of(COMPACT)
    model.graph.node.insert(
        len(model.graph.node), helper.make_node("ReduceMean", ["double", "one"], ["image"])
    )
    model.graph.node[-2].output[0] = "double"
    with pytest.raises(FileFormatError, match=r"\(1, 1, 128, 192\) where .* \(1, 3, 128, 192\)"):
        load_network(saved(model))


@pytest.mark.parametrize(
    ("name", "value"), [("weight", np.nan), ("bias", -np.inf), ("weight", np.inf)]
)
def test_weights_that_are_not_finite_are_refused(saved, name, value):
    # A ReLU makes 0 of −∞, so the output alone would not show it.
    model = graph_of(COMPACT)
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values.flat[-1] = value
            tensor.CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(FileFormatError, match=rf"not finite \({name}\)"):
        load_network(saved(model))


def test_an_onnx_model_of_another_maker_is_refused(saved):
    model = graph_of(COMPACT)
    del model.metadata_props[:]
    with pytest.raises(FileFormatError, match="without a description by dlbi"):
        load_network(saved(model))


@pytest.mark.parametrize("keep", [0, 0.5, 0.99], ids=["empty", "half", "truncated"])
def test_damaged_files_are_refused(saved, keep):
    path = saved(graph_of(COMPACT))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(FileFormatError, match=r"model\.onnx: ") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_a_text_file_is_refused(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("no network at all\n" * 20)
    with pytest.raises(FileFormatError, match=r"notes\.onnx: is not an ONNX model"):
        load_network(path)


def test_missing_files_and_folders_are_named(tmp_path):
    for path in (tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as caught:
            load_network(path)
        assert str(path) in str(caught.value)


def test_without_onnx_runtime_the_user_is_told_what_to_install(saved, monkeypatch):
    path = saved(graph_of(COMPACT))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        load_network(path)
