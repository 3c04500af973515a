"""A folder of simulated training series as memory-mapped arrays; pure function of its config."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from dlbi import __version__
from dlbi.core.errors import FileFormatError, InputError
from dlbi.core.rng import derived_seed
from dlbi.learning.observation import CHANNELS
from dlbi.simulation.structures import KINDS
from dlbi.training.pairs import UPSCALING, make_frames_pair, make_pair
from dlbi.training.scenes import FAMILIES, REGIMES, SCENES, UNSEEN_FAMILIES

VALIDATION = "validation"
"""Name of the part of a pool that scores; all others are trained on."""

View = Literal["statistics", "frames"]
Shares = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]

_RECORDS = "records.jsonl"
_SETTINGS = "settings.json"
_CHUNK = 16
"""Series that are on disk before their record is."""


class DataConfig(BaseModel):
    """What a network is trained on.

    Parameters
    ----------
    n_series, n_validation : int
        Series to train on and to score with.
    field_px : int
        Camera pixels along one side.
    n_frames : tuple of int
        Shortest and longest movie.
    view : {"statistics", "frames"}
        What the network sees: `dlbi.learning.observation`, or the normalised frames themselves,
        which must then all be of one length.
    families, validation_families : dict
        Shares of the structure families.
    regimes, validation_regimes : dict
        Shares of the kinds of scene.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_series: int = Field(gt=0)
    n_validation: int = Field(gt=0)
    field_px: int = Field(60, ge=16)
    n_frames: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(ge=2)]] = (20, 400)
    view: View = "statistics"
    families: Shares = FAMILIES
    validation_families: Shares = FAMILIES | {f: 4 / 3 * s for f, s in UNSEEN_FAMILIES.items()}
    regimes: Shares = REGIMES
    validation_regimes: Shares = REGIMES

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.n_frames[0] > self.n_frames[1]:
            raise ValueError(f"n_frames must rise, got {list(self.n_frames)}")
        if self.view == "frames" and self.n_frames[0] != self.n_frames[1]:
            raise ValueError(
                f"a network that sees frames needs one length, got n_frames {list(self.n_frames)}"
            )
        for name, known, given in (
            ("family", KINDS, self.families),
            ("family", KINDS, self.validation_families),
            ("regime", SCENES, self.regimes),
            ("regime", SCENES, self.validation_regimes),
        ):
            unknown = sorted(set(given) - set(known))
            if unknown:
                raise ValueError(f"no {name} is called {unknown[0]!r}; known are {sorted(known)}")
        return self

    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Name, shape and type of the arrays of one series."""
        side, fine = self.field_px, UPSCALING * self.field_px
        if self.view == "frames":
            return {
                "frames": ((self.n_frames[0], side, side), "float16"),
                "density": ((fine, fine), "float16"),
            }
        return {
            "statistics": ((len(CHANNELS), side, side), "float16"),
            "guide": ((fine, fine), "float16"),
            "target": ((fine, fine), "float16"),
            "structure": ((fine, fine), "uint8"),
        }


@dataclass(frozen=True, slots=True)
class Pool:
    """Series on disk.

    Parameters
    ----------
    arrays : dict of ndarray
        By name, (N, …) memory-mapped; `DataConfig.layout` tells which.
    records : list of dict
        Family, regime and physical summary of each series.
    """

    arrays: dict[str, NDArray[Any]]
    records: list[dict[str, Any]]

    def __len__(self) -> int:
        """Series in the pool."""
        return len(self.records)


def make_pool(
    folder: Path,
    config: DataConfig,
    seed: int,
    part: str,
    *,
    n_workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Pool:
    """Simulate a pool, or what is still missing of it.

    Parameters
    ----------
    folder : Path
        Each part lies in a folder of its own below.
    config : DataConfig
    seed : int
        Series i depends on the seed, the part and i only, so a pool can grow.
    part : str
        `VALIDATION` or a name of its own for each pool that is trained on.
    n_workers : int
        Processes; the pool does not depend on it.
    progress : callable, optional
        Called with (done, total) series.

    Raises
    ------
    InputError
        If the folder holds a pool of other settings.
    """
    place = folder / part
    n = config.n_validation if part == VALIDATION else config.n_series
    settings = {"version": __version__, "seed": seed, "part": part} | config.model_dump(mode="json")
    place.mkdir(parents=True, exist_ok=True)
    known = place / _SETTINGS
    if known.exists():
        if json.loads(known.read_text("utf-8")) != json.loads(json.dumps(settings)):
            raise InputError(
                f"{place} holds series of other settings; take another folder or delete this one"
            )
    else:
        for name, (shape, kind) in config.layout().items():
            np.lib.format.open_memmap(
                place / f"{name}.npy", mode="w+", dtype=np.dtype(kind), shape=(n, *shape)
            ).flush()
        known.write_text(json.dumps(settings, indent=1), "utf-8")
    done = len(_repaired_records(place))
    starts = range(done, n, _CHUNK)
    fill = partial(_fill, place, config, seed, part)
    stops = [min(start + _CHUNK, n) for start in starts]
    with ProcessPoolExecutor(n_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for stop, records in zip(stops, pool.map(fill, starts, stops), strict=True):
            with (place / _RECORDS).open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(r) + "\n" for r in records)
            if progress is not None:
                progress(stop, n)
    return open_pool(folder, part)


def open_pool(folder: Path, part: str) -> Pool:
    """Open a pool that is complete.

    Raises
    ------
    FileFormatError
        If there is none, or series are missing.
    """
    place = folder / part
    files = sorted(place.glob("*.npy"))
    if not files:
        raise FileFormatError(f"{place} holds no training series; make them with `dlbi train`")
    arrays = {f.stem: np.load(f, mmap_mode="r") for f in files}
    records = _records(place)
    n = len(next(iter(arrays.values())))
    if len(records) != n:
        raise FileFormatError(
            f"{place} holds {len(records)} of {n} series; continue with `dlbi train --resume`"
        )
    return Pool(arrays, records)


def _fill(
    place: Path, config: DataConfig, seed: int, part: str, start: int, stop: int
) -> list[dict[str, Any]]:
    """Simulate some series into the arrays of a pool."""
    arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r+") for name in config.layout()}
    shares = {"families": config.families, "regimes": config.regimes}
    if part == VALIDATION:
        shares = {"families": config.validation_families, "regimes": config.validation_regimes}
    records = []
    for i in range(start, stop):
        make = make_frames_pair if config.view == "frames" else make_pair
        pair = make(
            derived_seed(seed, part, i),
            field_px=config.field_px,
            n_frames=config.n_frames,
            **shares,
        )
        for name, values in pair.arrays().items():
            arrays[name][i] = values
        records.append(pair.record())
    for array in arrays.values():
        array.flush()
    return records


def _repaired_records(place: Path) -> list[dict[str, Any]]:
    """Records of a pool, without the half line that a killed program may have left."""
    file = place / _RECORDS
    if file.exists():
        text = file.read_text("utf-8")
        complete = text[: text.rfind("\n") + 1]
        if complete != text:
            part = file.with_name(f".{_RECORDS}.part")
            part.write_text(complete, "utf-8")
            part.replace(file)
    return _records(place)


def _records(place: Path) -> list[dict[str, Any]]:
    file = place / _RECORDS
    if not file.exists():
        return []
    lines = file.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]
