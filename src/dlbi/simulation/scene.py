"""Everything that is fixed for one series: label density, microscope, background, haze, drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError
from dlbi.core.images import FloatImage, StructureImage
from dlbi.core.microscope import Microscope


@dataclass(frozen=True, slots=True)
class Labelling:
    """How many fluorophores a structure carries; exactly one of the three amounts is given.

    Parameters
    ----------
    n_emitters : float, optional
        Expected number in the field.
    per_um2 : float, optional
        Expected number per µm², averaged over the field.
    max_per_pixel : float, optional
        Expected number in the densest fine pixel (the paper's MD).
    step : float
        Densities per fine pixel are rounded down to multiples of this; 0 keeps them.
        The paper's density is int(value/255 · MD · 4) · 0.25, so its step is 0.25.

    Raises
    ------
    InputError
        If not exactly one amount is given or one is not positive.
    """

    n_emitters: float | None = None
    per_um2: float | None = None
    max_per_pixel: float | None = None
    step: float = 0.0

    def __post_init__(self) -> None:
        """Validate the amounts."""
        given = [a for a in (self.n_emitters, self.per_um2, self.max_per_pixel) if a is not None]
        if len(given) != 1 or not (np.isfinite(given[0]) and given[0] > 0):
            raise InputError(
                "labelling needs exactly one positive amount out of n_emitters, per_um2 and "
                f"max_per_pixel, got {given}"
            )
        if self.step < 0:
            raise InputError(f"the density step must not be negative, got {self.step}")

    def expected(self, structure: StructureImage) -> StructureImage:
        """Expected number of fluorophores in each fine pixel.

        Raises
        ------
        InputError
            If the structure is empty, or rounding empties it.
        """
        expected: FloatImage = structure.density * np.float32(self._scale(structure))
        if self.step > 0:
            expected = np.floor(expected * np.float32(1 / self.step)) * np.float32(self.step)
            if not expected.any():
                raise InputError(f"rounding to steps of {self.step} leaves no fluorophore anywhere")
        return StructureImage(expected, structure.grid)

    def _scale(self, structure: StructureImage) -> float:
        peak = float(structure.density.max())
        if peak <= 0:
            raise InputError("the structure is empty: every pixel has density 0")
        if self.max_per_pixel is not None:
            return self.max_per_pixel / peak
        amount = self.n_emitters
        if self.per_um2 is not None:
            height, width = structure.grid.extent_nm
            amount = self.per_um2 * height * width * 1e-6
        return float(amount or 0.0) / float(structure.density.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Scene:
    """One experiment: everything that is drawn once per series.

    The expected photons of a frame are trend · (blinking emitters + non-blinking labels + haze),
    plus the background. `dataclasses.asdict` gives plain values for the provenance.

    Parameters
    ----------
    microscope : Microscope
    labelling : Labelling
    background_factor : float
        Background of a frame in units of the frame's mean intensity (paper 2.1.3).
    background_photons : float
        Constant background, photons per camera pixel.
    non_blinking : float
        Light of labels that never switch, relative to the mean light of the blinking ones.
    haze, haze_sigma_px : float
        Mean of the smooth static haze relative to the mean blinking light, and its smoothness.
    out_of_focus : float
        Blinking emitters outside the focal plane, relative to the number inside.
    out_of_focus_brightness, out_of_focus_blur : float
        Their photons and PSF width relative to emitters in focus.
    intensity_trend : float
        Relative change of all light from the first to the last frame, linear.
    drift_nm : tuple of float
        Movement (y, x) from the first to the last frame, linear; the truth shows the middle.

    Raises
    ------
    InputError
        If a strength is negative, the blur is below 1 or the trend reaches −100 %.
    """

    microscope: Microscope
    labelling: Labelling
    background_factor: float = 0.0
    background_photons: float = 0.0
    non_blinking: float = 0.0
    haze: float = 0.0
    haze_sigma_px: float = 6.0
    out_of_focus: float = 0.0
    out_of_focus_brightness: float = 3.0
    out_of_focus_blur: float = 2.2
    intensity_trend: float = 0.0
    drift_nm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        """Validate the strengths."""
        for name in ("background_factor", "background_photons", "non_blinking", "haze"):
            _expect(name, getattr(self, name), least=0.0)
        _expect("haze_sigma_px", self.haze_sigma_px, least=0.0)
        _expect("out_of_focus", self.out_of_focus, least=0.0)
        _expect("out_of_focus_brightness", self.out_of_focus_brightness, least=1e-3)
        _expect("out_of_focus_blur", self.out_of_focus_blur, least=1.0)
        _expect("intensity_trend", self.intensity_trend, least=-0.999)
        for shift in self.drift_nm:
            _expect("drift_nm", shift, least=-1e6)

    def trend(self, frames: NDArray[np.integer], n_frames: int) -> NDArray[np.float64]:
        """Relative illumination of the given frames, 1 in the first."""
        return 1.0 + self.intensity_trend * _phase(frames, n_frames)

    def drift(self, frames: NDArray[np.integer], n_frames: int) -> NDArray[np.float64]:
        """Displacement (y, x) of the given frames, nm, (T, 2); zero on average."""
        drift: NDArray[np.float64] = np.outer(_phase(frames, n_frames) - 0.5, self.drift_nm)
        return drift


def _expect(name: str, value: float, *, least: float) -> None:
    if not (np.isfinite(value) and value >= least):
        raise InputError(f"{name} must be a finite number of at least {least:g}, got {value}")


def _phase(frames: NDArray[np.integer], n_frames: int) -> NDArray[np.float64]:
    return np.asarray(frames, np.float64) / max(n_frames - 1, 1)
