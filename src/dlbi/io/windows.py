"""A time-lapse on disk: finished windows while it runs, stacks of all windows when it is complete.

While a run of ``SR.ome.tif`` lasts, every finished window stands as a reconstruction of its own in
the folder ``.SR.ome.tif.partial``, so that a killed run can go on behind the last one. At the end
they are joined, window by window, into the files of one reconstruction with an axis T.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np

from dlbi.core.errors import OutputError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, Reconstruction
from dlbi.io.files import PathLike, pending_outputs, writing
from dlbi.io.images import load_grid_image, load_image, write_image_series
from dlbi.io.provenance import load_json, save_json, write_json
from dlbi.io.reconstructions import (
    DESCRIPTIONS,
    ReconstructionPaths,
    reconstruction_paths,
    save_reconstruction,
)
from dlbi.io.tables import load_emitters, write_emitter_series

SETTINGS = "settings.json"


@dataclass(frozen=True, slots=True)
class FinishedWindows:
    """The finished windows of a run, each a reconstruction in a folder beside the output.

    Parameters
    ----------
    output : Path
        The mean of the whole time-lapse.
    n_windows : int
        Windows of the complete run.
    """

    output: Path
    n_windows: int

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.output.with_name(f".{self.output.name}.partial")

    def __len__(self) -> int:
        """How many are finished; they are finished in order."""
        numbers = range(self.n_windows)
        return next((n for n in numbers if not self.paths(n).mean.is_file()), self.n_windows)

    def records(self) -> list[dict[str, Any]]:
        """Provenance of each window."""
        return [load_json(self.paths(n).provenance) for n in range(len(self))]

    def mean(self) -> Reconstruction:
        """Image and background averaged over the windows, which are read one after the other."""
        _, grid = load_grid_image(self.paths(0).mean)
        return Reconstruction(
            _mean([self.paths(n).mean for n in range(len(self))]), grid,
            background=_mean(self._files("background")),
        )  # fmt: skip

    def paths(self, n: int) -> ReconstructionPaths:
        """Files of a window."""
        return reconstruction_paths(self.folder / f"{n + 1:06d}.ome.tif")

    def settings(self) -> dict[str, Any]:
        """What `start` was given; empty if it did not come so far."""
        path = self.folder / SETTINGS
        return load_json(path) if path.is_file() else {}

    def start(self, settings: Mapping[str, Any]) -> None:
        """Make the folder of a new run, in place of an older one.

        Raises
        ------
        OutputError
            If it cannot be made.
        """
        with writing(self.folder):
            self.remove()
            self.folder.mkdir()
            save_json(self.folder / SETTINGS, settings)

    def append(self, window: Reconstruction) -> None:
        """Keep the next window; it counts as finished when all its files are complete."""
        save_reconstruction(self.paths(len(self)).mean, window, overwrite=True)

    def remove(self) -> None:
        """Remove the folder, if it is there."""
        if self.folder.exists():
            with writing(self.folder):
                shutil.rmtree(self.folder)

    def save(
        self,
        *,
        interval_s: float | None,
        provenance: Mapping[str, Any],
        report: str | None = None,
        overwrite: bool = False,
    ) -> list[Path]:
        """Join the windows into the files of the output, all or nothing, and remove the folder.

        Maps and emitters that some window lacks are left out.

        Parameters
        ----------
        interval_s : float or None
            Time from one window to the next, if known.
        provenance : mapping
        report : str, optional
            Page of `dlbi.report`.
        overwrite : bool
            Replace existing files.

        Returns
        -------
        list of Path
            Files written, the mean first.

        Raises
        ------
        OutputError
            If a file cannot be written; the folder stays then.
        """
        names = reconstruction_paths(self.output)
        writers = self._writers(interval_s) | {
            names.provenance: partial(write_json, content=provenance)
        }
        if report is not None:
            writers[names.report] = partial(_write_text, text=report)
        siblings = [name for name in names.siblings() if name in writers]
        obsolete = [name for name in names.siblings() if name not in writers]
        with pending_outputs(
            [*siblings, names.mean], overwrite=overwrite, obsolete=obsolete
        ) as parts:
            for name, part in parts.items():
                with writing(name):
                    writers[name](part)
        self.remove()
        return [names.mean, *siblings]

    def _writers(self, interval_s: float | None) -> dict[Path, Callable[[Path], None]]:
        """What writes each image and table that every window has, by final name."""
        finals = reconstruction_paths(self.output)
        writers: dict[Path, Callable[[Path], None]] = {}
        for name, description in DESCRIPTIONS.items():
            files = self._files(name)
            if files:
                _, grid = load_grid_image(files[0])
                writers[getattr(finals, name)] = partial(
                    _write_series, files=files, grid=grid, interval_s=interval_s,
                    description=description,
                )  # fmt: skip
        tables = self._files("emitters")
        if tables:
            writers[finals.emitters] = partial(_write_tables, files=tables)
        return writers

    def _files(self, name: str) -> list[Path]:
        """One kind of file of every window; none if a window lacks it."""
        files = [getattr(self.paths(n), name) for n in range(self.n_windows)]
        return files if all(file.is_file() for file in files) else []


def _mean(files: list[Path]) -> FloatImage:
    images = (load_image(file)[0].astype(np.float64) for file in files)
    return np.asarray(reduce(np.add, images) / len(files), np.float32)


def _write_series(
    path: Path, *, files: list[Path], grid: PixelGrid, interval_s: float | None, description: str
) -> None:
    images = (load_image(file)[0] for file in files)
    write_image_series(
        path, images, grid, n_images=len(files), interval_s=interval_s, description=description
    )


def _write_tables(path: Path, *, files: list[Path]) -> None:
    write_emitter_series(path, map(load_emitters, files))


def _write_text(path: Path, *, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def check_space(output: PathLike, grid: PixelGrid, *, n_windows: int, n_images: int) -> None:
    """Refuse a time-lapse that the disk has no room for, finished windows and result together.

    Parameters
    ----------
    output : path
    grid : PixelGrid
        Fine pixels.
    n_windows : int
        Windows that are not finished.
    n_images : int
        Images on the fine grid of one window.

    Raises
    ------
    OutputError
        If it needs more than is free.
    """
    needed = 2 * n_windows * n_images * 4 * grid.shape[0] * grid.shape[1]
    free = shutil.disk_usage(Path(output).parent).free
    if needed > free:
        raise OutputError(
            f"{output}: {n_windows} windows need {needed / 1e9:.3g} GB and "
            f"{free / 1e9:.3g} GB are free; choose another disk, longer windows or a smaller --roi"
        )
