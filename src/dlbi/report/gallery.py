"""Which pictures the page shows."""

from __future__ import annotations

from functools import partial

import numpy as np

from dlbi.artefacts.record import record_of
from dlbi.core.images import FloatImage, Reconstruction, StructureImage
from dlbi.evaluation.alignment import upscaling_factor
from dlbi.evaluation.squirrel import MovieScores
from dlbi.figures import LIMIT_PERCENTILES
from dlbi.reconstruction.measurement import Movie
from dlbi.report.panels import Panel, p_value_panel, panel
from dlbi.report.zoom import Zoom

FULL_RESOLUTION_PX = 10_000

MEAN, IMAGE, TRUTH = "Mean of all frames", "Reconstruction", "Truth"
FINE_UNIT, TRUTH_UNIT = "counts per fine pixel", "fluorophores per pixel"


def whole_field(
    sr: Reconstruction,
    movie: Movie,
    scores: MovieScores | None,
    truth: StructureImage | None,
    zoom: Zoom,
) -> list[Panel]:
    """Mean, reconstruction, truth, standard deviation, p-value and error map, if known.

    The first three show where the zoom is.
    """
    camera = movie.stack.grid
    box = zoom.box(camera)
    taken_off = "" if sr.background is None else ", background taken off"
    by_light = ", late frames counting less" if movie.fades else ""
    panels = [
        panel(
            MEAN, movie.mean, camera, colour_map="gray", pixels=True, box=box,
            caption=f"What the microscope shows{by_light}.",
        ),
        panel(
            IMAGE, sr.mean, sr.grid, unit=_unit(sr), box=box,
            caption=f"Light of each fine pixel and frame{taken_off}.",
        ),
    ]  # fmt: skip
    if truth is not None:
        panels.append(
            panel(
                TRUTH, truth.density, truth.grid, unit=TRUTH_UNIT, box=box,
                caption="Simulated, and unknown to the method.",
            )
        )  # fmt: skip
    if sr.std is not None:
        panels.append(
            panel(
                "Standard deviation", sr.std, sr.grid, unit=_unit(sr),
                caption="How far the reconstruction may be off.",
            )
        )  # fmt: skip
    if sr.p_value is not None:
        learned = "network" in record_of(sr.provenance)
        meaning = (
            "Share of empty pixels among all that look as clear; small means structure."
            if learned
            else "Probability of no fluorophore here; small means structure."
        )
        panels.append(p_value_panel(sr.p_value, sr.grid, caption=meaning))
    if scores is not None:
        caption = f"Mean frame against the blurred reconstruction (SQUIRREL){taken_off}."
        panels.append(
            panel(
                "Error map", scores.error_map, camera, colour_map="magma", pixels=True,
                limits=(0.0, _largest_error(scores)), caption=caption + _border_note(scores),
            )
        )  # fmt: skip
    return panels


def close_up(
    sr: Reconstruction, movie: Movie, truth: StructureImage | None, zoom: Zoom
) -> list[Panel]:
    """Mean, reconstruction and truth of the zoom at full resolution."""
    camera = movie.stack.grid

    def part(title: str, image: FloatImage, unit: str, colour_map: str) -> Panel:
        factor = image.shape[0] // camera.shape[0]
        return panel(
            title, zoom.cut(image, factor), zoom.grid(camera, factor), unit=unit,
            colour_map=colour_map, pixels=True, max_px=FULL_RESOLUTION_PX,
        )  # fmt: skip

    fine = partial(part, colour_map="inferno")
    panels = [part(MEAN, movie.mean, "counts", "gray"), fine(IMAGE, sr.mean, _unit(sr))]
    if truth is not None:
        upscaling_factor(truth.grid, camera)
        panels.append(fine(TRUTH, truth.density, TRUTH_UNIT))
    return panels


def _unit(sr: Reconstruction) -> str:
    """The unit of the image; nothing for one of another program."""
    return FINE_UNIT if "method" in record_of(sr.provenance) else ""


def _largest_error(scores: MovieScores) -> float:
    """The brightest colour of the error map, without the border that the scores leave out."""
    border = scores.border_px
    height, width = scores.error_map.shape
    inner = scores.error_map[border : height - border, border : width - border]
    return float(np.percentile(inner, LIMIT_PERCENTILES[1]))


def _border_note(scores: MovieScores) -> str:
    if scores.border_px == 0:
        return ""
    return f" The scores leave out {scores.border_px} pixels at the border, lit from outside."
