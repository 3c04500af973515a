"""What a finished training leaves: a model file for `dlbi.learning` and its card."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from torch import nn

from dlbi import __version__
from dlbi.core.rng import derived_seed
from dlbi.io.files import writing
from dlbi.learning.network import ModelMetadata, load_network
from dlbi.learning.observation import CHANNELS
from dlbi.training.card import model_card
from dlbi.training.compact import run as compact
from dlbi.training.compact.config import CompactConfig
from dlbi.training.config import TrainingConfig
from dlbi.training.export import export_model, replace_metadata
from dlbi.training.honesty import measure_honesty
from dlbi.training.paper import run as paper
from dlbi.training.pool import Pool

MODEL, CARD = "model.onnx", "model.md"

RARE = 0.002
"""Share of the series beyond either end of a range; single outliers would make it meaningless."""

_SECONDS_PER_HOUR = 3600.0
_SCORES = ("psnr_db", "corr_2px", "false_light")
_FEATURES = {"vgg19": "VGG19", "structures": "a small network, trained on simulated structures"}


def write_model(
    config: TrainingConfig,
    folder: Path,
    pool: Pool,
    validation: Pool,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Export the network of the checkpoint in a folder, replacing an earlier export.

    The uncertainty of a compact network is corrected by what `measure_honesty` finds.

    Parameters
    ----------
    config : CompactConfig or PaperConfig
    folder : Path
        Where the network was trained.
    pool : Pool
        Series of its last cycle; their figures are the ranges in which it is at home.
    validation : Pool
        Other series.
    n_workers : int
        Threads; the files do not depend on it.
    progress : callable, optional
        Called with (done, total) series that its uncertainty was compared with.

    Returns
    -------
    tuple of Path
        Model file and card.

    Raises
    ------
    InputError, FileFormatError
        If there is no checkpoint of this configuration, or it is damaged.
    OutputError
        If the export fails.
    """
    model, card = folder / MODEL, folder / CARD
    network, metadata = _trained(config, folder, pool)
    with writing(model), TemporaryDirectory(prefix=f".{MODEL}.", dir=folder) as place:
        # The comparison takes a while, and no file without its correction may bear the name.
        draft = Path(place) / MODEL
        export_model(network, draft, metadata)
        if metadata.kind == "compact":
            confidence, tested = measure_honesty(
                load_network(draft), validation,
                seed=derived_seed(config.seed, "honesty"), n_workers=n_workers, progress=progress,
            )  # fmt: skip
            facts = {**metadata.training, **tested}
            metadata = replace(metadata, confidence=confidence, training=facts)
            replace_metadata(draft, metadata)
        digest = sha256(draft.read_bytes()).hexdigest()
        draft.replace(model)
    with writing(card):
        card.write_text(model_card(metadata, sha256=digest), encoding="utf-8")
    return model, card


def _trained(config: TrainingConfig, folder: Path, pool: Pool) -> tuple[nn.Module, ModelMetadata]:
    """The network of a checkpoint and its description, without the confidence."""
    common: dict[str, Any] = {
        "mask_channels": config.network.channels,
        "keep": config.network.keep,
        "dlbi_version": __version__,
    }
    if isinstance(config, CompactConfig):
        network, record = compact.load_trained(config, folder)
        shortest, longest = config.data.n_frames
        ranges = summary_ranges(pool.records) | {"n_frames": (float(shortest), float(longest))}
        return network, ModelMetadata(
            config.name, "compact", halo_px=network.halo_px, channels=CHANNELS, ranges=ranges,
            training=training_facts(config, record), **common,
        )  # fmt: skip
    generator, record = paper.load_trained(config, folder)
    return generator, ModelMetadata(
        config.name, "paper", halo_px=generator.halo_px, n_frames=config.network.n_frames,
        training=training_facts(config, record), **common,
    )  # fmt: skip


def summary_ranges(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Range of each physical figure of the series, without the outermost `RARE` on each side."""
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record["summary"].items():
            values.setdefault(name, []).append(value)
    return {
        name: (
            float(np.quantile(found, RARE, method="lower")),
            float(np.quantile(found, 1.0 - RARE, method="higher")),
        )
        for name, found in values.items()
    }


def training_facts(config: TrainingConfig, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the model file tells of its training.

    Parameters
    ----------
    config : CompactConfig or PaperConfig
    record : mapping
        Of the checkpoint.
    """
    facts = {
        "config": config.model_dump(mode="json"),
        "n_series": sum(data.n_series for data in dict(config.training_parts()).values()),
        "steps": record["step"],
        "seed": config.seed,
        "cpu_hours": record["cpu_s"] / _SECONDS_PER_HOUR,
        "versions": record["versions"],
    }
    if "perceptual" in record:
        facts["perceptual"] = _features(record["perceptual"])
    last = record["log"][-1] if record["log"] else {}
    scores = {
        title: {score: last[prefix + score] for score in _SCORES if prefix + score in last}
        for title, prefix in (("network", ""), ("Richardson–Lucy", "guide_"))
    }
    return facts | ({"scores": scores} if any(scores.values()) else {})


def _features(perceptual: Mapping[str, str]) -> str:
    kind = _FEATURES[perceptual["kind"]]
    return f"{kind} ({perceptual['file']}, SHA-256 {perceptual['sha256']})"
