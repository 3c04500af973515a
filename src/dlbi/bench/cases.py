"""One method on one movie: the unit that is run, stored and never run twice."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dlbi import __version__
from dlbi.bench.contestants import Contestant
from dlbi.bench.scoring import Scores, score
from dlbi.bench.subjects import Simulated, Source
from dlbi.core.errors import DlbiError, DlbiWarning, OutputError
from dlbi.core.images import Reconstruction
from dlbi.io.images import save_image
from dlbi.io.provenance import load_json, plain, save_json
from dlbi.io.reconstructions import load_reconstruction
from dlbi.learning.network import load_network

FAILED = "failed"

WARM_UP = Simulated(structure="rings", preset="meos3.2", seed=0, field_px=16, n_frames=20, shown=20)


@dataclass(frozen=True)
class Case:
    """A method on a movie.

    Parameters
    ----------
    source : Source
    contestant : Contestant
    """

    source: Source
    contestant: Contestant

    def settings(self) -> dict[str, Any]:
        """Everything the result depends on: both parts, version and network."""
        settings: dict[str, Any] = plain(
            {
                "movie": self.source.settings(),
                "method": self.contestant.settings(),
                "dlbi": __version__,
                "network": network_sha256(),
            }
        )
        return settings

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits of the hash of the settings."""
        text = json.dumps(self.settings(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case.

    Parameters
    ----------
    case : Case
    scores : dict
    seconds, cpu_seconds : float
        Of the reconstruction alone, wall clock and all threads.
    said : list of str
        Warnings.
    picture : Path or None
        The image, if it was kept.
    """

    case: Case
    scores: Scores
    seconds: float
    cpu_seconds: float
    said: list[str]
    picture: Path | None = None

    @property
    def movie(self) -> dict[str, Any]:
        """Settings of the movie."""
        return self.case.source.settings()

    def image(self) -> Reconstruction:
        """The image from its file.

        Raises
        ------
        OutputError
            If it was not kept.
        """
        if self.picture is None:
            raise OutputError(f"the image of case {self.case.key} was not kept")
        return load_reconstruction(self.picture)

    def row(self) -> dict[str, Any]:
        """Plain values for the report."""
        return {
            "key": self.case.key,
            "name": self.case.contestant.name,
            **self.case.settings(),
            "scores": self.scores,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "warnings": self.said,
        }


@dataclass(frozen=True, slots=True)
class CaseStore:
    """Finished cases in a folder: a JSON file each, written last, and an image if it is needed.

    Parameters
    ----------
    folder : Path
        Exists.
    """

    folder: Path

    def find(self, case: Case, *, pictured: bool) -> Outcome | None:
        """The outcome of a case that is finished, with its image if one is asked for."""
        record, picture = self._names(case)
        if not record.is_file():
            return None
        found = load_json(record)
        if pictured and found["scores"] and not picture.is_file():
            return None
        return Outcome(
            case, found["scores"], found["seconds"], found["cpu_seconds"], found["warnings"],
            picture if picture.is_file() else None,
        )  # fmt: skip

    def run(self, case: Case, *, pictured: bool, n_workers: int) -> Outcome:
        """Run a case and store what came of it; a method that refuses the movie has no scores."""
        subject = case.source.load()
        warm_up(case.contestant.method)
        sr, failure = None, []
        wall, cpu = time.perf_counter(), time.process_time()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DlbiWarning)
            try:
                sr = case.contestant.run(subject, case.source.seed, n_workers)
            except DlbiError as error:
                failure = [f"{FAILED}: {error}"]
        seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        said = sorted({str(w.message) for w in caught if issubclass(w.category, DlbiWarning)})
        record, picture = self._names(case)
        kept = picture if pictured and sr is not None else None
        if kept is not None and sr is not None:
            save_image(kept, sr.mean, sr.grid, compress=True, overwrite=True)
        scores = {} if sr is None else score(sr, subject)
        outcome = Outcome(case, scores, seconds, cpu_seconds, failure + said, kept)
        save_json(record, outcome.row(), overwrite=True)
        return outcome

    def _names(self, case: Case) -> tuple[Path, Path]:
        return self.folder / f"{case.key}.json", self.folder / f"{case.key}.ome.tif"


@lru_cache(maxsize=1)
def network_sha256() -> str:
    """Hash of the network that comes with the package."""
    return load_network().sha256


@lru_cache(maxsize=16)
def warm_up(method: str) -> None:
    """Run a method on a tiny movie once, so that no time holds compilation or loading."""
    contestant = Contestant(name="warm-up", method=method, quality="preview")
    with warnings.catch_warnings(), suppress(DlbiError):
        warnings.simplefilter("ignore")
        contestant.run(WARM_UP.load(), WARM_UP.seed, 1)
