"""Figures of the experiments: images side by side, and numbers as dots with their deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dlbi.bench.cases import Outcome
from dlbi.bench.subjects import UPSCALING, Subject
from dlbi.figures import FONT_PT, PAGE_WIDTH_IN, Picture, panel, save_figure

COLOURS = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7", "#999999",
)  # fmt: skip
"""Okabe and Ito: told apart by every kind of colour vision."""
MARKERS = "osD^vPX*"

Dot = tuple[float, float]
"""Mean and standard deviation."""


def image_rows(groups: Sequence[Sequence[Outcome]]) -> list[Picture]:
    """For each movie its first frame, the image of each method, and the truth if it is known."""
    pictures = []
    for group in groups:
        subject = group[0].case.source.load()
        pictures.append(first_frame(subject))
        for outcome in group:
            if outcome.picture is not None:
                image = outcome.image()
                pictures.append(Picture(outcome.case.contestant.name, image.mean, image.grid))
        if subject.truth is not None:
            truth = subject.truth.truth_density(UPSCALING)
            pictures.append(Picture("truth", truth.density, truth.grid))
    return pictures


def first_frame(subject: Subject) -> Picture:
    """The first frame of a movie, as in the paper's figures."""
    stack = subject.stack
    return Picture(f"first frame of {stack.n_frames}", stack.load(slice(0, 1))[0], stack.grid)


def draw_rows(groups: Sequence[Sequence[Outcome]], path: Path) -> None:
    """Write a panel with the pictures of each movie in rows of their own."""
    pictures = image_rows(groups)
    per_movie = len(pictures) // len(groups)
    panel(pictures, path, n_columns=per_movie if per_movie <= 5 else math.ceil(per_movie / 2))


def draw_dots(
    rows: Mapping[str, Mapping[str, Dot]],
    path: Path,
    *,
    label: str,
    logarithmic: bool = False,
    reference: float | None = None,
) -> None:
    """Write a chart: a line for each row, a dot with its deviation for each series.

    Parameters
    ----------
    rows : mapping
        Row → series → (mean, standard deviation); NaN is left out.
    path : Path
    label : str
        Of the horizontal axis, with its unit.
    logarithmic : bool
    reference : float, optional
        Where a vertical line stands.
    """
    series = list(dict.fromkeys(name for dots in rows.values() for name in dots))
    figure = Figure(figsize=(PAGE_WIDTH_IN, 0.9 + 0.3 * len(rows)), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.27, 0.55 / figure.get_figheight(), 0.5,
                            1 - 0.7 / figure.get_figheight()))  # fmt: skip
    for n, name in enumerate(series):
        shift = 0.5 * ((n + 0.5) / len(series) - 0.5)
        places, means, deviations = [], [], []
        for row, dots in enumerate(rows.values()):
            mean, sd = dots.get(name, (math.nan, math.nan))
            if not math.isnan(mean):
                places.append(row + shift)
                means.append(mean)
                deviations.append(0.0 if math.isnan(sd) else sd)
        axes.errorbar(
            means, places, xerr=deviations, fmt=MARKERS[n % len(MARKERS)], label=name,
            color=COLOURS[n % len(COLOURS)], markersize=4.5, elinewidth=0.8,
        )  # fmt: skip
    if reference is not None:
        axes.axvline(reference, color="0.6", linewidth=0.8, zorder=0)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), list(rows), fontsize=FONT_PT)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=FONT_PT)
    axes.tick_params(labelsize=FONT_PT)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=FONT_PT - 1, loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    save_figure(figure, path, dpi=200)
