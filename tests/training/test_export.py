from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from dlbi import __version__
from dlbi.core.errors import InputError, OutputError
from dlbi.learning.confidence import Confidence
from dlbi.learning.network import METADATA_KEY, ModelMetadata, load_network
from dlbi.learning.observation import CHANNELS, Observation
from dlbi.learning.passes import run_passes
from dlbi.training.export import export_model, replace_metadata

torch.set_num_threads(1)

HALO = 4
COMPACT = ModelMetadata(
    "tiny", "compact", mask_channels=4, keep=0.8, halo_px=HALO, channels=CHANNELS,
    ranges={"haze": (0.0, 2.5)}, dlbi_version=__version__,
)  # fmt: skip
PAPER = ModelMetadata("frames", "paper", mask_channels=4, keep=0.8, halo_px=1, n_frames=5)


class Tiny(nn.Module):
    """Reaches 3 + 1 camera pixels; like the real one it returns several scales."""

    def __init__(self) -> None:
        super().__init__()
        self.statistics = nn.Conv2d(len(CHANNELS), 4, 7, padding=3)
        self.guide = nn.Conv2d(64, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3 * 64, 3, padding=1)

    def forward(self, statistics, guide, mask):
        seen = self.statistics(statistics) + self.guide(nn.functional.pixel_unshuffle(guide, 8))
        features = torch.relu(seen) * mask
        fine = nn.functional.pixel_shuffle(self.last(features), 8)
        return features, torch.cat([fine[:, :1] + guide, fine[:, 1:]], 1)


class TinyFrames(nn.Module):
    """With batch normalisation, which acts differently in training; one output only."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(5, 4, 3, padding=1)
        self.normalise = nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 64, 1)

    def forward(self, frames, mask):
        features = self.normalise(self.first(frames)) * mask
        return torch.tanh(nn.functional.pixel_shuffle(self.last(features), 8))


def seeded(module: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return module()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A compact network and its model file."""
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    module = seeded(Tiny)
    difference = export_model(module, path, replace(COMPACT, dlbi_version="0"))
    assert difference < 1e-5
    assert module.training
    return module, path


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 9, 21)])
def test_any_batch_and_field_gives_what_the_module_gives(exported, shape):
    module, path = exported
    n, y, x = shape
    rng = np.random.default_rng(1)
    inputs = [
        rng.standard_normal(s).astype(np.float32)
        for s in ((n, len(CHANNELS), y, x), (n, 1, 8 * y, 8 * x), (n, 4, y, x))
    ]
    network = load_network(path)
    with torch.no_grad():
        _, expected = module(*map(torch.from_numpy, inputs))
    np.testing.assert_allclose(network.run(*inputs), expected.numpy(), atol=1e-5)
    assert network.metadata == COMPACT


def test_the_file_stands_alone_and_tells_nothing_of_its_place(exported):
    _, path = exported
    assert [p.name for p in path.parent.iterdir()] == ["tiny.onnx"]
    content = path.read_bytes()
    for word in (b"stack_trace", b"class_hierarchy", b"/site-packages/", b".py"):
        assert word not in content
    model = onnx.load_model(path)
    onnx.checker.check_model(model, full_check=True)
    assert [v.name for v in model.graph.input] == ["statistics", "guide", "mask"]
    assert [v.name for v in model.graph.output] == ["image"]
    assert [p.key for p in model.metadata_props] == [METADATA_KEY]


def test_equal_weights_give_equal_bytes_in_any_memory_format(exported, tmp_path):
    _, path = exported
    module = seeded(Tiny).to(memory_format=torch.channels_last).eval()
    export_model(module, tmp_path / "again.onnx", COMPACT)
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert module.last.weight.is_contiguous(memory_format=torch.channels_last)


def test_tiles_and_workers_do_not_change_the_image(exported):
    network = load_network(exported[1])
    rng = np.random.default_rng(2)
    seen = Observation(
        rng.standard_normal((len(CHANNELS), 37, 30)).astype(np.float32),
        rng.random((8 * 37, 8 * 30)).astype(np.float32), 1.0, {},
    )  # fmt: skip
    whole = run_passes(network, seen, seed=1)
    tiled, parallel = (
        run_passes(network, seen, seed=1, max_tile_px=300, n_workers=n) for n in (1, 3)
    )
    for a, b, c in zip(whole, tiled, parallel, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_array_equal(b, c)


def test_a_paper_network_is_exported_as_it_acts_in_testing(tmp_path):
    module = seeded(TinyFrames)
    rng = np.random.default_rng(3)
    frames = rng.uniform(-1, 1, (2, 5, 7, 8)).astype(np.float32)
    mask = np.ones((2, 4, 7, 8), np.float32)
    module(torch.from_numpy(3 * frames + 1), torch.from_numpy(mask))  # moves the running mean
    export_model(module, tmp_path / "p.onnx", PAPER)
    assert module.training
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(frames), torch.from_numpy(mask)).numpy()
    found = load_network(tmp_path / "p.onnx").run_frames(frames, mask)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_new_description_keeps_the_network(exported, tmp_path):
    _, path = exported
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(path.read_bytes())
    confidence = Confidence(5.0, (-1.0, 2.0), (3.0, -3.0))
    described = ModelMetadata(
        "measured", "compact", mask_channels=4, keep=0.8, halo_px=HALO, channels=CHANNELS,
        confidence=confidence,
    )  # fmt: skip
    replace_metadata(copy, described)
    before, after = load_network(path), load_network(copy)
    assert after.metadata == described
    assert after.sha256 != before.sha256
    rng = np.random.default_rng(4)
    inputs = [
        rng.random(s).astype(np.float32) for s in ((1, 20, 5, 5), (1, 1, 40, 40), (1, 4, 5, 5))
    ]
    np.testing.assert_array_equal(before.run(*inputs), after.run(*inputs))
    replace_metadata(copy, COMPACT)
    assert copy.read_bytes() == path.read_bytes()


def test_a_description_that_does_not_fit_leaves_the_file_alone(exported, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported[1].read_bytes())
    other = ModelMetadata(
        "wrong", "compact", mask_channels=7, keep=0.8, halo_px=0, channels=CHANNELS
    )
    with pytest.raises(InputError, match="does not run as its description says"):
        replace_metadata(copy, other)
    assert copy.read_bytes() == exported[1].read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["copy.onnx"]


def test_a_halo_smaller_than_the_reach_is_refused(tmp_path):
    module = seeded(Tiny)
    with torch.no_grad():
        for weight in module.parameters():
            weight.abs_()  # so that no ReLU hides an influence
    short = ModelMetadata(
        "tiny", "compact", mask_channels=4, keep=0.8, halo_px=HALO - 1, channels=CHANNELS
    )
    with pytest.raises(InputError, match="halo of 3 camera pixels"):
        export_model(module, tmp_path / "short.onnx", short)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused(tmp_path):
    module = seeded(Tiny)
    with torch.no_grad():
        module.guide.bias[1] = -torch.inf
    with pytest.raises(InputError, match=r"not finite \(guide\.bias\)"):
        export_model(module, tmp_path / "bad.onnx", COMPACT)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_replaced_only_on_request(exported):
    module, path = exported
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        export_model(module, path, COMPACT)
    assert path.read_bytes() == before
