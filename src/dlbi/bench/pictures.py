"""Figures of the experiments: images side by side, and numbers as dots with their deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

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


MOST_COLUMNS = 5


def images(group: Sequence[Outcome]) -> list[Picture]:
    """First frame of a movie, the image of each method, and the truth if it is known."""
    subject = group[0].case.source.load()
    pictures = [first_frame(subject)]
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


def draw_blocks(
    blocks: Sequence[Sequence[Picture]], path: Path, *, caption: str | None = None
) -> None:
    """Write a panel in which each block of pictures begins a row of its own."""
    longest = max(map(len, blocks))
    n_columns = math.ceil(longest / math.ceil(longest / MOST_COLUMNS))
    places: list[Picture | None] = []
    for block in blocks:
        places += [*block, *[None] * (-len(block) % n_columns)]
    panel(places, path, n_columns=n_columns, caption=caption)


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
    page_in = figure.get_figheight()
    left = 0.03 + 0.0085 * max(map(len, rows))
    axes = figure.add_axes((left, 0.45 / page_in, 0.97 - left, 1 - 0.9 / page_in))
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
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_yticks(range(len(rows)), list(rows), fontsize=FONT_PT)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=FONT_PT)
    axes.tick_params(labelsize=FONT_PT)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    if len(series) > 1:
        axes.legend(
            fontsize=FONT_PT - 1, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(series),
            frameon=False, columnspacing=1.0, handletextpad=0.2,
        )  # fmt: skip
    save_figure(figure, path, dpi=200)
