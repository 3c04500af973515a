"""Model card: what a network is for, what it saw, how well it does and where it must not be used.

The form follows Mitchell et al. 2019, Model cards for model reporting, doi:10.1145/3287560.3287596.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlbi.learning.network import ModelMetadata

_PURPOSE = {
    "compact": (
        "It turns temporal statistics of a movie of blinking fluorophores, of any number of frames,"
        " and a Richardson–Lucy deconvolution of its mean into an image of ×{upscaling} finer"
        " pixels, with a standard deviation and a p-value for each of them."
    ),
    "paper": (
        "It is the network of the paper (Li et al. 2018, doi:10.1093/bioinformatics/bty241,"
        " section 2.2.2): {n_frames} frames of a movie of blinking fluorophores become an image of"
        " ×{upscaling} finer pixels."
    ),
}

_LIMITS = (
    "All scores, standard deviations and p-values were measured on simulated movies; a microscope "
    "that differs from the simulation makes them optimistic.",
    "Structures unlike those of the training can be drawn wrongly without a large standard "
    "deviation.",
    "Movies outside the ranges above are reconstructed with a warning and unknown quality.",
    "Camera pixels are divided by {upscaling} along each axis, no other factor.",
)


def model_card(metadata: ModelMetadata, *, sha256: str | None = None) -> str:
    """Model card in Markdown.

    Parameters
    ----------
    metadata : ModelMetadata
        Of ``training`` these entries are told where present: `scores` (name → measure → value),
        `calibration` (rows of `dlbi.learning.confidence.CalibrationBin`), `n_series`, `steps`,
        `seed`, `cpu_hours` and `config`.
    sha256 : str, optional
        Of the model file.
    """
    training = metadata.training
    facts = {"upscaling": metadata.upscaling, "n_frames": metadata.n_frames}
    sections = [
        f"# {metadata.name}",
        _PURPOSE[metadata.kind].format(**facts),
        _bullets(
            [
                f"Kind: `{metadata.kind}`, made with dlbi {metadata.dlbi_version}",
                f"SHA-256: `{sha256}`" if sha256 else None,
                f"Statistics read: {', '.join(metadata.channels)}" if metadata.channels else None,
                f"Monte-Carlo dropout of {metadata.mask_channels} features, {metadata.keep:g} kept",
                f"Reach: {metadata.halo_px} camera pixels",
            ]
        ),
        "## Training",
        _bullets(
            [
                f"{_LABELS[key]}: {_number(training[key])}"
                for key in _LABELS
                if training.get(key) is not None
            ]
        ),
        "Ranges of the training movies:" if metadata.ranges else "",
        _table(
            ("figure", "from", "to"),
            ((name, _number(a), _number(b)) for name, (a, b) in metadata.ranges.items()),
        ),
        "## Scores",
        _scores(training.get("scores", {})),
        "## Uncertainty",
        _uncertainty(metadata),
        "## Limits",
        _bullets([limit.format(**facts) for limit in _LIMITS]),
        "## Reproduce",
        _recipe(metadata),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


_LABELS = {
    "n_series": "Simulated movies",
    "steps": "Optimiser steps",
    "seed": "Seed",
    "cpu_hours": "CPU hours",
    "perceptual": "Features of the perceptual loss",
}


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
    if not scores:
        return "Not measured."
    measures = list(dict.fromkeys(key for row in scores.values() for key in row))
    return _table(
        ("", *measures),
        (
            (name, *(_number(row[key]) if key in row else "–" for key in measures))
            for name, row in scores.items()
        ),
    )


def _uncertainty(metadata: ModelMetadata) -> str:
    if metadata.confidence is None:
        return "Never compared with known truth: standard deviations are probably too small."
    text = (
        f"Spreads are multiplied by {metadata.confidence.std_scale:.3g}, after which 68 % of the "
        "errors of the amplitude on held-out simulations lie within one standard deviation. Of the "
        "pixels with p ≤ 0.05 about 5 % are expected to be empty. On other simulations, "
        "{within_one_std} of the errors lay within it."
    ).format(within_one_std=_number(metadata.training.get("within_one_std", "an unknown share")))
    table = _table(
        ("P(empty) stated", "observed", "pixels"),
        (
            (_number(row["stated"]), _number(row["observed"]), _number(row["n_pixels"]))
            for row in metadata.training.get("calibration", ())
        ),
    )
    found = _table(
        ("p up to", "empty", "pixels"),
        (
            (_number(row["stated"]), _number(row["observed"]), _number(row["n_pixels"]))
            for row in metadata.training.get("discovery", ())
        ),
    )
    return "\n\n".join(part for part in (text, table, found) if part)


def _recipe(metadata: ModelMetadata) -> str:
    config = metadata.training.get("config")
    if config is None:
        return "The settings of the training were not recorded."
    settings = json.dumps(config, indent=2, ensure_ascii=False)
    return (
        f"Install dlbi {metadata.dlbi_version} and train on these settings "
        f"(`dlbi train CONFIG --out FOLDER`):\n\n```json\n{settings}\n```"
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = ["| " + " | ".join(row) + " |" for row in rows]
    if not body:
        return ""
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *body])


def _bullets(items: Iterable[str | None]) -> str:
    return "\n".join(f"- {item}" for item in items if item)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
