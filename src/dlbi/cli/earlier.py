"""What an earlier run left at the output of `dlbi reconstruct`, and whether to go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlbi.core.errors import OutputError
from dlbi.io.provenance import first_difference, load_json
from dlbi.io.reconstructions import reconstruction_paths
from dlbi.io.windows import FinishedWindows


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """Records of the complete result and of the unfinished run at an output, empty if none counts.

    Parameters
    ----------
    out : Path
    overwrite : bool
        Whether what has other settings is to be replaced.
    complete, unfinished : mapping
        As `dlbi.io.provenance.describe` gives them.
    """

    out: Path
    overwrite: bool
    complete: Mapping[str, Any] = field(default_factory=dict)
    unfinished: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int | None:
        """The seed to go on with."""
        return (self.unfinished or self.complete).get("seed")

    def is_complete(self, record: Mapping[str, Any]) -> bool:
        """Whether the run of this record was completed before."""
        return bool(self.complete) and first_difference(record, self.complete) is None

    def tidy(self) -> None:
        """Remove what a complete run was killed before removing."""
        FinishedWindows(self.out, 0).remove()

    def check(self, record: Mapping[str, Any]) -> None:
        """Refuse to go on with a run of other input, settings, seed or versions.

        Raises
        ------
        OutputError
            If there is one, and it is not to be replaced.
        """
        left = self.unfinished or self.complete
        other = first_difference(record, left) if left else None
        if other is not None and not self.overwrite:
            state = "an unfinished run" if self.unfinished else "a result"
            raise OutputError(
                f"{self.out}: {state} is there with {other}; --resume needs the same, "
                "--overwrite begins anew"
            )


def earlier_run(out: Path, *, resume: bool, overwrite: bool) -> EarlierRun:
    """What counts of an earlier run; nothing unless it is to be resumed.

    Raises
    ------
    OutputError
        If it is unfinished, and neither to be resumed nor to be replaced.
    """
    windows = FinishedWindows(out, 0)
    if not resume:
        if windows.folder.exists() and not overwrite:
            raise OutputError(
                f"{out}: an unfinished run is there ({windows.folder.name}); go on with --resume "
                "or begin anew with --overwrite"
            )
        return EarlierRun(out, overwrite)
    provenance = reconstruction_paths(out).provenance
    complete = load_json(provenance) if out.exists() and provenance.is_file() else {}
    return EarlierRun(out, overwrite, complete, windows.settings())
