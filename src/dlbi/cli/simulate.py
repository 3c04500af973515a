"""`dlbi simulate`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlbi.cli.arguments import Overwrite, Seed, check_distinct, naming
from dlbi.cli.console import progress_report

if TYPE_CHECKING:
    from dlbi.core.images import StructureImage
    from dlbi.simulation.scene import Scene

DEFAULT_SIZE_PX = 480
"""Side of a built-in structure, the paper's (2.1.3)."""

LEAST_SIDE_PX = 8
"""Camera pixels below which nothing can be reconstructed."""

SIZE_MISMATCH = 0.01


class Preparation(StrEnum):
    """Names of the preparations of `dlbi.simulation.structures.from_image`."""

    DENSITY = "density"
    NATURAL = "natural"
    SKETCH = "sketch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is recorded of the options, and the scene they led to."""

    structure: str
    preparation: str | None
    frames: int
    upscaling: int
    pixel_size_nm: float
    preset: str
    scene: Scene


def simulate(
    context: typer.Context,
    structure: Annotated[
        str,
        typer.Argument(
            metavar="STRUCTURE",
            help="Image file (TIFF, PNG, JPEG), or one of: filaments, bundles, mesh, er, rings, "
            "points, line_pairs, sketch, texture, haze, mitochondria, chromatin, star, asters, "
            "domains, mixed.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            metavar="MOVIE.ome.tif", help="Movie; truths, emitters and provenance go beside it."
        ),
    ],
    frames: Annotated[int, typer.Option(metavar="N", help="Number of frames.")] = 200,
    upscaling: Annotated[
        int, typer.Option(min=1, max=64, metavar="N", help="Fine pixels along a camera pixel.")
    ] = 8,
    pixel_size: Annotated[
        float, typer.Option(metavar="NM", help="Camera pixel in the sample.")
    ] = 160.0,
    preset: Annotated[
        str,
        typer.Option(
            help="Fluorophores and camera: meos3.2, paper, paper-bleaching, camera, emccd, scmos, "
            "rare, sparse, dense, bleaching, dim."
        ),
    ] = "meos3.2",
    preparation: Annotated[
        Preparation,
        typer.Option(
            help="How an image becomes a density: as it is, edges of a natural image, or strokes "
            "of a sketch."
        ),
    ] = Preparation.DENSITY,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PX",
            help="Longer side in fine pixels; 480, or that of the image, if absent.",
        ),
    ] = None,
    emitters: Annotated[
        float | None,
        typer.Option(metavar="N", help="Expected fluorophores in the field, not the preset's."),
    ] = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a movie of a structure.

    The true density of fluorophores at x2, x4 and x8, the table of emitters and the provenance
    are written beside it.
    """
    from dlbi.core.rng import root_seed, stream
    from dlbi.io.provenance import describe
    from dlbi.io.simulations import check_simulation_writable, save_simulation, simulation_paths
    from dlbi.simulation.movie import Simulation
    from dlbi.simulation.presets import preset as scene_of
    from dlbi.simulation.scene import Labelling
    from dlbi.simulation.structures import KINDS

    built_in = structure in KINDS
    image = None if built_in else Path(structure)
    check_distinct(simulation_paths(out).every(), [image])
    check_simulation_writable(out, overwrite=overwrite)
    started = datetime.now(UTC)
    with naming("--pixel-size"):
        fine_nm = _checked_pixel_size(pixel_size) / upscaling
    seed = root_seed(seed)
    with naming("--preset"):
        scene = scene_of(preset, stream(seed, "scene"), pixel_size_nm=pixel_size)
    if emitters is not None:
        with naming("--emitters"):
            scene = replace(scene, labelling=Labelling(n_emitters=emitters))
    if image is None:
        density = _drawn(structure, size or DEFAULT_SIZE_PX, upscaling, fine_nm, seed)
    else:
        density = _read(image, size, upscaling, fine_nm, preparation)
    with naming(structure):
        simulation = Simulation(density, scene, n_frames=frames, upscaling=upscaling, rng=seed)
    height, width = simulation.camera.shape
    print(
        f"{structure}: {frames} frames of {width}×{height} px of {pixel_size:g} nm; "
        f"preset {preset}, seed {seed}",
        flush=True,
    )
    settings = Settings(
        structure=structure if image is None else image.name,
        preparation=None if image is None else preparation,
        frames=frames,
        upscaling=upscaling,
        pixel_size_nm=pixel_size,
        preset=preset,
        scene=scene,
    )
    record = describe(
        inputs=() if image is None else image,
        command=context.obj,
        config=settings,
        seed=seed,
        started=started,
    )
    with progress_report() as progress:
        written = save_simulation(
            out, simulation, provenance=record, overwrite=overwrite, progress=progress
        )
    print("wrote " + ", ".join(map(str, written)))


def _checked_pixel_size(pixel_size_nm: float) -> float:
    from dlbi.core.errors import InputError
    from dlbi.io.metadata import CAMERA_PIXEL_NM

    low, high = CAMERA_PIXEL_NM
    if not low <= pixel_size_nm <= high:
        raise InputError(
            f"{pixel_size_nm:g} nm is absurd for a camera pixel; {low:g} to {high:g} nm is needed"
        )
    return pixel_size_nm


def _drawn(kind: str, size_px: int, upscaling: int, fine_nm: float, seed: int) -> StructureImage:
    from dlbi.core.errors import InputError
    from dlbi.core.grid import PixelGrid
    from dlbi.core.rng import stream
    from dlbi.simulation.structures import draw

    if size_px % upscaling or size_px < LEAST_SIDE_PX * upscaling:
        raise InputError(
            f"--size {size_px}: a multiple of the upscaling {upscaling} of at least "
            f"{LEAST_SIDE_PX * upscaling} fine pixels is needed"
        )
    return draw(kind, PixelGrid((size_px, size_px), fine_nm), stream(seed, "structure"))


def _read(
    path: Path, size_px: int | None, upscaling: int, fine_nm: float, preparation: Preparation
) -> StructureImage:
    """The image stretched by less than a camera pixel, so that whole camera pixels cover it."""
    from dlbi.core.errors import DlbiWarning, InputError
    from dlbi.core.grid import PixelGrid
    from dlbi.io.images import load_image
    from dlbi.simulation.structures import KINDS, from_image

    if not path.exists():
        raise InputError(
            f"{path}: there is no such file, and no built-in structure is called so; "
            f"choose one of {', '.join(KINDS)}"
        )
    image, stated_nm = load_image(path, as_grey=True)
    factor = 1.0 if size_px is None else size_px / max(image.shape)
    height, width = (max(1, round(n * factor / upscaling)) * upscaling for n in image.shape)
    if min(height, width) < LEAST_SIDE_PX * upscaling:
        raise InputError(
            f"{path}: its {image.shape[1]}×{image.shape[0]} px make a field of "
            f"{width // upscaling}×{height // upscaling} camera pixels, and at least "
            f"{LEAST_SIDE_PX}×{LEAST_SIDE_PX} are needed; give a larger --size"
        )
    if size_px is None and (height, width) != image.shape:
        warnings.warn(
            f"{path}: {image.shape[1]}×{image.shape[0]} px do not divide by the upscaling "
            f"{upscaling}; the image is stretched to {width}×{height}",
            DlbiWarning,
            stacklevel=2,
        )
    used_nm = fine_nm * factor
    if stated_nm is not None and abs(stated_nm - used_nm) > SIZE_MISMATCH * used_nm:
        warnings.warn(
            f"{path}: states pixels of {stated_nm:g} nm but they are taken as {used_nm:g} nm "
            "(--pixel-size ÷ --upscaling)",
            DlbiWarning,
            stacklevel=2,
        )
    with naming(path):
        return from_image(image, PixelGrid((height, width), fine_nm), preparation.value)
