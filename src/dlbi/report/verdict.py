"""The one sentence at the head of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dlbi.artefacts import Finding, Severity
from dlbi.evaluation.squirrel import MovieScores


def verdict(findings: Sequence[Finding], scores: MovieScores | None) -> str:
    """What to make of a reconstruction, in one sentence."""
    by_severity = {s: [f.name for f in findings if f.severity is s] for s in Severity}
    warned, unknown = by_severity[Severity.WARNING], by_severity[Severity.UNKNOWN]
    if "light" in warned:
        return "There is nothing to see: no light stands out of the noise of this movie."
    fits = scores is not None and math.isfinite(scores.rsp)
    fit = f"; RSP against the mean frame {scores.rsp:.3f}" if scores is not None and fits else ""
    if warned:
        n = len(warned)
        warn = "warns" if n == 1 else "warn"
        return f"Read with care: {n} of {len(findings)} checks {warn} ({_listed(warned)})."
    if unknown:
        return f"No sign of an artefact, but {_listed(unknown)} could not be checked{fit}."
    return f"No sign of an artefact in {len(findings)} checks{fit}."


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
