"""One verb that writes whatever the package makes."""

from __future__ import annotations

from pathlib import Path

from dlbi.core.emitters import Emitters
from dlbi.core.errors import InputError
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.core.scope import Scope
from dlbi.io.files import PathLike
from dlbi.io.images import save_image
from dlbi.io.reconstructions import save_reconstruction
from dlbi.io.scopes import save_scope
from dlbi.io.stack_writer import save_stack
from dlbi.io.tables import save_emitters


def save(
    result: Reconstruction | ImageStack | StructureImage | Emitters | Scope,
    path: PathLike,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write a result in the format of its kind; it appears under its name when complete.

    A `Reconstruction` becomes an OME-TIFF of the mean with its siblings, an `ImageStack` an
    OME-TIFF movie, a `StructureImage` an OME-TIFF image, `Emitters` a ThunderSTORM table (.csv),
    a `Scope` a TOML file.

    Parameters
    ----------
    result : Reconstruction, ImageStack, StructureImage, Emitters or Scope
    path : path
        Main file.
    overwrite : bool
        Replace existing files.

    Returns
    -------
    list of Path
        Files written, the main one first.

    Raises
    ------
    OutputError
        If a file cannot be written.
    InputError
        If the result is of no kind that has a file format.
    """
    match result:
        case Reconstruction():
            return save_reconstruction(path, result, overwrite=overwrite)
        case ImageStack():
            return [save_stack(path, result, overwrite=overwrite)]
        case StructureImage():
            return [save_image(path, result.density, result.grid, overwrite=overwrite)]
        case Emitters():
            return [save_emitters(path, result, overwrite=overwrite)]
        case Scope():
            return [save_scope(path, result, overwrite=overwrite)]
    raise InputError(
        f"{path}: a {type(result).__name__} has no file format; save a Reconstruction, ImageStack, "
        "StructureImage, Emitters or Scope"
    )
