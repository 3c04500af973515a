"""Where a training runs."""

from __future__ import annotations

from typing import Literal

import torch

from dlbi.core.errors import InputError


def device_of(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that a configuration asks for; "auto" is CUDA where there is one.

    Raises
    ------
    InputError
        If it asks for CUDA and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise InputError('there is no CUDA device; set optimisation.device = "cpu"')
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")
