"""Causes of artefacts that a reconstruction recorded while it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from dlbi.artefacts.finding import Finding, Severity
from dlbi.inference.hmm.chains import LARGE_R_HAT
from dlbi.reconstruction.prior import LARGE_SHARE

Record = Mapping[str, Any]

LARGE_R_HAT_95 = 2.0
"""R-hat at 95 % of the bright pixels from which on too few sweeps are suspected."""


def record_of(provenance: Record) -> Record:
    """What `reconstruct` recorded; the program puts it under a key of its own."""
    inner = provenance.get("reconstruction", provenance)
    return inner if isinstance(inner, Mapping) else {}


def counts_by_light(record: Record) -> bool:
    """Whether late frames of a movie that fades counted less: not in 3B, in other programs, nor in
    the mean of windows."""
    return "light_left" in record and "windows" not in record


def chains_of(record: Record) -> Iterator[Record]:
    """Diagnostics of every chain of every tile."""
    for tile in record.get("tiles", ()):
        yield from tile.get("chains", ())


def per_fluorophore(record: Record) -> list[float]:
    """Emitters per fluorophore, of every chain that tells it."""
    key = "emitters_per_fluorophore"
    return [chain[key] for chain in chains_of(record) if key in chain]


def check_record(record: Record) -> list[Finding]:
    """Every check that the method left something for."""
    found = [_chains(record), _network_range(record), _network_agreement(record), _single(record)]
    return [finding for finding in found if finding is not None]


def _chains(record: Record) -> Finding | None:
    if "tiles" not in record:
        return None
    median = record.get("r_hat_median")
    if median is None:
        return Finding(
            "chains",
            Severity.UNKNOWN,
            "a single chain cannot tell whether it has sampled enough",
            "--quality standard runs two",
        )
    worst = record.get("r_hat_95", median)
    apart = median > LARGE_R_HAT
    finding = partial(
        Finding,
        "chains",
        value=median if apart else worst,
        limit=LARGE_R_HAT if apart else LARGE_R_HAT_95,
        unit="R-hat, median" if apart else "R-hat, 95 % of the bright pixels",
        told=apart,
    )
    figures = f"R-hat {median:.2f}, and {worst:.2f} at 95 % of the bright pixels"
    if not apart and worst <= LARGE_R_HAT_95:
        return finding(Severity.FINE, f"the chains of the sampler agree ({figures})")
    return finding(
        Severity.WARNING,
        f"the chains of the sampler have not come together ({figures}): too few sweeps, or a "
        "movie that allows several answers",
        "--quality best samples longer",
    )


def _network_range(record: Record) -> Finding | None:
    match record.get("network"):
        case {"out_of_range": [*unlike]}:
            pass
        case _:
            return None
    if not unlike:
        return Finding(
            "training", Severity.FINE, "the movie is like those the network was trained on"
        )
    return Finding(
        "training",
        Severity.WARNING,
        f"the movie is unlike those the network was trained on: {'; '.join(map(str, unlike))}",
        "compare with --method bayes",
        told=True,
    )


def _network_agreement(record: Record) -> Finding | None:
    match record.get("network"):
        case {"share_in_disagreement": float(share)}:
            pass
        case _:
            return None
    finding = partial(
        Finding, "network", value=share, limit=LARGE_SHARE, unit="of the field", told=True
    )
    if share <= LARGE_SHARE:
        return finding(
            Severity.FINE, f"the network's image explains the mean in all but {share:.0%} of the "
            "field",
        )  # fmt: skip
    return finding(
        Severity.WARNING,
        f"the network's image does not explain the mean in {share:.0%} of the field",
        "compare with --method bayes",
    )


def _single(record: Record) -> Finding | None:
    known = per_fluorophore(record)
    if not known:
        return None
    if min(known) < 1.0:
        return Finding(
            "fluorophores",
            Severity.NOTE,
            "there are more fluorophores than can be told apart, so each entry of the table stands "
            "for several",
            "read the image as a density, and not the table",
        )
    if max(known) > 1.0:
        return Finding(
            "fluorophores",
            Severity.NOTE,
            "single emissions are placed so precisely that one fluorophore may have several "
            "entries in the table",
            "do not count fluorophores by the entries of the table",
        )
    return Finding(
        "fluorophores", Severity.FINE, "there are no more fluorophores than can be told apart"
    )
