"""Physical meaning of pixels and frames as files state it: pixel size, frame interval, origin."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dlbi.core.errors import FileFormatError, InputError

CAMERA_PIXEL_NM = (20.0, 2000.0)
"""Believable size of a camera pixel in the sample plane."""

IMAGE_PIXEL_NM = (0.1, 2000.0)
"""Believable pixel size of a structure or a super-resolved image."""

_ANISOTROPY = 1e-3

_NM_PER_UNIT = {
    "pm": 1e-3,
    "å": 0.1,
    "angstrom": 0.1,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "\\u00b5m": 1e3,  # as ImageJ escapes it
    "micron": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "mm": 1e6,
    "millimeter": 1e6,
    "millimetre": 1e6,
    "cm": 1e7,
    "centimeter": 1e7,
    "centimetre": 1e7,
    "inch": 2.54e7,
    "m": 1e9,
    "meter": 1e9,
    "metre": 1e9,
}
_S_PER_UNIT = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,  # micro sign
    "μs": 1e-6,  # Greek mu
    "microsecond": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file says about its pixels; None where it is silent.

    Parameters
    ----------
    pixel_size_nm : tuple of float or None
        (y, x).
    frame_interval_s : float or None
    origin_nm : tuple of float
        (y, x) of the outer corner, as this package records it.
    unit : {"adu", "photon"}
        What one count stands for.
    """

    pixel_size_nm: tuple[float, float] | None = None
    frame_interval_s: float | None = None
    origin_nm: tuple[float, float] = (0.0, 0.0)
    unit: Literal["adu", "photon"] = "adu"

    def or_else(self, other: Metadata) -> Metadata:
        """These values, completed by those of `other`."""
        return Metadata(
            self.pixel_size_nm or other.pixel_size_nm,
            self.frame_interval_s or other.frame_interval_s,
            self.origin_nm,
            self.unit,
        )


def length_nm(value: float, unit: str | None) -> float | None:
    """A length in nanometres; None if the unit is unknown or no length ("pixel")."""
    return _convert(value, unit, _NM_PER_UNIT)


def duration_s(value: float, unit: str | None) -> float | None:
    """A time in seconds; None if the unit is unknown or the time is not positive."""
    seconds = _convert(value, unit, _S_PER_UNIT)
    return seconds if seconds is not None and seconds > 0 else None


def _convert(value: float, unit: str | None, factors: Mapping[str, float]) -> float | None:
    name = (unit or "").strip().lower()
    factor = factors.get(name, factors.get(name.removesuffix("s")))
    return value * factor if factor is not None and math.isfinite(value) else None


def pair_nm(y: float | None, x: float | None) -> tuple[float, float] | None:
    """Pixel size (y, x) if it is known and positive; a missing side equals the other."""
    sides = [side for side in (y, x) if side is not None and side > 0]
    return (sides[0], sides[-1]) if sides else None


def choose_pixel_size(
    metadata: Metadata,
    path: Path,
    *,
    given_nm: float | None,
    believable_nm: tuple[float, float] = CAMERA_PIXEL_NM,
) -> float:
    """The user's pixel size, or else that of the file.

    Raises
    ------
    InputError
        If neither gives one, or the user's is absurd.
    FileFormatError
        If the file's is absurd or not the same along x and y.
    """
    low, high = believable_nm
    if given_nm is not None:
        if not low <= given_nm <= high:
            raise InputError(
                f"{path}: --pixel-size {given_nm:g} nm is absurd; {low:g} to {high:g} nm in the "
                "sample plane is needed (camera pixel divided by magnification)"
            )
        return float(given_nm)
    if metadata.pixel_size_nm is None:
        raise InputError(
            f"{path}: does not state its pixel size; give it with --pixel-size NM "
            "(pixel_size_nm= in Python)"
        )
    y, x = metadata.pixel_size_nm
    if abs(y - x) > _ANISOTROPY * max(y, x):
        raise FileFormatError(
            f"{path}: states pixels of {x:.6g} × {y:.6g} nm, and square ones are needed; if it "
            "is wrong, give the true size with --pixel-size NM"
        )
    if not low <= x <= high:
        raise FileFormatError(
            f"{path}: states a pixel size of {x:.6g} nm, which is absurd ({low:g} to {high:g} nm "
            "is believable); give the true one with --pixel-size NM"
        )
    return x


def choose_frame_interval(metadata: Metadata, path: Path, *, given_s: float | None) -> float | None:
    """The user's frame interval, or else that of the file, if any.

    Raises
    ------
    InputError
        If the user's is not positive.
    """
    if given_s is None:
        return metadata.frame_interval_s
    if not (math.isfinite(given_s) and given_s > 0):
        raise InputError(f"{path}: frame interval {given_s} s must be a positive number of seconds")
    return float(given_s)


def number(value: Any) -> float:
    """A number out of foreign metadata; NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
