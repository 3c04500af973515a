"""A reconstruction on disk: the mean image in the named file, everything else beside it.

For ``SR.ome.tif`` the siblings are ``SR.std.ome.tif``, ``SR.p_value.ome.tif``,
``SR.occupancy.ome.tif``, ``SR.background.ome.tif`` (camera pixels), ``SR.emitters.csv``,
``SR.report.html`` and ``SR.provenance.json``; those that are not known are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dlbi.core.errors import FileFormatError, OutputError, ShapeError
from dlbi.core.images import FloatImage, Reconstruction
from dlbi.io.files import (
    TIFF_SUFFIXES,
    PathLike,
    check_writable,
    pending_outputs,
    sibling,
    split_suffix,
    writing,
)
from dlbi.io.images import load_grid_image, load_image, write_image
from dlbi.io.provenance import load_json, write_json
from dlbi.io.tables import load_emitters, write_emitters

DESCRIPTIONS = {
    "mean": "mean",
    "std": "standard deviation of the mean",
    "p_value": "probability of no fluorophore",
    "occupancy": "probability of a fluorophore within 5×5 pixels",
    "background": "background of the mean frame",
}
"""The images of a reconstruction, and what their files say of them."""


@dataclass(frozen=True, slots=True)
class ReconstructionPaths:
    """Names of the files of one reconstruction.

    Parameters
    ----------
    mean, std, p_value, occupancy, background, emitters, report, provenance : Path
        `mean` is the file that the user named.
    """

    mean: Path
    std: Path
    p_value: Path
    occupancy: Path
    background: Path
    emitters: Path
    report: Path
    provenance: Path

    def siblings(self) -> list[Path]:
        """All but the mean."""
        return [
            self.std, self.p_value, self.occupancy, self.background, self.emitters, self.report,
            self.provenance,
        ]  # fmt: skip

    def every(self) -> list[Path]:
        """All, the mean last."""
        return [*self.siblings(), self.mean]


def reconstruction_paths(path: PathLike) -> ReconstructionPaths:
    """Names of all files of a reconstruction that is written to `path`.

    Raises
    ------
    OutputError
        If `path` is not named as a TIFF.
    """
    split_suffix(path, TIFF_SUFFIXES)
    return ReconstructionPaths(
        mean=Path(path),
        std=sibling(path, "std"),
        p_value=sibling(path, "p_value"),
        occupancy=sibling(path, "occupancy"),
        background=sibling(path, "background"),
        emitters=sibling(path, "emitters", ".csv"),
        report=sibling(path, "report", ".html"),
        provenance=sibling(path, "provenance", ".json"),
    )


def check_reconstruction_writable(path: PathLike, *, overwrite: bool = False) -> None:
    """Refuse an output that `save_reconstruction` could not write, before the computation.

    Raises
    ------
    OutputError
        If the name is not a TIFF, the folder is missing or read-only, or one of the files exists
        and `overwrite` is false, or is not of an earlier reconstruction and would be taken for a
        part of this one.
    """
    names = reconstruction_paths(path)
    check_writable(names.every(), overwrite=overwrite)
    strange = next((name for name in names.siblings() if name.exists()), None)
    if strange is not None and not names.provenance.exists():
        raise OutputError(
            f"{strange}: is not of an earlier reconstruction, beside which there would be a "
            f"{names.provenance.name}; rename it or choose another output name"
        )


def save_reconstruction(
    path: PathLike,
    reconstruction: Reconstruction,
    *,
    report: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Write the mean image as OME-TIFF (Y, X), float32, and its siblings, all or nothing.

    With `overwrite`, siblings of an earlier result that this one does not have are removed.

    Parameters
    ----------
    path : path
        Output of the mean, named as a TIFF.
    reconstruction : Reconstruction
        Result.
    report : str, optional
        Page of `dlbi.report`, written beside it.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    list of Path
        Files written, the mean first.

    Raises
    ------
    OutputError
        If a file cannot be written; nothing is left then.
    """
    names = reconstruction_paths(path)
    known = {
        names.std: reconstruction.std is not None,
        names.p_value: reconstruction.p_value is not None,
        names.occupancy: reconstruction.occupancy is not None,
        names.background: reconstruction.background is not None,
        names.emitters: reconstruction.emitters is not None,
        names.report: report is not None,
        names.provenance: True,
    }
    written = [name for name, is_known in known.items() if is_known]
    obsolete = [name for name, is_known in known.items() if not is_known]
    with (
        pending_outputs([*written, names.mean], overwrite=overwrite, obsolete=obsolete) as parts,
        writing(names.mean),
    ):
        _write(names, parts, reconstruction)
        if report is not None:
            parts[names.report].write_text(report, encoding="utf-8", newline="\n")
    return [names.mean, *written]


def _write(
    names: ReconstructionPaths, parts: dict[Path, Path], reconstruction: Reconstruction
) -> None:
    for name, description in DESCRIPTIONS.items():
        image: FloatImage | None = getattr(reconstruction, name)
        if image is not None:
            grid = reconstruction.grid.coarsen(reconstruction.grid.shape[0] // image.shape[0])
            write_image(parts[getattr(names, name)], image, grid, description=description)
    if reconstruction.emitters is not None:
        write_emitters(parts[names.emitters], reconstruction.emitters)
    write_json(parts[names.provenance], reconstruction.provenance)


def load_reconstruction(path: PathLike, *, pixel_size_nm: float | None = None) -> Reconstruction:
    """Read a reconstruction: the mean image and those siblings that exist.

    Parameters
    ----------
    path : path
        The mean; an image of another program will do.
    pixel_size_nm : float, optional
        Fine pixel; overrides that of the file.

    Returns
    -------
    Reconstruction
        What no file tells is None, the provenance empty.

    Raises
    ------
    InputError
        If a file cannot be read, or the pixel size is unknown or absurd.
    FileFormatError
        If a file is not what its name says, or a sibling does not fit the mean.
    """
    mean, grid = load_grid_image(path, pixel_size_nm=pixel_size_nm)
    names = _existing_siblings(Path(path))
    try:
        return Reconstruction(
            mean,
            grid,
            std=_load_map(names.get("std")),
            p_value=_load_map(names.get("p_value")),
            occupancy=_load_map(names.get("occupancy")),
            background=_load_map(names.get("background")),
            emitters=load_emitters(names["emitters"]) if "emitters" in names else None,
            provenance=load_json(names["provenance"]) if "provenance" in names else {},
        )
    except ShapeError as error:
        raise FileFormatError(
            f"{path}: its siblings belong to another image ({error}); remove or rename them"
        ) from error


def _existing_siblings(path: Path) -> dict[str, Path]:
    if not path.name.lower().endswith(TIFF_SUFFIXES):
        return {}
    names = reconstruction_paths(path)
    labelled = {
        "std": names.std,
        "p_value": names.p_value,
        "occupancy": names.occupancy,
        "background": names.background,
        "emitters": names.emitters,
        "provenance": names.provenance,
    }
    return {label: name for label, name in labelled.items() if name.is_file()}


def _load_map(path: Path | None) -> FloatImage | None:
    return None if path is None else load_image(path)[0]
