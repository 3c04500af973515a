"""The page: gathers pictures, findings and figures, and fills the template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from dlbi import __version__
from dlbi.artefacts import Finding, Severity, find_artefacts
from dlbi.artefacts.examination import measure_behind
from dlbi.artefacts.finding import WORST_FIRST
from dlbi.artefacts.record import Record, counts_by_light, record_of
from dlbi.core.images import (
    ImageStack,
    Reconstruction,
    StructureImage,
    expect_movie,
    expect_reconstruction,
)
from dlbi.evaluation.alignment import upscaling_factor
from dlbi.io.files import PathLike, check_writable, pending_outputs, writing
from dlbi.report.facts import (
    curve_points,
    learned_facts,
    light_curve,
    movie_facts,
    transition_rows,
)
from dlbi.report.gallery import close_up, whole_field
from dlbi.report.origin import origin_facts, rerun_command
from dlbi.report.scores import movie_scores, truth_scores
from dlbi.report.verdict import verdict
from dlbi.report.windows import window_table
from dlbi.report.zoom import busiest

CURVE_SIZE = (320.0, 56.0)


def render_report(
    sr: Reconstruction,
    movie: ImageStack,
    *,
    findings: Sequence[Finding] | None = None,
    truth: StructureImage | None = None,
    title: str | None = None,
) -> str:
    """A reconstruction as one HTML page that holds everything it shows.

    Parameters
    ----------
    sr : Reconstruction
    movie : ImageStack
        The frames it was made from.
    findings : sequence of Finding, optional
        As `find_artefacts` gives them; looked for if not given.
    truth : StructureImage, optional
        The true structure, where it is known: adds its picture and scores.
    title : str, optional
        Name of the movie; that of the first recorded input by default.

    Raises
    ------
    ShapeError
        If movie, image and truth do not cover one field by whole factors.

    Notes
    -----
    The page holds no time of day and nothing else that differs between two runs of the same seed.
    Bytes of a file name that are no UTF-8 are shown as question marks.
    """
    expect_reconstruction(sr)
    expect_movie(movie)
    upscaling_factor(sr.grid, movie.grid)
    measured = measure_behind(sr, movie)
    found = find_artefacts(sr, movie, measured=measured) if findings is None else findings
    record = record_of(sr.provenance)
    scored = movie_scores(sr, measured.stack, by_light=counts_by_light(record))
    light = light_curve(measured) if _is_lit(found) else None
    zoom = busiest(sr.mean if sr.mean.any() else measured.signal, movie.grid)
    text = _template().render(
        version=__version__,
        title=title or _name(sr.provenance),
        method=record.get("method"),
        verdict=verdict(found, scored.scores),
        worst=_worst(found),
        panels=whole_field(sr, measured, scored.scores, truth, zoom),
        zooms=close_up(sr, measured, truth, zoom),
        zoom_side_um=zoom.side * movie.grid.pixel_size_nm / 1000,
        zoom_side_px=zoom.side,
        zoom_rule="the reconstruction" if sr.mean.any() else "the mean of all frames",
        findings=sorted(found, key=lambda f: WORST_FIRST.index(f.severity)),
        severity=Severity,
        facts=movie_facts(measured, sr, light),
        curve=None if light is None else curve_points(light, *CURVE_SIZE),
        curve_size=CURVE_SIZE,
        n_frames=movie.n_frames,
        subtitle=_subtitle(sr, movie),
        windows=window_table(record),
        scores=scored.table,
        truth_scores=None if truth is None else truth_scores(sr, truth),
        learned=learned_facts(record, sr, movie),
        transitions=transition_rows(record),
        origin=origin_facts(sr.provenance, record),
        rerun=rerun_command(sr.provenance),
    )
    return text.encode("utf-8", "replace").decode()


def save_report(
    sr: Reconstruction,
    movie: ImageStack,
    path: PathLike,
    *,
    truth: StructureImage | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the page of `render_report`; it appears under its name when complete.

    Parameters
    ----------
    sr : Reconstruction
    movie : ImageStack
        The frames it was made from.
    path : path
        Ends in ``.html``.
    truth : StructureImage, optional
        The true structure, where it is known.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    ShapeError
        If movie, image and truth do not cover one field by whole factors.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite, suffixes=(".html",))
    text = render_report(sr, movie, truth=truth)
    with pending_outputs(path, overwrite=overwrite) as parts, writing(path):
        parts[path].write_text(text, encoding="utf-8", newline="\n")
    return path


def _is_lit(found: Sequence[Finding]) -> bool:
    return not any(f.name == "light" and f.severity is Severity.WARNING for f in found)


def _worst(found: Sequence[Finding]) -> Severity:
    return min((f.severity for f in found), key=WORST_FIRST.index, default=Severity.FINE)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dlbi.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("template.html.jinja")


def _name(provenance: Record) -> str:
    match provenance.get("inputs"):
        case [{"name": str(name)}, *_]:
            return name
    return "Reconstruction"


def _subtitle(sr: Reconstruction, movie: ImageStack) -> str:
    height, width = movie.grid.shape
    return (
        f"{movie.n_frames} frames of {width} × {height} pixels of {movie.grid.pixel_size_nm:g} nm; "
        f"image pixels of {sr.grid.pixel_size_nm:g} nm"
    )
