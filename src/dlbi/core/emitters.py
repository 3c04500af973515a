"""Fluorophores as a column table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import ShapeError
from dlbi.core.grid import PixelGrid

Column = NDArray[np.floating] | None


@dataclass(frozen=True, slots=True)
class Emitters:
    """Positions and properties of N fluorophores; columns that are not known are None.

    Parameters
    ----------
    x_nm, y_nm : ndarray, (N,)
        Position from the outer corner of the field.
    photons : ndarray, (N,)
        Mean signal of an emitting frame, in the unit of the movie (counts or photons).
    frames_on : ndarray, (N,)
        Number of emitting frames.
    bleach_frame : ndarray, (N,)
        First bleached frame; the frame count if it never bleached.
    sd_x_nm, sd_y_nm : ndarray, (N,)
        Posterior standard deviation of the position.
    p_real : ndarray, (N,)
        Probability that this is a fluorophore. Of a reconstruction: that it pairs one-to-one with a
        true one within 2.5 fine pixels, calibrated (`dlbi.inference.uncertainty.with_p_real`).
    """

    x_nm: NDArray[np.floating]
    y_nm: NDArray[np.floating]
    photons: Column = None
    frames_on: Column = None
    bleach_frame: Column = None
    sd_x_nm: Column = None
    sd_y_nm: Column = None
    p_real: Column = None

    def __post_init__(self) -> None:
        """Validate equal lengths."""
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"emitter columns must be equally long, got {lengths}")

    def __len__(self) -> int:
        """Number of emitters."""
        return len(self.x_nm)

    def within(self, grid: PixelGrid) -> Emitters:
        """The emitters that lie inside the field of a grid."""
        oy, ox = grid.origin_nm
        height, width = grid.extent_nm
        inside = (self.y_nm >= oy) & (self.y_nm < oy + height)
        inside &= (self.x_nm >= ox) & (self.x_nm < ox + width)
        return Emitters(**{name: column[inside] for name, column in self.columns().items()})

    @classmethod
    def concatenate(cls, tables: Sequence[Emitters]) -> Emitters:
        """One table from several with the same columns."""
        names = tables[0].columns()
        return cls(**{n: np.concatenate([t.columns()[n] for t in tables]) for n in names})

    def columns(self) -> dict[str, NDArray[np.floating]]:
        """The known columns by name, in order."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: column for name, column in known.items() if column is not None}
