"""Where a reconstruction comes from, and how to make it again, as its provenance tells."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from dlbi.artefacts.record import Record
from dlbi.io.provenance import IDLE_SETTINGS
from dlbi.report.facts import Fact

IDLE_FLAGS, IDLE_OPTIONS = ("--overwrite", "--resume"), ("--workers",)
"""What changes no byte of the files."""


def origin_facts(provenance: Record, record: Record) -> list[Fact]:
    """Versions, inputs, seed, settings and network."""
    facts = []
    if isinstance(provenance.get("software"), Mapping):
        versions = ", ".join(f"{name} {v}" for name, v in provenance["software"].items())
        facts.append(Fact("Versions", versions))
    facts += [
        Fact("Input", str(entry.get("name", "")), f"SHA-256 {entry.get('sha256', 'unknown')}")
        for entry in provenance.get("inputs") or ()
        if isinstance(entry, Mapping)
    ]
    seed = provenance.get("seed", record.get("seed"))
    if seed is not None:
        facts.append(Fact("Seed", str(seed)))
    settings = _settings(provenance.get("config"))
    if settings:
        facts.append(Fact("Settings", settings))
    match record.get("network"):
        case {"name": str(name), "sha256": str(sha256), "binning": int(n)} if n > 1:
            name = f"{name}, sees blocks of {n}×{n} camera pixels"
            facts.append(Fact("Network", name, f"SHA-256 {sha256}"))
        case {"name": str(name), "sha256": str(sha256)}:
            facts.append(Fact("Network", name, f"SHA-256 {sha256}"))
    return facts


def rerun_command(provenance: Record) -> str | None:
    """The command that makes the same files again; None where there was none.

    The seed is added if it was drawn, folders are left out, and so is what changes no byte, so
    that the same work has the same command wherever it is done.
    """
    words = provenance.get("command")
    if not isinstance(words, Sequence) or isinstance(words, str) or not words:
        return None
    kept: list[str] = []
    rest = iter(str(word) for word in words)
    for word in rest:
        name, _, value = word.partition("=")
        if name in IDLE_OPTIONS:
            if not value:
                next(rest, None)
        elif word not in IDLE_FLAGS:
            kept.append(_without_folder(word))
    seed = provenance.get("seed")
    if seed is not None and not any(word.partition("=")[0] == "--seed" for word in kept):
        kept += ["--seed", str(seed)]
    return shlex.join(kept)


def _without_folder(word: str) -> str:
    """A path, or an option with one behind an equals sign, without its folders."""
    option, equals, path = word.partition("=") if word.startswith("--") else ("", "", word)
    if option and not equals:
        return word
    return option + equals + (path.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or path)


def _settings(config: Any) -> str:
    if not isinstance(config, Mapping):
        return ""
    return ", ".join(
        f"{key.replace('_', ' ')} {_plain(value)}"
        for key, value in config.items()
        if value is not None and key not in IDLE_SETTINGS
    )


def _plain(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "–".join(map(str, value)) if len(value) == 2 else ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
