"""From a structure to a scored picture in one call: what ``dlbi demo`` runs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlbi.core.errors import DlbiWarning, OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.core.rng import stream
from dlbi.evaluation.image import TruthScores, normalisation_lines, score_truth
from dlbi.evaluation.tables import score_table
from dlbi.figures import Picture, panel
from dlbi.io.files import check_writable
from dlbi.io.provenance import describe, save_json
from dlbi.io.reconstructions import reconstruction_paths, save_reconstruction
from dlbi.io.simulations import save_simulation, simulation_paths
from dlbi.io.stacks import load_stack
from dlbi.reconstruction import reconstruct
from dlbi.report import render_report
from dlbi.simulation.movie import Simulation
from dlbi.simulation.presets import PIXEL_SIZE_NM, meos32
from dlbi.simulation.structures import draw

STRUCTURE = "filaments"
FIELD_PX = 48
UPSCALING = 8
N_FRAMES = 200
METHODS = ("mean", "rl", "network", "dlbi")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Names of the files of the demo.

    Parameters
    ----------
    movie : Path
        Simulated movie; its truths and emitters stand beside it.
    images : dict
        Reconstruction by method.
    scores, panel : Path
    """

    movie: Path
    images: dict[str, Path]
    scores: Path
    panel: Path

    @classmethod
    def within(cls, folder: Path) -> DemoPaths:
        """The names in a folder."""
        return cls(
            folder / "movie.ome.tif",
            {method: folder / f"{method}.ome.tif" for method in METHODS},
            folder / "scores.json",
            folder / "panel.png",
        )

    def every(self) -> list[Path]:
        """All files, siblings too."""
        images = [p for path in self.images.values() for p in reconstruction_paths(path).every()]
        return [*simulation_paths(self.movie).every(), *images, self.scores, self.panel]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo found; prints as a table.

    Parameters
    ----------
    paths : DemoPaths
    scores : dict
        Scores against the truth by method.
    """

    paths: DemoPaths
    scores: dict[str, TruthScores]

    def rows(self) -> list[dict[str, str | float | None]]:
        """One row for each method and one for the all-zero image."""
        rows = [score.rows()[0] | {"name": method} for method, score in self.scores.items()]
        return [*rows, self.scores[METHODS[0]].rows()[1]]

    def __str__(self) -> str:
        """Table of the scores, and where everything is."""
        folder = self.paths.panel.parent
        return "\n".join(
            [
                score_table(self.rows()),
                *normalisation_lines(),
                "",
                f"picture         {self.paths.panel}",
                f"reconstruction  {self.paths.images['dlbi']}",
                f"report          {reconstruction_paths(self.paths.images['dlbi']).report}",
                f"everything      {folder}",
            ]
        )


def run(
    folder: str | Path,
    *,
    seed: int = 1,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoResult:
    """Simulate filaments, reconstruct them by four methods, score and draw the results.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    seed : int
        Draws the structure, the movie and the samples of the inference.
    overwrite : bool
        Replace the files of an earlier demo.
    progress : callable, optional
        Called with (stage, done, total).

    Raises
    ------
    OutputError
        If a file exists and `overwrite` is false, or the folder cannot be written to.
    """
    folder = Path(folder)
    paths = DemoPaths.within(folder)
    is_new = _prepare(folder, paths, overwrite=overwrite)
    try:
        structure = _simulate(paths, seed, overwrite=overwrite, progress=progress)
        movie = load_stack(paths.movie)
        images = _reconstructions(movie, paths.movie, seed, progress=progress)
        page = render_report(images["dlbi"], movie, truth=structure)
        for method, sr in images.items():
            save_reconstruction(
                paths.images[method], sr, report=page if method == "dlbi" else None,
                overwrite=overwrite,
            )  # fmt: skip
        scores = {method: score_truth(sr, structure) for method, sr in images.items()}
        result = DemoResult(paths, scores)
        save_json(paths.scores, {"seed": seed, "rows": result.rows()}, overwrite=overwrite)
        _draw(paths.panel, movie, images, structure)
    finally:
        if is_new:
            with suppress(OSError):  # it holds files, as it should
                folder.rmdir()
    return result


def _prepare(folder: Path, paths: DemoPaths, *, overwrite: bool) -> bool:
    """Make the folder, or check that its files may be written; whether it was made."""
    if not folder.exists():
        try:
            folder.mkdir()
        except OSError as error:
            raise OutputError(
                f"{folder}: the folder cannot be made ({error.strerror}); choose another one"
            ) from error
        return True
    if not folder.is_dir():
        raise OutputError(f"{folder}: is a file; name a folder for the results")
    check_writable(paths.every(), overwrite=overwrite)
    return False


def _simulate(
    paths: DemoPaths, seed: int, *, overwrite: bool, progress: Progress | None
) -> StructureImage:
    grid = PixelGrid((FIELD_PX, FIELD_PX), PIXEL_SIZE_NM).refine(UPSCALING)
    structure = draw(STRUCTURE, grid, stream(seed, "structure"))
    scene = meos32()
    simulation = Simulation(structure, scene, n_frames=N_FRAMES, upscaling=UPSCALING, rng=seed)
    record = describe(config={"structure": STRUCTURE, "scene": scene}, seed=seed)
    save_simulation(
        paths.movie, simulation, provenance=record, overwrite=overwrite, progress=progress
    )
    return simulation.density


def _reconstructions(
    movie: ImageStack, path: Path, seed: int, *, progress: Progress | None
) -> dict[str, Reconstruction]:
    """One for each method; what several of them warn of is told once."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", DlbiWarning)
        return {
            method: _reconstruct(movie, path, method, seed, progress=progress) for method in METHODS
        }


def _reconstruct(
    movie: ImageStack, path: Path, method: str, seed: int, *, progress: Progress | None
) -> Reconstruction:
    def report(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"{method}, {stage}", done, total)

    started = datetime.now(UTC)
    sr = reconstruct(movie, method=method, upscaling=UPSCALING, rng=seed, progress=report)
    record: dict[str, Any] = describe(
        inputs=path,
        command=("dlbi", "demo"),
        config={"method": method},
        seed=seed,
        started=started,
    )
    return replace(sr, provenance=record | {"reconstruction": dict(sr.provenance)})


def _draw(
    path: Path, movie: ImageStack, images: dict[str, Reconstruction], truth: StructureImage
) -> None:
    middle = movie.n_frames // 2
    frame = movie.load(slice(middle, middle + 1))[0]
    pictures = [
        Picture(f"One frame of {movie.n_frames}", frame, movie.grid),
        Picture("Mean of all frames", movie.mean(), movie.grid),
        Picture("dlbi", images["dlbi"].mean, images["dlbi"].grid),
        Picture("Truth", truth.density, truth.grid),
    ]
    panel(pictures, path)
