"""A simulated movie on disk with its ground truth, written in bounded memory.

For ``MOVIE.ome.tif`` the siblings are ``MOVIE.truth.tif`` (the full upscaling),
``MOVIE.truth_x2.tif`` and ``MOVIE.truth_x4.tif``, ``MOVIE.emitters.csv`` and
``MOVIE.provenance.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlbi.io.files import (
    TIFF_SUFFIXES,
    PathLike,
    check_writable,
    pending_outputs,
    sibling,
    split_suffix,
    writing,
)
from dlbi.io.images import write_image
from dlbi.io.provenance import write_json
from dlbi.io.stack_writer import StackWriter
from dlbi.io.tables import write_emitters
from dlbi.simulation.movie import Simulation
from dlbi.simulation.truth import GroundTruth

COARSE_FACTORS = (2, 4)
"""Truths beside the finest one, for training at several scales (paper 2.2.2)."""


@dataclass(frozen=True, slots=True)
class SimulationPaths:
    """Names of the files of one simulated movie.

    Parameters
    ----------
    movie : Path
        The file that the user named.
    truth : Path
        Truth at the full upscaling.
    coarse_truths : dict
        Truth by upscaling factor, for every entry of `COARSE_FACTORS`.
    emitters, provenance : Path
    """

    movie: Path
    truth: Path
    coarse_truths: dict[int, Path]
    emitters: Path
    provenance: Path

    def every(self) -> list[Path]:
        """All names that a movie of any upscaling may use."""
        return [
            self.movie,
            self.truth,
            *self.coarse_truths.values(),
            self.emitters,
            self.provenance,
        ]

    def truths(self, upscaling: int) -> dict[int, Path]:
        """Truths of a movie by factor: the full upscaling and its proper divisors."""
        coarse = {
            factor: path
            for factor, path in self.coarse_truths.items()
            if factor < upscaling and upscaling % factor == 0
        }
        return {upscaling: self.truth} | coarse


def simulation_paths(path: PathLike) -> SimulationPaths:
    """Names of all files of a simulated movie that is written to `path`.

    Raises
    ------
    OutputError
        If `path` is not named as a TIFF.
    """
    split_suffix(path, TIFF_SUFFIXES)
    return SimulationPaths(
        movie=Path(path),
        truth=sibling(path, "truth", ".tif"),
        coarse_truths={k: sibling(path, f"truth_x{k}", ".tif") for k in COARSE_FACTORS},
        emitters=sibling(path, "emitters", ".csv"),
        provenance=sibling(path, "provenance", ".json"),
    )


def check_simulation_writable(path: PathLike, *, overwrite: bool = False) -> None:
    """Refuse an output that `save_simulation` could not write, before the simulation.

    Raises
    ------
    OutputError
        If the name is not a TIFF, the folder is missing or read-only, or one of the files exists
        and `overwrite` is false.
    """
    check_writable(simulation_paths(path).every(), overwrite=overwrite)


def save_simulation(
    path: PathLike,
    simulation: Simulation,
    *,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Path]:
    """Simulate a movie and write it run by run of frames, with its ground truth.

    Truths hold the expected number of fluorophores per pixel. All files appear when the last
    frame is written.

    Parameters
    ----------
    path : path
        Output of the movie, named as a TIFF.
    simulation : Simulation
        Run from its first frame.
    provenance : mapping
        Content of ``MOVIE.provenance.json``.
    overwrite : bool
        Replace existing files; truths of an earlier movie that this one has not are removed.
    progress : callable, optional
        Called with ("frames", done, total).

    Returns
    -------
    list of Path
        Files written, the movie first.

    Raises
    ------
    OutputError
        If a file cannot be written; nothing is left then.
    """
    names = simulation_paths(path)
    truths = names.truths(simulation.upscaling)
    written = [*truths.values(), names.emitters, names.provenance]
    obsolete = [p for p in names.coarse_truths.values() if p not in written]
    writer = StackWriter(
        path,
        simulation.camera,
        n_frames=simulation.n_frames,
        dtype=simulation.dtype,
        frame_interval_s=simulation.scene.microscope.frame_interval_s,
        overwrite=overwrite,
    )
    with writer, pending_outputs(written, overwrite=overwrite, obsolete=obsolete) as parts:
        for frames, data in simulation.chunks():
            writer.write(data)
            if progress is not None:
                progress("frames", frames.stop, simulation.n_frames)
        with writing(path):
            _write_truths(truths, parts, simulation.ground_truth())
            write_emitters(parts[names.emitters], simulation.ground_truth().emitters)
            write_json(parts[names.provenance], provenance)
    return [names.movie, *written]


def _write_truths(truths: dict[int, Path], parts: dict[Path, Path], truth: GroundTruth) -> None:
    for factor, path in truths.items():
        density = truth.truth_density(factor)
        write_image(
            parts[path],
            density.density,
            density.grid,
            description="expected fluorophores per pixel",
            compress=True,
        )
