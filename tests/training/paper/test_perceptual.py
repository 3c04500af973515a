"""Features from a VGG19 file, or learnt from structures; the choice is told and recorded."""

import hashlib
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import relu

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.training.paper.batches import truth
from dlbi.training.paper.config import PerceptualConfig
from dlbi.training.paper.features import IMAGENET_MEAN, IMAGENET_STD
from dlbi.training.paper.generator import SCALES
from dlbi.training.paper.perceptual import perceptual_features, train_features

SMALL = PerceptualConfig(image_px=16, channels=2, steps=3, batch=2)
TORCHVISION = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256),
    14: (256, 256), 16: (256, 256), 19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512),
}  # fmt: skip
"""Output and input channels of the convolutions of torchvision's vgg19, by their number."""


def vgg19_file(folder, suffix=".pth", broken=None):
    """A state dict as torchvision has it, with random weights and its classifier."""
    source = torch.Generator().manual_seed(0)
    state = {}
    for n, (m, k) in TORCHVISION.items():
        std = (2 / (9 * k)) ** 0.5
        state[f"features.{n}.weight"] = std * torch.randn(m, k, 3, 3, generator=source)
        state[f"features.{n}.bias"] = 0.01 * torch.randn(m, generator=source)
    state["classifier.6.bias"] = torch.zeros(1000)
    if broken:
        broken(state)
    file = folder / f"vgg19{suffix}"
    if suffix == ".pth":
        torch.save(state, file)
    else:
        safetensors.torch.save_file(state, file)
    return file, state


@pytest.fixture(scope="module")
def vgg19(tmp_path_factory):
    return vgg19_file(tmp_path_factory.mktemp("vgg19"))


@pytest.fixture
def densities():
    rng = np.random.default_rng(0)
    rows = np.arange(32)
    lines = np.abs(rows[None, :, None] - rng.integers(0, 32, (6, 1, 1))) < 2
    return np.broadcast_to(lines, (6, 32, 32)).astype(np.float16)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_vgg19_computes_what_its_file_says(tmp_path, suffix):
    file, state = vgg19_file(tmp_path, suffix)
    features, _ = perceptual_features(
        PerceptualConfig(weights=file, image_px=16), tmp_path, np.empty(0), 0
    )
    grey = torch.rand(1, 1, 16, 16)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    x = (grey - mean) / std
    for n in TORCHVISION:
        x = relu(
            nn.functional.conv2d(
                x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1
            )
        )
        if n in (2, 7, 16, 25):
            x = nn.functional.max_pool2d(x, 2)
    assert x.shape == (1, 512, 1, 1)
    torch.testing.assert_close(features(2 * grey - 1), x, rtol=1e-4, atol=1e-5)


def test_vgg19_is_recorded_with_its_checksum_and_stays_as_it_is(tmp_path, vgg19):
    file, _ = vgg19
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    config = PerceptualConfig(weights=file, sha256=checksum, image_px=16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features, record = perceptual_features(config, tmp_path, np.empty(0), 0)
    assert record == {"kind": "vgg19", "file": "vgg19.pth", "sha256": checksum}
    assert not any(p.requires_grad for p in features.parameters())


def test_weights_of_another_checksum_are_refused(tmp_path, vgg19):
    config = PerceptualConfig(weights=vgg19[0], sha256=64 * "0")
    with pytest.raises(InputError, match="SHA-256"):
        perceptual_features(config, tmp_path, np.empty(0), 0)


@pytest.mark.parametrize(
    "broken",
    [
        lambda state: state.pop("features.25.bias"),
        lambda state: state.update({"features.0.weight": torch.zeros(64, 1, 3, 3)}),
    ],
    ids=["missing", "shape"],
)
def test_other_networks_are_refused(tmp_path, broken):
    file, _ = vgg19_file(tmp_path, broken=broken)
    with pytest.raises(FileFormatError, match=r"features\.\d+\.\w+ .*vgg19"):
        perceptual_features(PerceptualConfig(weights=file), tmp_path, np.empty(0), 0)


@pytest.mark.parametrize("content", [b"", b"no weights"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_without_weights_are_refused(tmp_path, content, suffix):
    file = tmp_path / f"vgg19{suffix}"
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match="vgg19"):
        perceptual_features(PerceptualConfig(weights=file), tmp_path, np.empty(0), 0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.pth"):
        perceptual_features(
            PerceptualConfig(weights=tmp_path / "none.pth"), tmp_path, np.empty(0), 0
        )


def test_without_weights_a_small_network_is_trained_and_told_of(tmp_path, densities):
    with pytest.warns(DlbiWarning, match="no VGG19 weights"):
        features, record = perceptual_features(SMALL, tmp_path, densities, seed=1)
    file = tmp_path / "features.safetensors"
    assert [f.name for f in tmp_path.iterdir()] == [file.name]
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert record == {"kind": "structures", "file": file.name, "sha256": checksum}
    assert features(torch.zeros(2, 1, 32, 32)).shape == (2, 8, 2, 2)
    assert not any(p.requires_grad for p in features.parameters())
    trained = train_features(SMALL, densities, seed=1).state_dict()
    assert trained.keys() == features.state_dict().keys()
    assert all(torch.equal(trained[name], v) for name, v in features.state_dict().items())


@pytest.mark.filterwarnings("ignore::dlbi.core.errors.DlbiWarning")
def test_a_small_network_is_trained_once(tmp_path, densities):
    first, _ = perceptual_features(SMALL, tmp_path, densities, seed=1)
    calls = []
    again, _ = perceptual_features(
        SMALL, tmp_path, densities, seed=2, resume=True, progress=lambda *a: calls.append(a)
    )
    assert not calls
    assert all(torch.equal(first.state_dict()[n], v) for n, v in again.state_dict().items())
    with pytest.raises(FileFormatError, match="delete it"):
        perceptual_features(
            SMALL.model_copy(update={"channels": 3}), tmp_path, densities, seed=1, resume=True
        )


def test_the_small_network_learns_to_see_through_noise(densities):
    """Noise moves learnt features less, relative to what another structure does."""
    config = SMALL.model_copy(update={"steps": 150, "channels": 4})
    images = truth(densities, 8)
    noisy = images + 0.4 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def confusion(features):
        clean = features(images)
        moved = (features(noisy) - clean).square().mean()
        return (moved / (clean - clean.roll(1, 0)).square().mean()).item()

    naive = train_features(config.model_copy(update={"steps": 1}), densities, seed=1)
    assert confusion(train_features(config, densities, seed=1)) < 0.5 * confusion(naive)


def test_learnt_features_have_unit_variance_over_structures(densities):
    features = train_features(SMALL.model_copy(update={"steps": 30, "batch": 6}), densities, seed=1)
    with torch.no_grad():
        values = torch.cat([features(truth(densities, scale)) for scale in SCALES])
    std = values.std(dim=(0, 2, 3))
    alive = std > 0
    assert alive.any()
    assert ((std > 0.8) & (std < 1.25))[alive].all()
