"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters."""

    FINE = "fine"
    NOTE = "note"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Parameters
    ----------
    name : str
        What was looked at, in a word or two.
    severity : Severity
        ``warning`` where the image may be wrong, ``note`` for a limit to know of, ``unknown``
        where the movie does not tell.
    sentence : str
        What was found, in plain words, without a full stop.
    advice : str
        What to do; empty if nothing is to be done.
    value, limit : float or None
        What was measured, and where the severity changes, in `unit`.
    unit : str
    told : bool
        Whether `reconstruct` warned of it already.
    """

    name: str
    severity: Severity
    sentence: str
    advice: str = ""
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    told: bool = False

    def __str__(self) -> str:
        """One line."""
        return f"{self.name}: {self.sentence}" + (f"; {self.advice}" if self.advice else "")
