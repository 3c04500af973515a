"""What a movie tells about the microscope and the fluorophores behind it, with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

from dlbi.core.errors import InputError
from dlbi.core.photophysics import BlinkingChain

SUM_TOLERANCE = 1e-4
"""How far rows of the transition table may be off 1."""


Origin = Literal["movie", "bounds", "prior"]
"""The movie determines a figure, narrows it without determining it, or tells nothing of it."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval.

    Parameters
    ----------
    value, low, high : float
        Finite, low ≤ value ≤ high.
    origin : {"movie", "bounds", "prior"}
        Whether the movie identifies the figure; "bounds" is an interval too wide for that, and
        "prior" what was believed before.

    Raises
    ------
    InputError
        If they are not finite or not in order, or the origin is another word.
    """

    value: float
    low: float
    high: float
    origin: Origin = "movie"

    def __post_init__(self) -> None:
        """Validate order, finiteness and origin."""
        if self.origin not in get_args(Origin):
            raise InputError(
                f"the origin must be one of {', '.join(get_args(Origin))}, got {self.origin!r}"
            )
        if not np.isfinite([self.value, self.low, self.high]).all():
            raise InputError(
                f"value, low and high must be finite, got {self.value}, {self.low}, {self.high}"
            )
        if not self.low <= self.value <= self.high:
            raise InputError(
                f"the value {self.value:g} must lie in its interval {self.low:g} … {self.high:g}"
            )

    @property
    def identified(self) -> bool:
        """Whether the movie determines the figure."""
        return self.origin == "movie"


_REMARKS = {"movie": "", "bounds": "not identified, bounds", "prior": "not identified, prior"}

UNITS = {
    "psf_fwhm_nm": "nm",
    "psf_halo": "of the light",
    "psf_halo_sigma_nm": "nm",
    "gain": "counts",
    "noise_variance": "counts²",
    "noise_correlation": "between neighbours in a row",
    "background": "counts",
    "light": "counts",
    "emitting_to_emitting": "per frame",
    "emitting_to_dark": "per frame",
    "dark_to_emitting": "per frame",
    "dark_to_dark": "per frame",
    "dark_to_bleached": "per frame",
    "memory": "per frame",
    "bleached_share": "of all",
    "flux": "counts",
    "light_cv": "of the mean",
    "n_emitters": "in the field",
}
"""Unit of each estimate, in the order in which they are listed."""

_PROBABILITIES = (
    "emitting_to_emitting", "emitting_to_dark", "dark_to_emitting", "dark_to_dark",
    "dark_to_bleached", "bleached_share", "psf_halo",
)  # fmt: skip
_POSITIVE = ("psf_fwhm_nm", "psf_halo_sigma_nm", "noise_variance", "flux")
_NOT_NEGATIVE = ("gain", "light", "light_cv", "n_emitters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Microscope and fluorophores as a movie shows them.

    Parameters
    ----------
    pixel_size_nm : float
        Camera pixel in the sample.
    n_frames : int
        Frames of the movie it was estimated from.
    level : float, counts
        Mean of that movie, to which `noise_variance` belongs.
    psf_fwhm_nm : Estimate
        Without the halo.
    psf_halo, psf_halo_sigma_nm : Estimate
        Share of the light in the halo of the PSF, and how far it is spread (`dlbi.core.optics.Halo`).
    gain : Estimate
        Noise variance per count.
    noise_variance : Estimate
        Noise variance at `level`. The read noise alone is not identifiable without the offset of
        the camera.
    noise_correlation : Estimate
        Correlation of the noise of neighbours in a row, where a register smears charge.
    background : Estimate
        Mean level without the blinking light; camera offset, haze and light that never blinks
        cannot be told apart.
    light : Estimate
        Blinking light of a pixel without the halo, mean over field and movie.
    emitting_to_emitting, emitting_to_dark, dark_to_emitting, dark_to_dark, dark_to_bleached : Estimate
        Transition table P1 … P5 of a frame.
    memory : Estimate
        P(E→E) − P(D→E), the factor by which the autocorrelation of blinking falls in a frame.
    bleached_share : Estimate
        Fluorophores bleached at the end of the movie.
    flux : Estimate
        Mean light of one fluorophore in an emitting frame, without the halo.
    light_cv : Estimate
        Its standard deviation ÷ mean.
    n_emitters : Estimate
        Fluorophores in the field at the start.

    Raises
    ------
    InputError
        If a figure is impossible.
    """  # noqa: E501

    pixel_size_nm: float
    n_frames: int
    level: float
    psf_fwhm_nm: Estimate
    psf_halo: Estimate
    psf_halo_sigma_nm: Estimate
    gain: Estimate
    noise_variance: Estimate
    noise_correlation: Estimate
    background: Estimate
    light: Estimate
    emitting_to_emitting: Estimate
    emitting_to_dark: Estimate
    dark_to_emitting: Estimate
    dark_to_dark: Estimate
    dark_to_bleached: Estimate
    memory: Estimate
    bleached_share: Estimate
    flux: Estimate
    light_cv: Estimate
    n_emitters: Estimate

    def __post_init__(self) -> None:
        """Validate ranges and the rows of the transition table."""
        if not (np.isfinite(self.pixel_size_nm) and self.pixel_size_nm > 0):
            raise InputError(f"pixel_size_nm must be positive, got {self.pixel_size_nm}")
        if not np.isfinite(self.level):
            raise InputError(f"level must be finite, got {self.level}")
        if self.n_frames < 2:
            raise InputError(f"n_frames must be at least 2, got {self.n_frames}")
        for name in _PROBABILITIES:
            _expect(name, getattr(self, name), 0.0, 1.0)
        for name in (*_POSITIVE, *_NOT_NEGATIVE):
            _expect(name, getattr(self, name), 0.0, np.inf)
        for name in _POSITIVE:
            if getattr(self, name).value == 0:
                raise InputError(f"{name}: the value must be positive, got 0")
        _expect("noise_correlation", self.noise_correlation, -1.0, 1.0)
        _expect("memory", self.memory, -1.0, 1.0)
        emitting = self.emitting_to_emitting.value + self.emitting_to_dark.value
        dark = self.dark_to_emitting.value + self.dark_to_dark.value + self.dark_to_bleached.value
        for row, total in (("emitting", emitting), ("dark", dark)):
            if abs(total - 1.0) > SUM_TOLERANCE:
                raise InputError(
                    f"the transition probabilities from {row} must sum to 1, got {total:g}"
                )

    def estimates(self) -> Iterator[tuple[str, Estimate]]:
        """Names and estimates in order."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Estimate):
                yield field.name, value

    @property
    def chain(self) -> BlinkingChain:
        """The transition table as a chain."""
        return BlinkingChain(
            self.emitting_to_dark.value, self.dark_to_emitting.value, self.dark_to_bleached.value
        )

    @property
    def read_variance(self) -> float:
        """Noise variance extrapolated to zero counts, counts²; negative with a camera offset."""
        return self.noise_variance.value - self.gain.value * self.level

    def __str__(self) -> str:
        """A table of all figures."""
        rows = [("", "value", "95 % interval", "unit", "")]
        for name, e in self.estimates():
            rows.append(
                (
                    name, f"{e.value:.4g}", f"{e.low:.3g} … {e.high:.3g}", UNITS[name],
                    _REMARKS[e.origin],
                )
            )  # fmt: skip
        widths = [max(len(row[k]) for row in rows) for k in range(5)]
        lines = [
            f"{r[0]:<{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:>{widths[2]}}  {r[3]:<{widths[3]}}  "
            f"{r[4]}".rstrip()
            for r in rows
        ]
        noise = f"noise variance = {self.read_variance:.4g} + {self.gain.value:.4g} · counts"
        return "\n".join([*lines, noise])


def _expect(name: str, estimate: Estimate, least: float, most: float) -> None:
    for bound in (estimate.low, estimate.value, estimate.high):
        if not least <= bound <= most:
            limits = f"{least:g} … {most:g}" if np.isfinite(most) else f"at least {least:g}"
            raise InputError(f"{name}: {bound:g} is impossible; it must be {limits}")
