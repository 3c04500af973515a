"""Camera and microscope: how expected photons become camera counts."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from dlbi.core.errors import InputError
from dlbi.core.optics import FwhmLaw, GaussianPSF, Halo
from dlbi.core.photophysics import BlinkingChain, PhotonLaw

MOST_SMEAR = 2.0 / 3.0
"""Smear at which a pixel keeps no more of its electrons than each neighbour gets."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One model for ideal, sCMOS and EMCCD cameras.

    counts = offset + adu_per_electron · (amplified electrons + read noise), rounded and clipped
    to `bits` when given.

    Parameters
    ----------
    offset_adu : float
        Counts without light.
    adu_per_electron : float
        Counts per electron at the output of the (EM) register.
    quantum_efficiency : float
        Electrons per photon.
    read_noise_e : float
        Standard deviation of the read noise, electrons after amplification.
    em_gain : float
        Mean electron multiplication; 1 means no EM register. Above 1 the gamma-distributed
        multiplication doubles the shot-noise variance.
    shot_noise : bool
        False leaves Gaussian noise only, as in the paper (2.1.3).
    smear : float
        Share of a pixel's electrons that the register leaves to its two neighbours in the row, half
        to each, so that the image does not move; noise before read-out is smeared with it.
    bits : int or None
        Saturation at 2**bits − 1 and integer counts; None keeps real numbers.
    """

    offset_adu: float = 0.0
    adu_per_electron: float = 1.0
    quantum_efficiency: float = 1.0
    read_noise_e: float = 0.0
    em_gain: float = 1.0
    shot_noise: bool = True
    smear: float = 0.0
    bits: int | None = None

    def __post_init__(self) -> None:
        """Validate the smear."""
        if not 0.0 <= self.smear <= MOST_SMEAR:
            raise InputError(f"smear must lie within 0 … {MOST_SMEAR:.2f}, got {self.smear:g}")

    @property
    def adu_per_photon(self) -> float:
        """Mean counts per photon."""
        return self.quantum_efficiency * self.em_gain * self.adu_per_electron

    def to_photons(self, adu: NDArray[np.floating]) -> NDArray[np.floating]:
        """Counts to the photon number they stand for on average."""
        photons: NDArray[np.floating] = (adu - self.offset_adu) / self.adu_per_photon
        return photons

    def expected_adu(self, photons: NDArray[np.floating]) -> NDArray[np.floating]:
        """Mean counts for an expected photon number, before saturation."""
        adu: NDArray[np.floating] = self.offset_adu + self.adu_per_photon * photons
        return adu

    def variance_adu(self, photons: NDArray[np.floating]) -> NDArray[np.floating]:
        """Noise variance in counts² for an expected photon number, before rounding.

        With smear for pixels whose neighbours in the row expect as many.
        """
        read = (self.adu_per_electron * self.read_noise_e) ** 2
        if not self.shot_noise:
            return np.full_like(photons, read)
        excess = 2.0 if self.em_gain > 1.0 else 1.0
        electrons = photons * self.quantum_efficiency
        kept, given = 1.0 - self.smear, 0.5 * self.smear
        shot = excess * (self.adu_per_electron * self.em_gain) ** 2 * electrons
        variance: NDArray[np.floating] = read + (kept**2 + 2.0 * given**2) * shot
        return variance

    def expose(
        self, photons: NDArray[np.floating], rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Draw camera counts for expected photons of any shape.

        Returns
        -------
        ndarray, float32
            Counts; whole numbers within 0 … 2**bits − 1 when `bits` is given.
        """
        electrons = np.asarray(photons, np.float64) * self.quantum_efficiency
        if self.shot_noise:
            electrons = rng.poisson(np.maximum(electrons, 0.0)).astype(np.float64)
            if self.em_gain > 1.0:
                electrons = rng.standard_gamma(electrons) * self.em_gain
        elif self.em_gain > 1.0:
            electrons = electrons * self.em_gain
        if self.smear > 0.0:
            taps = [0.5 * self.smear, 1.0 - self.smear, 0.5 * self.smear]
            electrons = convolve1d(electrons, taps, axis=-1, mode="nearest")
        if self.read_noise_e > 0.0:
            noise = rng.standard_normal(electrons.shape, dtype=np.float32)
            electrons = electrons + self.read_noise_e * noise
        adu = self.offset_adu + self.adu_per_electron * electrons
        if self.bits is not None:
            adu = np.clip(np.rint(adu), 0, 2**self.bits - 1)
        return adu.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Microscope:
    """Optics, fluorophore and camera of one experiment.

    Parameters
    ----------
    pixel_size_nm : float
        Camera pixel in the sample plane.
    frame_interval_s : float
        Time from frame to frame.
    fwhm : FwhmLaw
        Width of single emissions.
    blinking : BlinkingChain
    photons : PhotonLaw
    camera : Camera
    halo : Halo
        Tails of the PSF beyond its Gaussian core; none by default.
    """

    pixel_size_nm: float
    frame_interval_s: float
    fwhm: FwhmLaw
    blinking: BlinkingChain
    photons: PhotonLaw
    camera: Camera
    halo: Halo = field(default_factory=Halo)

    @property
    def psf(self) -> GaussianPSF:
        """The mean PSF, without its halo."""
        return GaussianPSF(self.fwhm.median_nm)
