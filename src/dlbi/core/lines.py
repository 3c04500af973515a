"""Groups of parallel lines: the test target on which a resolution is read off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError

LineKind = Literal["pair", "ladder", "band"]
"""Two lines, four lines, or a filled band as wide and as bright as a pair, which is the control."""

LADDER_LINES = 4


@dataclass(frozen=True, slots=True)
class LineGroup:
    """Parallel lines, or a band that fills the space between two.

    Parameters
    ----------
    kind : {"pair", "ladder", "band"}
    centre_nm : tuple of float
        (y, x) from the corner of the field.
    angle : float
        Direction of the lines, radians: along (sin, cos) in (y, x).
    spacing_nm : float
        From line to line.
    length_nm : float

    Raises
    ------
    InputError
        If the kind is another, or spacing or length is not positive.
    """

    kind: LineKind
    centre_nm: tuple[float, float]
    angle: float
    spacing_nm: float
    length_nm: float = 1500.0

    def __post_init__(self) -> None:
        """Validate kind and sizes."""
        if self.kind not in get_args(LineKind):
            raise InputError(f"lines come as {', '.join(get_args(LineKind))}, not as {self.kind!r}")
        if not (math.isfinite(self.spacing_nm) and self.spacing_nm > 0 and self.length_nm > 0):
            raise InputError(
                "spacing and length of lines must be positive, got "
                f"{self.spacing_nm} and {self.length_nm} nm"
            )

    @property
    def n_lines(self) -> int:
        """Lines in the group; a band counts as the two that it fills."""
        return LADDER_LINES if self.kind == "ladder" else 2

    @property
    def offsets_nm(self) -> NDArray[np.float64]:
        """Distance of each line from the centre, across, (n_lines,)."""
        places = np.arange(self.n_lines, dtype=np.float64) - (self.n_lines - 1) / 2
        return self.spacing_nm * places

    def at(
        self, across_nm: NDArray[np.floating], along_nm: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coordinates (y, x) in nm of points across and along the lines from the centre."""
        (y, x), sine, cosine = self.centre_nm, math.sin(self.angle), math.cos(self.angle)
        across, along = (np.asarray(v, np.float64) for v in (across_nm, along_nm))
        return y + across * cosine + along * sine, x - across * sine + along * cosine
