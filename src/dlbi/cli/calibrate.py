"""`dlbi calibrate`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from dlbi.cli.arguments import (
    CorrectDrift,
    Frames,
    Movie,
    Overwrite,
    PixelSize,
    Roi,
    Seed,
    check_distinct,
    check_frames,
    naming,
    parse_frames,
    parse_roi,
    part_of,
    without_drift,
)
from dlbi.cli.console import progress_report


def calibrate(
    movie: Movie,
    out: Annotated[
        Path, typer.Option(metavar="scope.toml", help="Figures, for reconstruct --scope.")
    ],
    pixel_size: PixelSize = None,
    roi: Roi = None,
    frames: Frames = None,
    correct_drift: CorrectDrift = False,
    seed: Seed = None,
    overwrite: Overwrite = False,
) -> None:
    """Estimate PSF, camera noise and blinking from a movie.

    Every figure has a 95 % interval. What the movie does not tell is said to be not identified;
    its interval is then what was believed before.
    """
    region = None if roi is None else parse_roi(roi)
    run = parse_frames(frames)

    from dlbi.core.rng import root_seed
    from dlbi.io.files import check_writable
    from dlbi.io.scopes import SCOPE_SUFFIXES, save_scope
    from dlbi.io.stacks import load_stack

    check_distinct([out], [movie])
    check_writable(out, overwrite=overwrite, suffixes=SCOPE_SUFFIXES)
    whole = load_stack(movie, pixel_size_nm=pixel_size)
    taken = check_frames(run, whole.n_frames, movie)
    stack = part_of(whole, taken, region, movie)
    seed = root_seed(seed)
    height, width = stack.grid.shape
    print(
        f"{movie}: {stack.n_frames} frames of {width}×{height} px of "
        f"{stack.grid.pixel_size_nm:g} nm; seed {seed}",
        flush=True,
    )

    from dlbi.artefacts.movie import check_saturation
    from dlbi.core.errors import DlbiWarning
    from dlbi.evaluation.saturation import find_saturation
    from dlbi.reconstruction.calibration import calibrate as run_calibration

    saturation = find_saturation(stack)
    if saturation.clipped:
        warnings.warn(
            f"{check_saturation(saturation)}; the gain of the scope is not to be trusted",
            DlbiWarning,
            stacklevel=1,
        )

    if correct_drift:
        stack = without_drift(movie, whole.select(taken)).stack.select(roi=region)
    with naming(movie), progress_report() as progress:
        scope = run_calibration(stack, rng=seed, progress=progress)
    print(scope)
    print(f"wrote {save_scope(out, scope, overwrite=overwrite)}")
