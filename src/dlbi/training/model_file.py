"""What a finished training leaves: a model file for `dlbi.learning` and its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from dlbi.io.files import writing
from dlbi.learning.network import ModelMetadata
from dlbi.learning.observation import CHANNELS
from dlbi.training.card import model_card
from dlbi.training.compact import run as compact
from dlbi.training.compact.config import CompactConfig
from dlbi.training.config import TrainingConfig
from dlbi.training.export import export_model
from dlbi.training.paper import run as paper

MODEL, CARD = "model.onnx", "model.md"

_SECONDS_PER_HOUR = 3600.0
_SCORES = ("psnr_db", "corr_2px", "false_light")


def write_model(
    config: TrainingConfig, folder: Path, records: Iterable[Mapping[str, Any]]
) -> tuple[Path, Path]:
    """Export the network of the checkpoint in a folder, replacing an earlier export.

    Its uncertainty is not corrected yet; `dlbi.training.export.replace_metadata` brings the
    correction in when it has been measured.

    Parameters
    ----------
    config : CompactConfig or PaperConfig
    folder : Path
        Where the network was trained.
    records : iterable of mapping
        Of the series it was trained on, `dlbi.training.pool.Pool.records`.

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
    ranges = summary_ranges(records)
    model, card = folder / MODEL, folder / CARD
    if isinstance(config, CompactConfig):
        network, record = compact.load_trained(config, folder)
        metadata = ModelMetadata(
            config.name, "compact",
            mask_channels=config.network.channels, keep=config.network.keep,
            halo_px=network.halo_px, channels=CHANNELS, ranges=ranges,
            training=training_facts(config, record),
        )  # fmt: skip
        export_model(network, model, metadata, overwrite=True)
    else:
        generator, record = paper.load_trained(config, folder)
        metadata = ModelMetadata(
            config.name, "paper",
            mask_channels=config.network.channels, keep=config.network.keep,
            halo_px=generator.halo_px, n_frames=config.network.n_frames, ranges=ranges,
            training=training_facts(config, record),
        )  # fmt: skip
        export_model(generator, model, metadata, overwrite=True)
    with writing(card):
        digest = sha256(model.read_bytes()).hexdigest()
        card.write_text(model_card(metadata, sha256=digest), encoding="utf-8")
    return model, card


def summary_ranges(records: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value of each physical figure of the series."""
    values: dict[str, list[float]] = {}
    for record in records:
        for name, value in record["summary"].items():
            values.setdefault(name, []).append(value)
    return {name: (min(found), max(found)) for name, found in values.items()}


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
        "n_series": config.data.n_series,
        "steps": record["step"],
        "seed": config.seed,
        "cpu_hours": record["cpu_s"] / _SECONDS_PER_HOUR,
        "versions": record["versions"],
    }
    last = record["log"][-1] if record["log"] else {}
    scores = {
        title: {score: last[prefix + score] for score in _SCORES if prefix + score in last}
        for title, prefix in (("network", ""), ("Richardson–Lucy", "guide_"))
    }
    return facts | ({"scores": scores} if any(scores.values()) else {})
