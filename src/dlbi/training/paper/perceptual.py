"""Where the features of the perceptual loss come from: a VGG19 file, or the training structures."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.core.rng import derived_seed, stream
from dlbi.io.files import reading, writing
from dlbi.io.provenance import content_sha256
from dlbi.training.paper.batches import truth
from dlbi.training.paper.config import PerceptualConfig
from dlbi.training.paper.features import Features, StructureFeatures, Vgg19Features, resized
from dlbi.training.paper.generator import SCALES

NOISE_LIMIT = 0.5
"""Strongest noise that the small network learns to remove; images span 2."""

STATISTICS_BATCHES = 9
LEAST_STD = 1e-6

CPU = torch.device("cpu")

_FILE = "features.safetensors"


def perceptual_features(
    config: PerceptualConfig,
    folder: Path,
    densities: NDArray[np.float16],
    seed: int,
    *,
    device: torch.device = CPU,
    resume: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Features, dict[str, Any]]:
    """The features of a training, with frozen parameters, and what the record tells of them.

    Parameters
    ----------
    config : PerceptualConfig
        With a file of VGG19 weights, or without.
    folder : Path
        Where the small network is kept.
    densities : ndarray, (N, Y, X)
        Structures to train the small network on, in [0, 1].
    seed : int
    device : torch.device
        Where the features will be used.
    resume : bool
        Take the small network that the folder holds, if it holds one.
    progress : callable, optional
        Called with (done, total) steps while the small network is trained.

    Returns
    -------
    features : Features
    record : dict
        Kind, file name and checksum.

    Warns
    -----
    DlbiWarning
        If the small network stands in for VGG19.

    Raises
    ------
    InputError, FileFormatError
        If a file cannot be read, has another checksum or holds other weights.
    """
    if config.weights is not None:
        checksum = content_sha256(config.weights)
        if config.sha256 not in (None, checksum):
            raise InputError(
                f"{config.weights}: has the SHA-256 {checksum}, not {config.sha256}; download it "
                "again or correct perceptual.sha256"
            )
        vgg19 = Vgg19Features(config.image_px)
        _load(vgg19, config.weights)
        return _frozen(vgg19, device), {
            "kind": "vgg19", "file": config.weights.name, "sha256": checksum,
        }  # fmt: skip
    warnings.warn(
        "no VGG19 weights are given (perceptual.weights), so the perceptual loss compares "
        "features of a small network that is trained on simulated structures",
        DlbiWarning,
        stacklevel=2,
    )
    file = folder / _FILE
    if not (resume and file.exists()):
        _save(train_features(config, densities, seed, device=device, progress=progress), file)
    features = StructureFeatures(config.image_px, config.channels)
    _load(features, file)
    return _frozen(features, device), {
        "kind": "structures", "file": file.name, "sha256": content_sha256(file),
    }  # fmt: skip


def train_features(
    config: PerceptualConfig,
    densities: NDArray[np.float16],
    seed: int,
    *,
    device: torch.device = CPU,
    progress: Callable[[int, int], None] | None = None,
) -> StructureFeatures:
    """Train the encoder of a denoising autoencoder (doi:10.1145/1390156.1390294).

    Structures of every scale with noise of any strength go in, and a linear decoder must give
    them back without it; arguments as in `perceptual_features`.
    """
    features = StructureFeatures(config.image_px, config.channels)
    decoder = nn.Sequential(nn.Conv2d(4 * config.channels, 64, 3, padding=1), nn.PixelShuffle(8))
    source = torch.Generator().manual_seed(derived_seed(seed, "features"))
    for parameter in [*features.parameters(), *decoder.parameters()]:
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=source)
        else:
            nn.init.zeros_(parameter)
    networks = nn.ModuleList((features, decoder)).to(device)
    optimizer = torch.optim.Adam(networks.parameters(), config.learning_rate)
    for step in range(config.steps):
        clean, noisy = (
            each.to(device) for each in _noisy_structures(config, densities, seed, step)
        )
        loss = (decoder(features.encoder(noisy)) - clean).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if progress is not None:
            progress(step + 1, config.steps)
    features.std = _feature_std(features, config, densities, seed, device)
    return features


def _noisy_structures(
    config: PerceptualConfig, densities: NDArray[np.float16], seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """The batch of one step: resized structures in [0, 1], clean and noisy."""
    rng = stream(seed, "features", step)
    chosen = rng.integers(len(densities), size=config.batch)
    images = truth(densities[np.sort(chosen)], SCALES[step % len(SCALES)])
    clean = (resized(images, config.image_px) + 1.0) / 2.0
    strength = rng.uniform(0.0, NOISE_LIMIT / 2.0, (config.batch, 1, 1, 1))
    noise = strength * rng.standard_normal(clean.shape)
    return clean, clean + torch.from_numpy(noise.astype(np.float32))


def _feature_std(
    features: StructureFeatures,
    config: PerceptualConfig,
    densities: NDArray[np.float16],
    seed: int,
    device: torch.device,
) -> Tensor:
    """Standard deviation of each feature map over clean structures; the mean for dead ones."""
    other = derived_seed(seed, "feature statistics")
    with torch.no_grad():
        values = torch.cat(
            [
                features.encoder(_noisy_structures(config, densities, other, i)[0].to(device))
                for i in range(STATISTICS_BATCHES)
            ]
        )
    std = values.std(dim=(0, 2, 3))
    std = torch.where(std > 1e-3 * std.mean(), std, std.mean())
    return std.clamp(min=LEAST_STD).view(-1, 1, 1)


def _frozen(features: Features, device: torch.device) -> Features:
    return features.requires_grad_(False).eval().to(device)


def _save(features: nn.Module, file: Path) -> None:
    part = file.with_name(f".{file.name}.part")
    with writing(file):
        part.write_bytes(safetensors.torch.save(features.cpu().state_dict()))
        part.replace(file)


def _load(network: nn.Module, file: Path) -> None:
    """Fill a network from a file; the file may hold more than it needs."""
    wanted = network.state_dict()
    with reading(file, "state dict of a network"):
        if file.suffix == ".safetensors":
            found = safetensors.torch.load_file(file)
        else:
            found = torch.load(file, map_location="cpu", weights_only=True)
        shapes = {name: tuple(values.shape) for name, values in found.items()}
    for name, values in wanted.items():
        if shapes.get(name) != tuple(values.shape):
            raise FileFormatError(
                f"{file}: {name} has the shape {shapes.get(name)}, not {tuple(values.shape)}; give "
                "a state dict of torchvision's vgg19, or none"
                if isinstance(network, Vgg19Features)
                else f"{file}: is not of this network ({name}); delete it to train it again"
            )
    network.load_state_dict({name: found[name] for name in wanted})
