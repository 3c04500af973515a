"""What each part of the pipeline is worth, and what wrong beliefs and poorer movies cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dlbi.bench.cases import Case, Outcome
from dlbi.bench.contestants import BAYES, DLBI, NETWORK, Contestant
from dlbi.bench.experiment import Experiment, Plan, Task
from dlbi.bench.pictures import Dot, draw_dots
from dlbi.bench.subjects import Simulated, area_seed
from dlbi.bench.tables import Column, grouped, markdown, mean_and_sd, value
from dlbi.evaluation.tables import cell

MOVIES = (
    ("meos3.2", "filaments"), ("meos3.2", "er"), ("paper", "bundles"), ("paper", "rings"),
    ("camera", "mesh"), ("camera", "mitochondria"),
)  # fmt: skip
N_QUICK_MOVIES = 2

BASE = "dlbi, 200 frames, PSF measured"


_handicapped = partial(replace, DLBI)

METHODS: Mapping[str, Contestant] = {
    BASE: DLBI,
    "no network (bayes)": BAYES,
    "no refinement (network)": NETWORK,
    "network's image not made to agree with the movie": _handicapped(guide_iterations=0),
    "one chain instead of two": _handicapped(n_chains=1),
    "true PSF": _handicapped(psf_factor=1.0),
    "PSF 20 % too narrow": _handicapped(psf_factor=0.8),
    "PSF 10 % too narrow": _handicapped(psf_factor=0.9),
    "PSF 10 % too wide": _handicapped(psf_factor=1.1),
    "PSF 20 % too wide": _handicapped(psf_factor=1.2),
    "true kinetics": _handicapped(kinetics=(1.0, 1.0)),
    "blinking believed half as fast": _handicapped(kinetics=(0.5, 0.5)),
    "D→E believed twice as likely": _handicapped(kinetics=(1.0, 2.0)),
    "D→E believed half as likely": _handicapped(kinetics=(1.0, 0.5)),
}
FRAMES = {f"{n} frames": n for n in (20, 50, 100)}
LIGHT = {"half the light": 0.5, "a quarter of the light": 0.25}

COLUMNS = (
    Column("corr_2px", "corr 2 px", 3),
    Column("corr_4px", "corr 4 px", 3),
    Column("psnr_ls_db", "PSNR ls / dB", 2),
    Column("ssim_ls", "SSIM ls", 3),
    Column("chi2", "reduced χ²", 2, None),
    Column("cpu_seconds", "CPU s", 1, "low"),
)


def tasks(plan: Plan) -> list[Task]:
    """Every handicap on every movie; each contestant bears the name of its handicap."""
    chosen = MOVIES[:N_QUICK_MOVIES] if plan.quick else MOVIES
    planned = []
    for preset, structure in chosen:
        movie = Simulated(
            structure=structure,
            preset=preset,
            seed=area_seed(plan.seed, structure, preset),
            field_px=plan.field_px,
        )
        cases = [Case(movie, replace(method, name=name)) for name, method in METHODS.items()]
        cases += [
            Case(replace(movie, shown=n), replace(DLBI, name=name)) for name, n in FRAMES.items()
        ]
        cases += [
            Case(replace(movie, light=share), replace(DLBI, name=name))
            for name, share in LIGHT.items()
        ]
        planned += [Task(case) for case in cases]
    return planned


def report(outcomes: Sequence[Outcome]) -> str:
    """For each handicap the mean of each score, and in brackets the change from the base."""
    changes = {column.key: change_by_name(outcomes, column.key) for column in COLUMNS}
    rows = []
    for name in changes[COLUMNS[0].key]:
        cells = []
        for column in COLUMNS:
            mean = mean_and_sd(
                [value(o, column.key) for o in outcomes if o.case.contestant.name == name]
            )[0]
            change, sd = changes[column.key][name]
            spread = cell(sd, places=column.places)
            shown = round(change, column.places) + 0.0  # no −0
            known = name != BASE and not math.isnan(change)
            difference = f" ({shown:+.{column.places}f} ± {spread})" if known else ""
            cells.append(cell(mean, places=column.places) + difference)
        rows.append([name, *cells])
    n = len(grouped(outcomes, _movie))
    return "\n\n".join(
        [
            f"Means over {n} movies; in brackets the change from the first row on the same movie "
            "and the standard deviation of that change over the movies.",
            markdown(["", *(column.title for column in COLUMNS)], rows),
        ]
    )


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """The change of the correlation at 2 px under each handicap."""
    changes = change_by_name(outcomes, "corr_2px")
    rows = {name: {"change": dot} for name, dot in changes.items() if name != BASE}
    draw_dots(
        rows, path, label="change of the correlation at 2 px, mean ± deviation over movies",
        reference=0.0,
    )  # fmt: skip


def change_by_name(outcomes: Sequence[Outcome], key: str) -> dict[str, Dot]:
    """Mean and deviation over the movies of a score minus that of the base on the same movie."""
    changes: dict[str, list[float]] = {}
    for group in grouped(outcomes, _movie).values():
        base = next(value(o, key) for o in group if o.case.contestant.name == BASE)
        for outcome in group:
            name = outcome.case.contestant.name
            changes.setdefault(name, []).append(value(outcome, key) - base)
    return {name: mean_and_sd(values) for name, values in changes.items()}


def _movie(outcome: Outcome) -> str:
    movie = outcome.movie
    return f"{movie['preset']} {movie['structure']}"


ABLATIONS = Experiment(
    name="ablations",
    reproduces="beyond the paper",
    about=(
        "`dlbi` without one of its parts, with wrong beliefs about PSF and blinking, with fewer "
        "frames and with less light."
    ),
    tasks=tasks,
    report=report,
    draw=draw,
)
