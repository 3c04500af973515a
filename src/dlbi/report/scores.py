"""Scores of a reconstruction for the page, with whatever keeps one from being computed."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from dlbi.core.emitters import Emitters
from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.evaluation.image import score_truth
from dlbi.evaluation.squirrel import MovieScores, score_movie
from dlbi.evaluation.tables import cell
from dlbi.report.numbers import number

TRUTH_COLUMNS = {
    "corr_2px": "correlation, 2 px",
    "corr_4px": "correlation, 4 px",
    "psnr_ls_db": "PSNR / dB",
    "ssim_ls": "SSIM",
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under headings, the first column a name.

    Parameters
    ----------
    headings : list of str
    rows : list of list of str
    notes : list of str
        What has to be known beside it.
    """

    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores against the movie: the table, and the one that the error map is drawn from."""

    table: Table
    scores: MovieScores | None


def movie_scores(sr: Reconstruction, stack: ImageStack, *, by_light: bool) -> Scored:
    """RSP, RSE and χ², with the background that the image leaves out and without it.

    Parameters
    ----------
    sr : Reconstruction
    stack : ImageStack
    by_light : bool
        Whether late frames of a movie that fades count less in the image, and so in the mean frame.
    """
    mean = None if by_light else stack.mean()
    rows: list[list[str]] = []
    notes: list[str] = []
    best = None
    for name, background in (("mean frame", None), ("background taken off", sr.background)):
        if background is None and rows:
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DlbiWarning)
            try:
                best = score_movie(sr, stack, mean=mean, background=background)
            except InputError as error:
                notes.append(f"{name}: {error}")
                continue
        notes += [f"{name}: {w.message}" for w in caught]
        rows.append([name, cell(best.rsp, places=4), number(best.rse), number(best.chi2_reduced)])
    return Scored(Table(["against", "RSP", "RSE / counts", "reduced χ²"], rows, notes), best)


def truth_scores(sr: Reconstruction, truth: StructureImage | Emitters) -> Table:
    """Scores against a known truth, beside those of the all-zero image."""
    names = {"image": "this image", "null": "an empty image"}
    rows = [
        [names[str(row["name"])]]
        + [cell(row[key], places=2 if key.startswith("psnr") else 3) for key in TRUTH_COLUMNS]
        for row in score_truth(sr, truth).rows()
    ]
    return Table(["against the truth", *TRUTH_COLUMNS.values()], rows, [])
