"""Configuration files of the training (TOML): which network, which data, how long."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from dlbi.core.errors import InputError
from dlbi.io.files import reading
from dlbi.training.compact.config import CompactConfig
from dlbi.training.paper.config import PaperConfig

TrainingConfig = CompactConfig | PaperConfig

_KINDS = ("compact", "paper")
_CONFIG: TypeAdapter[TrainingConfig] = TypeAdapter(
    Annotated[TrainingConfig, Field(discriminator="kind")]
)


def load_config(path: str | Path) -> TrainingConfig:
    """Read and check a configuration; what it leaves out has the default value.

    Parameters
    ----------
    path : path
        TOML file with ``kind = "compact"`` or ``"paper"`` at its top.

    Raises
    ------
    InputError
        If it cannot be read, is no TOML, or a key is missing, unknown or has an impossible value.
    """
    path = Path(path)
    with reading(path, "TOML file"):
        content = tomllib.loads(path.read_text("utf-8"))
    try:
        return _CONFIG.validate_python(content)
    except ValidationError as error:
        raise InputError(f"{path}: {_sentence(error.errors()[0])}") from error


def _sentence(detail: ErrorDetails) -> str:
    """What is wrong with which key, and what is allowed."""
    # A tagged union puts the kind before the key.
    key = ".".join(str(part) for part in detail["loc"] if part not in _KINDS)
    match detail["type"]:
        case "union_tag_not_found" | "union_tag_invalid":
            return 'kind must be "compact" or "paper" at the top of the file'
        case "missing":
            return f"{key} is missing"
        case "extra_forbidden":
            return f"{key} is no setting; remove it or correct its name"
        case "value_error":
            return str(detail["ctx"]["error"])
    message = detail["msg"]
    return f"{key} = {detail['input']!r}: {message[0].lower()}{message[1:]}"
