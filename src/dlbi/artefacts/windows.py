"""The checks of all windows of a time-lapse as one list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dlbi.artefacts.examination import ORDER
from dlbi.artefacts.finding import WORST_FIRST, Finding


def over_windows(windows: Sequence[Sequence[Finding]]) -> list[Finding]:
    """One finding for each check: the worst of all windows, and in how many it is so.

    Parameters
    ----------
    windows : sequence of sequence of Finding
        What `find_artefacts` found in each window, in time order.
    """
    by_name = {
        name: [(n, f) for n, found in enumerate(windows, start=1) for f in found if f.name == name]
        for name in ORDER
    }
    return [_worst(found, len(windows)) for found in by_name.values() if found]


def _worst(found: Sequence[tuple[int, Finding]], n_windows: int) -> Finding:
    severity = min((finding.severity for _, finding in found), key=WORST_FIRST.index)
    alike = [(n, finding) for n, finding in found if finding.severity is severity]
    first, finding = alike[0]
    if n_windows == 1:
        return finding
    share = f"all {n_windows}" if len(alike) == n_windows else f"{len(alike)} of {n_windows}"
    place = f"in {share} windows, first in window {first}"
    return replace(
        finding,
        sentence=f"{place}: {finding.sentence}",
        told=all(finding.told for _, finding in alike),
    )
