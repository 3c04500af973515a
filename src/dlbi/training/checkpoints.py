"""Checkpoints: a training killed at any moment continues where the last one was saved.

A checkpoint is a folder of weights (safetensors), optimiser states and a JSON record with the
SHA-256 of every file. A new one is complete before it takes the place of the old one, and at every
moment between there is one that can be loaded.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError
from dlbi.io.files import reading, writing
from dlbi.io.provenance import load_json, software_versions, write_json

_NAME = "checkpoint"
_RECORD = "record.json"
_FORMAT = 1
_OWN_KEYS = ("format", "step", "versions", "files")


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a training to continue in the folder."""
    return _current(folder) is not None


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    record: Mapping[str, Any],
) -> None:
    """Replace the checkpoint of a training.

    Parameters
    ----------
    folder : Path
        Folder of the training; the checkpoint is a folder in it.
    step : int
        Steps done.
    modules, optimizers : mapping
        What to save, by name.
    record : mapping
        What else is needed to continue, as JSON values: the configuration under ``config``,
        seconds spent, and so on.

    Raises
    ------
    OutputError
        If it cannot be written; the old checkpoint stays.
    """
    place, new, old = (folder / f"{_NAME}{suffix}" for suffix in ("", ".new", ".old"))
    with writing(place):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name, module in modules.items():
            weights = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
            save_file(weights, new / _weights_file(name))
        for name, optimizer in optimizers.items():
            torch.save(optimizer.state_dict(), new / _optimizer_file(name))
        files = {file.name: _sha256(file) for file in sorted(new.iterdir())}
        own = {"format": _FORMAT, "step": step, "versions": _versions(), "files": files}
        write_json(new / _RECORD, own | dict(record))
        # An interrupted call leaves .old beside a complete checkpoint, or in its place.
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
        new.rename(place)
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, Optimizer],
    *,
    config: Mapping[str, Any] | None = None,
    n_threads: int | None = None,
) -> dict[str, Any]:
    """Bring modules and optimisers to the state of the checkpoint.

    Parameters
    ----------
    folder : Path
        Folder of the training.
    modules, optimizers : mapping
        As given to `save_checkpoint`; some may be left out.
    config : mapping, optional
        Must equal the recorded configuration.
    n_threads : int, optional
        Threads of a training that goes on.

    Returns
    -------
    dict
        The record; ``step`` is the number of steps done.

    Raises
    ------
    InputError
        If there is no checkpoint, or it is of another configuration.
    FileFormatError
        If a file is missing, damaged, of another network, or holds weights that are not finite.

    Warns
    -----
    DlbiWarning
        If it was written by another version of PyTorch or with another number of threads, so bits
        may differ from then on.
    """
    place, record = _found(folder)
    if config is not None:
        _check_config(place, record.get("config"), json.loads(json.dumps(config)))
    used = [_weights_file(n) for n in modules] + [_optimizer_file(n) for n in optimizers]
    for name in used:
        _check_file(place / name, record["files"].get(name))
    for name, module in modules.items():
        _load_weights(place / _weights_file(name), module)
    for name, optimizer in optimizers.items():
        _load_optimizer(place / _optimizer_file(name), optimizer)
    written = record["versions"].get("torch")
    if written != torch.__version__:
        warnings.warn(
            f"{place}: was written by PyTorch {written}, this is {torch.__version__}; the result "
            "will not be bit for bit that of an uninterrupted training",
            DlbiWarning,
            stacklevel=2,
        )
    if n_threads not in (None, record.get("n_threads")):
        warnings.warn(
            f"{folder}: was trained with {record.get('n_threads')} threads so far and goes on with "
            f"{n_threads}; the result will not be bit for bit that of an uninterrupted training",
            DlbiWarning,
            stacklevel=2,
        )
    return record


def read_record(folder: Path) -> dict[str, Any]:
    """The record of the checkpoint, as `load_checkpoint` returns it, without loading anything.

    Raises
    ------
    InputError, FileFormatError
        If there is no checkpoint, or the record is damaged.
    """
    return _found(folder)[1]


def _found(folder: Path) -> tuple[Path, dict[str, Any]]:
    place = _current(folder)
    if place is None:
        raise InputError(f"{folder}: holds no checkpoint to continue from; train without --resume")
    record = load_json(place / _RECORD)
    if not all(key in record for key in _OWN_KEYS) or record["format"] != _FORMAT:
        raise FileFormatError(
            f"{place / _RECORD}: is no record of a checkpoint of this version; train anew"
        )
    return place, record


def _current(folder: Path) -> Path | None:
    places = (folder / _NAME, folder / f"{_NAME}.old")
    return next((place for place in places if place.is_dir()), None)


def _weights_file(name: str) -> str:
    return f"{name}.safetensors"


def _optimizer_file(name: str) -> str:
    return f"{name}.optimizer.pt"


def _versions() -> dict[str, str]:
    return software_versions() | {"torch": torch.__version__}


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check_config(place: Path, recorded: Any, wanted: Any) -> None:
    if recorded != wanted:
        key = _first_difference(recorded, wanted)
        raise InputError(
            f"{place}: belongs to a training with another configuration ({key} differs); continue "
            "with that one or train into another folder"
        )


def _first_difference(a: Any, b: Any, key: str = "") -> str:
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return key or "all of it"
    name = next(k for k in sorted({*a, *b}) if k not in a or k not in b or a[k] != b[k])
    return _first_difference(a.get(name), b.get(name), f"{key}.{name}" if key else name)


def _check_file(file: Path, expected: str | None) -> None:
    if expected is None or not file.is_file():
        raise FileFormatError(f"{file}: is missing from the checkpoint; train anew")
    with reading(file, "file of a checkpoint"):
        found = _sha256(file)
    if found != expected:
        raise FileFormatError(f"{file}: is damaged (its checksum differs); train anew")


def _load_weights(file: Path, module: nn.Module) -> None:
    try:
        weights = load_file(file)
        module.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise FileFormatError(f"{file}: does not hold the weights of this network") from error
    bad = [n for n, w in weights.items() if w.is_floating_point() and not w.isfinite().all()]
    if bad:
        raise FileFormatError(f"{file}: the weights {bad[0]} are not finite; train anew")


def _load_optimizer(file: Path, optimizer: Optimizer) -> None:
    with reading(file, "optimiser state"):
        optimizer.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
