"""All scores of one image: against the truth if there is one, and against its movie."""

from __future__ import annotations

import warnings

from dlbi.bench.subjects import UPSCALING, Subject
from dlbi.core.errors import DlbiWarning
from dlbi.core.images import Reconstruction
from dlbi.evaluation.image import score_truth
from dlbi.evaluation.line_spacing import share_resolved, valley_ratio
from dlbi.evaluation.squirrel import score_movie
from dlbi.reconstruction.measurement import measure, optics_of

PAPER_RSE_PER_COUNT = 20.0
"""The unit of RSE in Table 2 of the paper, which does not state one. Rescoring its published image
of Actin2 in counts of the movie, and both rows by RSE = sd · √(1 − RSP²), gives 20."""

Scores = dict[str, float | None]


def score(sr: Reconstruction, subject: Subject) -> Scores:
    """Scores as plain JSON values; what is undefined is None.

    Parameters
    ----------
    sr : Reconstruction
    subject : Subject

    Returns
    -------
    dict
        Against the truth: ``corr_0px``, ``corr_2px`` and ``corr_4px`` with the true fluorophores,
        ``psnr_…`` and ``ssim_…`` with the true density and ``null_…`` of the all-zero image;
        shares of ``pairs`` and ``ladders`` of lines resolved, and of ``bands`` taken for pairs.
        Against the movie: ``rsp`` and ``rse`` after SQUIRREL, with a fitted resolution-scaling
        function; ``rse_paper``; ``rsp_signal`` and ``rse_signal``, the same once the
        background that the image leaves out, or else the measured one, is taken off the mean
        frame; and ``chi2`` of that signal with the known or measured PSF, in units of the camera's
        noise.
    """
    scores: Scores = {}
    if subject.truth is not None:
        by_count, _ = score_truth(sr, subject.truth.truth(UPSCALING)).rows()
        by_density, null = score_truth(sr, subject.truth.truth_density(UPSCALING)).rows()
        scores |= {key: _number(by_count[key]) for key in by_count if key.startswith("corr")}
        for key in ("psnr_ls_db", "ssim_ls", "psnr_p999_db", "ssim_p999"):
            scores |= {key: _number(by_density[key]), f"null_{key}": _number(null[key])}
    for kind in dict.fromkeys(group.kind for group in subject.groups):
        ratios = [valley_ratio(sr.mean, sr.grid, g) for g in subject.groups if g.kind == kind]
        scores[f"{kind}s"] = share_resolved(ratios)
    return scores | _against_movie(sr, subject)


def _against_movie(sr: Reconstruction, subject: Subject) -> Scores:
    measured = measure(subject.stack)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)  # an image without structure fits any width
        psf = subject.psf or optics_of(subject.stack).psf
        whole = score_movie(sr, subject.stack).row()
        haze = measured.background.haze if sr.background is None else sr.background
        signal = score_movie(sr, subject.stack, background=haze).row()
        physical = score_movie(
            sr,
            subject.stack,
            psf=psf,
            background=haze,
            variance_of_mean=measured.variance_of_mean,
        ).row()
    rse = _number(whole["rse"])
    return {
        "rsp": _number(whole["rsp"]),
        "rse": rse,
        "rse_paper": None if rse is None else PAPER_RSE_PER_COUNT * rse,
        "rsp_signal": _number(signal["rsp"]),
        "rse_signal": _number(signal["rse"]),
        "chi2": _number(physical["chi2_reduced"]),
    }


def _number(value: str | float | bool | None) -> float | None:
    return float(value) if isinstance(value, int | float) else None
