"""`dlbi bench`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from dlbi.cli.arguments import PixelSize, PsfFwhm, Roi, available_cores, naming, parse_roi
from dlbi.cli.console import progress_report
from dlbi.cli.reconstruct import Quality

SEED = 23_000
"""Of the published tables; no constant of the package was tuned on its movies."""


def bench(
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for tables, figures, record and cases."),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this one; may be repeated. All if absent."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few areas of 30x30 px: about two minutes.")
    ] = False,
    ablations: Annotated[
        bool,
        typer.Option("--ablations", help="Also what each part, wrong belief and lack costs."),
    ] = False,
    movie: Annotated[
        list[Path] | None,
        typer.Option(metavar="MOVIE", help="Real movie, its first 200 frames; may be repeated."),
    ] = None,
    channels: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Two movies of one field, for the overlay."),
    ] = None,
    pixel_size: PixelSize = None,
    psf_fwhm: PsfFwhm = None,
    roi: Roi = None,
    threeb: Annotated[
        Quality | None,
        typer.Option(
            help="Iterations of 3b: 8, 40 or the paper's 240 passes; preview if quick, else "
            "standard."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Other movies.")] = SEED,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads; all cores if absent.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what was stopped or killed in that folder.")
    ] = False,
    list_experiments: Annotated[
        bool, typer.Option("--list", help="Tell what can be reproduced, and what not and why.")
    ] = False,
) -> None:
    """Repeat the paper's experiments.

    On simulated movies, and on real ones if they are given. Every finished case is kept, so a run
    can be stopped and continued.
    """
    region = None if roi is None else parse_roi(roi)

    from dlbi.bench.experiment import Plan
    from dlbi.bench.films import channel_pair, film
    from dlbi.bench.run import agenda, check_folder, describe_experiments, run
    from dlbi.core.errors import InputError
    from dlbi.core.optics import GaussianPSF

    if list_experiments:
        print(describe_experiments())
        return
    if out is None:
        raise InputError("bench needs a folder for its results; give --out DIR")
    check_folder(out, resume=resume)
    if psf_fwhm is not None:
        with naming("--psf-fwhm"):
            GaussianPSF(psf_fwhm)
    plan = Plan(
        seed=seed, quick=quick, threeb_quality=threeb or ("preview" if quick else "standard")
    )
    given = partial(film, seed=seed, pixel_size_nm=pixel_size, psf_fwhm_nm=psf_fwhm, roi=region)
    films = []
    for path in movie or ():
        with naming(path):
            films.append(given(path, patch_px=plan.field_px))
    with naming("--channels"):
        pair = None if channels is None else channel_pair(channels, given)
    plan = replace(
        plan,
        patches=tuple(patch for patch, _ in films),
        fields=() if quick else tuple(field for _, field in films if field is not None),
        channels=pair,
    )
    wanted = agenda(plan, experiment or (), ablations=ablations)
    print(f"{len(wanted.cases())} cases of {', '.join(wanted.tasks)}; seed {seed}", flush=True)
    with progress_report() as progress:
        written = run(
            out, plan, wanted,
            resume=resume, n_workers=workers or available_cores(), command=context.obj,
            progress=progress,
        )  # fmt: skip
    print("wrote " + ", ".join(map(str, written)))
