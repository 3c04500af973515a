"""Two movies of one field, laid over each other (Fig. 12E)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.bench.cases import Outcome
from dlbi.bench.contestants import DLBI
from dlbi.bench.experiment import Experiment, Plan, Task, crossed
from dlbi.bench.pictures import first_frame
from dlbi.bench.subjects import Simulated, Source, area_seed
from dlbi.bench.tables import TRUTH_COLUMNS, Column, markdown, value
from dlbi.core.images import FloatImage
from dlbi.evaluation.reprojection import correlation
from dlbi.evaluation.tables import cell
from dlbi.figures import Picture, overlay, panel

BLURS_PX = (0.0, 2.0, 4.0)
_CORRELATIONS = TRUTH_COLUMNS[:3]


def channels(plan: Plan) -> tuple[Source, Source]:
    """The two movies given, or one structure labelled twice with other fluorophores."""
    if plan.channels is not None:
        return plan.channels
    first = Simulated(
        structure="filaments",
        preset="meos3.2",
        seed=area_seed(plan.seed, "filaments", "meos3.2"),
        field_px=plan.field_px,
    )
    return first, replace(first, labelling=1)


def tasks(plan: Plan) -> list[Task]:
    """`dlbi` on both."""
    return crossed(channels(plan), (DLBI,), n_pictured=2)


def report(outcomes: Sequence[Outcome]) -> str:
    """Correlation of the two images with each other and with the truth, and their shift."""
    first, second = outcomes
    if first.picture is None or second.picture is None:
        return "A channel could not be reconstructed."
    a, b = first.image(), second.image()
    between = [blurred_correlation(a.mean, b.mean, blur) for blur in BLURS_PX]
    rows = [["one with the other", *(cell(r, places=3) for r in between)]]
    rows += [
        [f"{label} with the truth", *_with_truth(outcome, _CORRELATIONS)]
        for label, outcome in (("first", first), ("second", second))
        if "corr_2px" in outcome.scores
    ]
    y, x = shift_px(a.mean, b.mean)
    return "\n\n".join(
        [
            markdown(["image", *(column.title for column in _CORRELATIONS)], rows),
            f"Shift between the two images: y {y * a.grid.pixel_size_nm:.0f}, "
            f"x {x * a.grid.pixel_size_nm:.0f} nm (whole fine pixels of "
            f"{a.grid.pixel_size_nm:g} nm).",
        ]
    )


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Both images, and the first in magenta over the second in green."""
    images = {
        f"{label} channel": outcome.image()
        for label, outcome in zip(("first", "second"), outcomes, strict=True)
        if outcome.picture is not None
    }
    pictures = [first_frame(outcomes[0].case.source.load())]
    pictures += [Picture(title, image.mean, image.grid) for title, image in images.items()]
    if len(images) == 2:
        a, b = images.values()
        pictures.append(Picture("first magenta, second green", overlay(a.mean, b.mean), a.grid))
    titles = [outcome.case.source.title for outcome in outcomes]
    panel(pictures, path, n_columns=4, caption=f"First: {titles[0]}. Second: {titles[1]}.")


def blurred_correlation(a: FloatImage, b: FloatImage, blur_px: float) -> float:
    """Pearson correlation after a Gaussian blur of both."""
    if blur_px == 0.0:
        return correlation(a, b)
    return correlation(gaussian_filter(a, blur_px), gaussian_filter(b, blur_px))


def shift_px(a: FloatImage, b: FloatImage) -> tuple[int, int]:
    """By how many pixels (y, x) `b` lies beside `a`: the peak of their cross-correlation."""
    fa, fb = (np.fft.rfft2(gaussian_filter(image, 2.0) - image.mean()) for image in (a, b))
    peak = np.fft.irfft2(np.conj(fa) * fb, s=a.shape).argmax()
    y, x = np.unravel_index(peak, a.shape)
    height, width = a.shape
    return (int(y) + height // 2) % height - height // 2, (int(x) + width // 2) % width - width // 2


def _with_truth(outcome: Outcome, columns: Sequence[Column]) -> list[str]:
    values = [value(outcome, column.key) for column in columns]
    return ["–" if math.isnan(v) else cell(v, places=3) for v in values]


CHANNELS = Experiment(
    name="channels",
    reproduces="Fig. 12E",
    about=(
        "Two channels of one field, reconstructed one by one and overlaid. Without two movies, one "
        "structure is labelled twice with other fluorophores and filmed twice."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
