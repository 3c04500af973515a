"""`dlbi demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dlbi.cli.arguments import Overwrite
from dlbi.cli.console import progress_report


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path(
        "dlbi-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another structure.")] = 1,
    overwrite: Overwrite = False,
) -> None:
    """See in a minute what this does.

    Simulates a movie of filaments, reconstructs it, scores the result against the truth and
    draws a picture of it all.
    """
    from dlbi.demo import run

    with progress_report() as progress:
        result = run(out, seed=seed, overwrite=overwrite, progress=progress)
    print(result)
