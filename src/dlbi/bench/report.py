"""The report of a run: one JSON with everything, one Markdown with tables, a figure each."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dlbi.bench.cases import FAILED, Outcome, network_sha256
from dlbi.bench.experiment import Experiment, Plan
from dlbi.bench.experiments import NOT_REPRODUCED
from dlbi.evaluation.image import normalisation_lines
from dlbi.io.files import pending_outputs, writing
from dlbi.io.provenance import describe, write_json

RECORD, TABLES = "bench.json", "bench.md"

HOW_TO_READ = """\
Each cell is the mean over the movies ± the standard deviation between them; in brackets on how many
movies the method is first. corr: Pearson correlation with the true fluorophores after a Gaussian
blur of 0, 2 and 4 fine pixels. PSNR and SSIM: against the true density, divided by its 99.9th
percentile. RSP and RSE: the image, blurred by the width that fits best, against the mean frame
(SQUIRREL); RSE in counts of the movie, and in the unit of the paper's Table 2, 20 for each count.
The methods leave out smooth background, so both are given again with the measured background taken
off the mean frame; there the interpolated mean scores RSP 1: they find artefacts, not resolution.
Reduced χ²: with the known or measured PSF, background off, in units of the camera's noise; above 1
the image does not explain the mean. Seconds are those of the reconstruction alone."""


@dataclass(frozen=True, slots=True)
class Section:
    """An experiment and what came of its cases."""

    experiment: Experiment
    outcomes: list[Outcome]


def write_report(
    folder: Path,
    sections: Sequence[Section],
    plan: Plan,
    *,
    left_out: Mapping[str, str],
    n_workers: int,
    command: Sequence[str] | None,
    started: datetime,
) -> list[Path]:
    """Write figures, then tables and record together; older ones are replaced.

    Returns
    -------
    list of Path
        The record, the tables, the figures.
    """
    figures = []
    for section in sections:
        figure = folder / f"{section.experiment.name}.png"
        if any(outcome.scores for outcome in section.outcomes):
            section.experiment.draw(section.outcomes, figure)
            figures.append(figure)
    inputs = sorted({film.path for film in (*plan.patches, *(plan.channels or ()))})
    config = {"quick": plan.quick, "threeb_quality": plan.threeb_quality, "n_workers": n_workers}
    environment = describe(
        inputs=inputs, command=command, config=config, seed=plan.seed, started=started
    ) | {"computer": computer(n_workers), "network_sha256": network_sha256()}
    record = {
        "environment": environment,
        "experiments": {
            s.experiment.name: {
                "reproduces": s.experiment.reproduces,
                "cases": [outcome.row() for outcome in s.outcomes],
            }
            for s in sections
        },
        "not_run": dict(left_out),
        "not_reproduced": NOT_REPRODUCED,
    }
    names = [folder / TABLES, folder / RECORD]
    with pending_outputs(names, overwrite=True) as parts, writing(folder):
        text = markdown_report(sections, environment, left_out, figures)
        parts[names[0]].write_text(text, encoding="utf-8")
        write_json(parts[names[1]], record)
    return [*reversed(names), *figures]


def markdown_report(
    sections: Sequence[Section],
    environment: Mapping[str, Any],
    left_out: Mapping[str, str],
    figures: Sequence[Path],
) -> str:
    """All tables under the name of their experiment, and what was not run or not reproduced."""
    machine = environment["computer"]
    versions = ", ".join(f"{k} {v}" for k, v in environment["software"].items())
    parts = [
        "# dlbi bench",
        f"{versions}; {machine['cpu']}, {machine['cores']} cores, {machine['workers']} threads; "
        f"seed {environment['seed']}; network sha256 {environment['network_sha256'][:12]}.",
        HOW_TO_READ,
        "\n".join(f"- {line}" for line in normalisation_lines()),
    ]
    drawn = {figure.stem: figure for figure in figures}
    for section in sections:
        experiment = section.experiment
        parts += [
            f"## {experiment.name}: {experiment.reproduces}",
            experiment.about,
            experiment.report(section.outcomes),
        ]
        if experiment.name in drawn:
            parts.append(f"![{experiment.name}]({drawn[experiment.name].name})")
        parts += _failures(section.outcomes)
    if left_out:
        lines = [f"- {name}: {why}" for name, why in left_out.items()]
        parts += ["## Not run", "\n".join(lines)]
    lines = [f"- {what}: {why}." for what, why in NOT_REPRODUCED.items()]
    return "\n\n".join([*parts, "## Not reproduced", "\n".join(lines)]) + "\n"


def computer(n_workers: int) -> dict[str, Any]:
    """Processor, cores that this process may use, and threads of the methods."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _processor(), "cores": cores, "workers": n_workers}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _failures(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        f"- {o.case.contestant.name} on {o.case.source.title}: {text}"
        for o in outcomes
        for text in o.said
        if text.startswith(FAILED)
    ]
    return ["\n".join(lines)] if lines else []
