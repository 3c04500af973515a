"""`dlbi evaluate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlbi.cli.arguments import Overwrite, PsfFwhm, check_distinct, naming

if TYPE_CHECKING:
    from dlbi.core.emitters import Emitters
    from dlbi.core.grid import PixelGrid
    from dlbi.core.images import ImageStack, Reconstruction, StructureImage
    from dlbi.evaluation.local_resolution import ResolutionMap
    from dlbi.evaluation.squirrel import MovieScores


def evaluate(
    sr: Annotated[Path, typer.Argument(metavar="SR.tif", help="Super-resolved image.")],
    truth: Annotated[
        Path | None,
        typer.Option(metavar="T", help="True structure as an image, or true emitters (.csv)."),
    ] = None,
    movie: Annotated[
        Path | None, typer.Option(metavar="MOVIE", help="The movie behind the image.")
    ] = None,
    half: Annotated[
        Path | None,
        typer.Option(
            metavar="OTHER.tif", help="The same field from other frames, such as the odd ones."
        ),
    ] = None,
    psf_fwhm: PsfFwhm = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(metavar="NM", help="Camera pixel of the movie, if its file does not say."),
    ] = None,
    error_map: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write the error against the movie, as .tif (counts) or .png."
        ),
    ] = None,
    resolution_map: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write the local resolution of the halves, as .tif (nm) or .png."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Score an image against the truth, its movie or another half of the movie.

    Against the truth: correlation, PSNR and SSIM, always beside the all-zero image. Against the
    movie: RSP, RSE and reduced chi-square of the mean frame. Against the other half: correlation
    and Fourier ring correlation.
    """
    from dlbi.artefacts.record import counts_by_light, record_of
    from dlbi.core.errors import InputError
    from dlbi.core.optics import GaussianPSF
    from dlbi.evaluation.halves import score_halves
    from dlbi.evaluation.image import NORMALISATIONS, score_truth
    from dlbi.evaluation.local_resolution import resolution_map as map_resolution
    from dlbi.evaluation.squirrel import score_movie
    from dlbi.io.files import TIFF_SUFFIXES, check_writable
    from dlbi.io.stacks import load_stack

    if truth is None and movie is None and half is None:
        raise InputError(
            f"{sr}: has nothing to be compared with; give --truth, --movie, --half or several"
        )
    if error_map is not None and movie is None:
        raise InputError(f"{error_map}: is the error against the movie; give --movie too")
    if resolution_map is not None and half is None:
        raise InputError(f"{resolution_map}: is the resolution of two halves; give --half too")
    if half is not None and half.resolve() == sr.resolve():
        raise InputError(f"{half}: is the image itself; give one made from other frames")
    maps = [path for path in (error_map, resolution_map) if path is not None]
    if len({path.resolve() for path in maps}) < len(maps):
        raise InputError(f"{error_map}: is named for both maps; give each its own name")
    check_distinct(maps, [truth, movie, *_files_of(sr), *_files_of(half)])
    for path in maps:
        check_writable(path, overwrite=overwrite, suffixes=(*TIFF_SUFFIXES, ".png"))
    with naming("--psf-fwhm"):
        psf = None if psf_fwhm is None else GaussianPSF(psf_fwhm)
    stack = None if movie is None else load_stack(movie, pixel_size_nm=pixel_size)
    image = _load_image(sr, stack, truth or half)
    scores: dict[str, Any] = {"image": str(sr)}
    lines: list[str] = []
    if truth is not None:
        with naming(truth):
            truth_scores = score_truth(image, _load_truth(truth, image.grid))
        scores["truth"] = {
            "file": str(truth),
            "rows": truth_scores.rows(),
            "normalisations": NORMALISATIONS,
            "pixel_size_nm": truth_scores.grid.pixel_size_nm,
        }
        lines.append(str(truth_scores))
    if stack is not None and movie is not None:
        with naming(movie):
            stack = _behind(stack, image)
            mean = None if counts_by_light(record_of(image.provenance)) else stack.mean()
            movie_scores = score_movie(image, stack, psf=psf, mean=mean)
        scores["movie"] = {"file": str(movie), "n_frames": stack.n_frames, **movie_scores.row()}
        lines.append(str(movie_scores))
        if image.background is not None:
            with naming(movie):
                rest = score_movie(image, stack, psf=psf, mean=mean, background=image.background)
            scores["movie_without_background"] = rest.row()
            lines.append(f"with the background that the image leaves out taken off\n{rest}")
    if half is not None:
        with naming(half):
            other = _load_half(half, image)
            half_scores = score_halves(image, other)
        scores["half"] = {"file": str(half), **half_scores.row()}
        lines.append(str(half_scores))
        if resolution_map is not None:
            found = map_resolution(image.mean, other.mean, image.grid)
            scores["resolution_map"] = {"file": str(resolution_map), **found.row()}
            lines.append(str(found))
            _write_resolution_map(resolution_map, found, overwrite=overwrite)
    if error_map is not None:
        _write_error_map(error_map, movie_scores, overwrite=overwrite)
    if maps:
        lines.append("wrote " + ", ".join(map(str, maps)))
    print(json.dumps(scores, indent=2, ensure_ascii=False) if as_json else "\n\n".join(lines))


def _files_of(image: Path | None) -> list[Path]:
    """An image and what a reconstruction writes beside it."""
    from dlbi.core.errors import OutputError
    from dlbi.io.reconstructions import reconstruction_paths

    if image is None:
        return []
    try:
        return reconstruction_paths(image).every()
    except OutputError:  # not named like one
        return [image]


def _load_image(path: Path, stack: ImageStack | None, other: Path | None) -> Reconstruction:
    """The image; one without a pixel size covers the field of the movie, or else of the other."""
    from dlbi.core.errors import InputError
    from dlbi.io.images import load_image
    from dlbi.io.reconstructions import load_reconstruction

    image, size_nm = load_image(path)
    if size_nm is None and stack is not None:
        size_nm = stack.grid.extent_nm[1] / image.shape[1]
    elif size_nm is None and other is not None and other.suffix.lower() != ".csv":
        reference, other_nm = load_image(other)
        size_nm = None if other_nm is None else other_nm * reference.shape[1] / image.shape[1]
    if size_nm is None:
        raise InputError(
            f"{path}: does not state its pixel size, and nothing it is compared with does; save "
            "it as TIFF with its pixel size (Fiji: Image › Properties), or give --movie"
        )
    return load_reconstruction(path, pixel_size_nm=size_nm)


def _load_truth(path: Path, field: PixelGrid) -> StructureImage | Emitters:
    """The truth of a field; a picture without a pixel size covers just this field."""
    from dlbi.core.errors import InputError
    from dlbi.core.images import StructureImage
    from dlbi.evaluation.alignment import window_of
    from dlbi.io.images import load_grid_image, load_image
    from dlbi.io.tables import load_emitters

    if path.suffix.lower() == ".csv":
        return load_emitters(path)
    picture, size_nm = load_image(path)
    if size_nm is None:
        size_nm = field.extent_nm[1] / picture.shape[1]
    density, grid = load_grid_image(path, pixel_size_nm=size_nm)
    if density.min() < 0:
        raise InputError(f"has negative values down to {density.min():g}, and a truth cannot")
    if size_nm > field.pixel_size_nm or grid.extent_nm == field.extent_nm:
        return StructureImage(density, grid)
    x, y, width, height = window_of(field, grid)
    part = density[y : y + height, x : x + width]
    return StructureImage(part.copy(), grid.crop(y, x, height, width))


def _load_half(path: Path, image: Reconstruction) -> Reconstruction:
    """The other half; a picture without a pixel size has that of the image.

    Warns
    -----
    DlbiWarning
        If both were made from the same frames, as their provenance records them.
    """
    import warnings

    from dlbi.core.errors import DlbiWarning
    from dlbi.io.images import load_image
    from dlbi.io.reconstructions import load_reconstruction

    _, size_nm = load_image(path)
    other = load_reconstruction(path, pixel_size_nm=size_nm or image.grid.pixel_size_nm)
    match image.provenance, other.provenance:
        case (
            {"config": {"frames": first}, "inputs": inputs},
            {"config": {"frames": second}, "inputs": others},
        ) if (first, inputs) == (second, others):
            warnings.warn(
                f"{path}: comes from the same frames of the same movie as the image, so their "
                "agreement means little; reconstruct --frames 0::2 and 1::2",
                DlbiWarning,
                stacklevel=2,
            )
    return other


def _behind(stack: ImageStack, image: Reconstruction) -> ImageStack:
    """What of the movie the image was made from, as it records it, without defects and drift.

    Warns
    -----
    DlbiWarning
        If there are such pixels: the scores leave them out.
    """
    from dlbi.artefacts.examination import recorded_defects
    from dlbi.artefacts.record import record_of
    from dlbi.evaluation.alignment import window_of
    from dlbi.inference.measurement.defects import without_defects
    from dlbi.reconstruction.drift import steadied_as
    from dlbi.reconstruction.measurement import tell_defects

    match image.provenance:
        case {"config": {"frames": [int(first), int(end), int(step)]}}:
            frames = slice(first, end, step)
        case _:
            frames = slice(None)
    record = record_of(image.provenance)
    taken, region = stack.select(frames), window_of(image.grid, stack.grid)
    if "drift" in record:
        taken = steadied_as(taken, record["drift"])
    mended, defects = without_defects(taken.select(roi=region), recorded_defects(record))
    tell_defects(defects)
    return mended


def _write_error_map(path: Path, scores: MovieScores, *, overwrite: bool) -> None:
    from dlbi.figures import Picture, panel
    from dlbi.io.images import save_image

    if path.suffix.lower() != ".png":
        save_image(
            path,
            scores.error_map,
            scores.grid,
            unit="ADU",
            description="absolute error of the reprojection",
            overwrite=overwrite,
        )
        return
    pictures = [
        Picture("Mean frame", scores.mean, scores.grid),
        Picture("Reprojection", scores.reprojection, scores.grid),
        Picture("Absolute error", scores.error_map, scores.grid, colour_map="viridis"),
    ]
    panel(pictures, path, caption=f"RSP {scores.rsp:.3f}, RSE {scores.rse:.3g} counts.")


def _write_resolution_map(path: Path, found: ResolutionMap, *, overwrite: bool) -> None:
    from dlbi.figures import draw_map
    from dlbi.io.images import save_image

    if path.suffix.lower() != ".png":
        save_image(
            path,
            found.resolution_nm,
            found.grid,
            unit="nm",
            description="local resolution of two halves",
            overwrite=overwrite,
        )
        return
    draw_map(
        path, found.resolution_nm, found.grid, title="Local resolution of two halves", unit="nm"
    )
