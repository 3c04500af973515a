"""`dlbi reconstruct`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dlbi.cli.arguments import (
    CorrectDrift,
    Frames,
    Movie,
    Overwrite,
    PixelSize,
    PsfFwhm,
    Roi,
    Seed,
    available_cores,
    check_distinct,
    check_frames,
    naming,
    parse_frames,
    parse_roi,
    part_of,
    without_drift,
)

if TYPE_CHECKING:
    from dlbi.core.images import FloatImage, ImageStack

UPSCALING = 8


class Method(StrEnum):
    """Names of `dlbi.reconstruction.METHODS`, known without importing it."""

    DLBI = "dlbi"
    NETWORK = "network"
    BAYES = "bayes"
    THREEB = "3b"
    RL = "rl"
    SOFI = "sofi"
    MEAN = "mean"


class Quality(StrEnum):
    """Names of `dlbi.reconstruction.QUALITIES`, known without importing it."""

    PREVIEW = "preview"
    STANDARD = "standard"
    BEST = "best"


class Start(StrEnum):
    """Names of `dlbi.reconstruction.STARTS`, known without importing it."""

    GUIDE = "guide"
    RESAMPLED = "resampled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is recorded of the options."""

    method: str
    quality: str
    start: str
    upscaling: int
    pixel_size_nm: float
    psf_fwhm_nm: float | None
    scope: str | None
    guide: str | None
    model: str | None
    roi_xywh: tuple[int, int, int, int] | None
    frames: tuple[int, int, int]
    correct_drift: bool
    window: int | None
    step: int | None
    frame_interval_s: float | None
    n_workers: int


def reconstruct(
    context: typer.Context,
    movie: Movie,
    out: Annotated[
        Path,
        typer.Option(
            metavar="SR.ome.tif",
            help="Mean image; standard deviation, p-value, emitters, report and provenance go "
            "beside it.",
        ),
    ],
    method: Annotated[
        Method,
        typer.Option(
            help="Network and Bayesian inference, either alone, the slow 3B baseline, "
            "Richardson–Lucy of the mean, second-order SOFI, or the mean itself."
        ),
    ] = Method.DLBI,
    guide: Annotated[
        Path | None,
        typer.Option(metavar="IMG", help="First guess of the structure, for bayes and rl."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL.onnx", help="Network of dlbi and network, if not the package's own."
        ),
    ] = None,
    pixel_size: PixelSize = None,
    psf_fwhm: PsfFwhm = None,
    scope: Annotated[
        Path | None,
        typer.Option(
            metavar="scope.toml", help="What dlbi calibrate found, in place of measuring it."
        ),
    ] = None,
    roi: Roi = None,
    frames: Frames = None,
    correct_drift: CorrectDrift = False,
    window: Annotated[
        int | None,
        typer.Option(
            min=2, metavar="N", help="Reconstruct every N frames apart, as a stack of images."
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Frames from window to window; as --window."),
    ] = None,
    quality: Annotated[
        Quality, typer.Option(help="How long dlbi and bayes sample; iterations of 3b.")
    ] = Quality.STANDARD,
    start: Annotated[
        Start,
        typer.Option(
            help="First emitters of dlbi and bayes: as dense as the guide, or resampled from it "
            "as in the paper."
        ),
    ] = Start.GUIDE,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Threads; all cores if absent. Never changes bits."),
    ] = None,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Leave out the HTML page beside the image.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on behind the last finished window; do nothing if all is there."
        ),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Reconstruct the structure behind a movie.

    The result is eight times finer than the camera. Its standard deviation, p-value, emitters,
    provenance and a page that tells how far to trust it are written beside it. With --window all
    of them are movies, one image for each window.
    """
    region = None if roi is None else parse_roi(roi)
    run = parse_frames(frames)

    from dlbi.cli.earlier import earlier_run
    from dlbi.core.errors import DlbiWarning, InputError
    from dlbi.core.optics import GaussianPSF
    from dlbi.core.rng import root_seed
    from dlbi.io.provenance import describe
    from dlbi.io.reconstructions import (
        check_reconstruction_writable,
        reconstruction_paths,
    )
    from dlbi.io.scopes import load_scope
    from dlbi.io.stacks import load_stack
    from dlbi.learning.network import load_network
    from dlbi.reconstruction.windows import Windows

    check_distinct(reconstruction_paths(out).every(), [movie, guide, model, scope])
    check_reconstruction_writable(out, overwrite=overwrite or resume)
    if step is not None and window is None:
        raise InputError("--step is the distance between windows; give their length with --window")
    earlier = earlier_run(out, resume=resume, overwrite=overwrite)
    with naming("--psf-fwhm"):
        psf = None if psf_fwhm is None else GaussianPSF(psf_fwhm)
    if model is not None and method not in (Method.DLBI, Method.NETWORK):
        raise InputError(f"--model is for dlbi and network; method {method} has no network")
    network = None if model is None else load_network(model)
    calibrated = None if scope is None else load_scope(scope)
    started = datetime.now(UTC)
    whole = load_stack(movie, pixel_size_nm=pixel_size)
    taken = check_frames(run, whole.n_frames, movie)
    stack = part_of(whole, taken, region, movie)
    if scope is not None and taken.step > 1:
        warnings.warn(
            f"{scope}: its transition table is per frame; make it from the same choice of frames "
            f"(dlbi calibrate --frames A:B:{taken.step})",
            DlbiWarning,
            stacklevel=1,
        )
    guide_image = None if guide is None else _load_guide(guide, whole, region)
    with naming(movie):
        windows = None if window is None else Windows(stack.n_frames, window, step)
    settings = Settings(
        method=method,
        quality=quality,
        start=start,
        upscaling=UPSCALING,
        pixel_size_nm=stack.grid.pixel_size_nm,
        psf_fwhm_nm=psf_fwhm,
        scope=None if scope is None else scope.name,
        guide=None if guide is None else guide.name,
        model=None if model is None else model.name,
        roi_xywh=region,
        frames=(taken.start, taken.stop, taken.step),
        correct_drift=correct_drift,
        window=None if windows is None else windows.window,
        step=None if windows is None else windows.stride,
        frame_interval_s=stack.frame_interval_s,
        n_workers=workers or available_cores(),
    )
    seed = root_seed(earlier.seed if seed is None else seed)
    record = describe(
        inputs=[path for path in (movie, guide, model, scope) if path is not None],
        command=context.obj,
        config=settings,
        seed=seed,
        started=started,
    )
    if earlier.is_complete(record):
        earlier.tidy()
        print(f"{out}: is there already, from the same input with the same settings")
        return
    earlier.check(record)
    check_reconstruction_writable(out, overwrite=overwrite)
    print(f"{movie}: {_describe(stack)}; method {method}, seed {seed}", flush=True)

    from dlbi.cli.job import Job

    learned, camera = {}, None
    if correct_drift:
        steady = without_drift(movie, whole.select(taken))
        stack, camera = steady.stack.select(roi=region), stack
        learned["drift"] = steady.record()
    job = Job(
        out=out,
        movie=movie,
        stack=stack,
        camera=camera,
        frames=range(whole.n_frames)[taken],
        options={
            "method": method,
            "psf": psf,
            "scope": calibrated,
            "guide": guide_image,
            "model": network,
            "quality": quality,
            "start": start,
            "upscaling": UPSCALING,
            "rng": seed,
            "n_workers": settings.n_workers,
        },
        record=record,
        learned=learned,
        started=started,
        with_report=not no_report,
        resume=resume,
        overwrite=overwrite,
    )
    written = job.at_once() if windows is None else job.window_by_window(windows)
    print("wrote " + ", ".join(map(str, written)))


def _describe(stack: ImageStack) -> str:
    height, width = stack.grid.shape
    return f"{stack.n_frames} frames of {width}×{height} px of {stack.grid.pixel_size_nm:g} nm"


def _load_guide(
    path: Path, whole: ImageStack, region: tuple[int, int, int, int] | None
) -> FloatImage:
    """The guide on the fine grid of the region; a coarser picture of the field is refined."""
    import numpy as np

    from dlbi.core.errors import InputError, ShapeError
    from dlbi.io.images import load_image

    image, _ = load_image(path)
    if image.min() < 0 or not image.any():
        raise InputError(
            f"{path}: a guide must be non-negative and not all zero, its values lie in "
            f"{image.min():g} … {image.max():g}; clip it at 0"
        )
    height, width = whole.grid.shape
    x, y, w, h = region or (0, 0, width, height)
    if image.shape == (h * UPSCALING, w * UPSCALING):
        return image
    for factor in (8, 4, 2, 1):
        if image.shape == (height * factor, width * factor):
            block = np.full((UPSCALING // factor,) * 2, (factor / UPSCALING) ** 2, np.float32)
            rows = slice(y * UPSCALING, (y + h) * UPSCALING)
            columns = slice(x * UPSCALING, (x + w) * UPSCALING)
            return np.ascontiguousarray(np.kron(image, block)[rows, columns])
    raise ShapeError(
        f"{path}: a guide of {image.shape[1]}×{image.shape[0]} px does not fit a region of "
        f"{w}×{h} camera pixels; {w * UPSCALING}×{h * UPSCALING} px are needed"
    )
