"""What a reconstruction takes from a calibration in place of measuring it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dlbi.core.errors import InputError
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.core.scope import Scope
from dlbi.inference.blinking_start import NOTHING_KNOWN, KnownBlinking
from dlbi.inference.noise import NoiseModel

PIXEL_TOLERANCE = 1e-3
"""Relative difference up to which two pixel sizes count as one."""


@dataclass(frozen=True, slots=True)
class Given:
    """Identified figures of a calibration.

    Parameters
    ----------
    psf : GaussianPSF or None
    noise : NoiseModel or None
    blinking : KnownBlinking
    record : dict or None
        What was taken, for the provenance; None without a calibration.
    """

    psf: GaussianPSF | None = None
    noise: NoiseModel | None = None
    blinking: KnownBlinking = NOTHING_KNOWN
    record: dict[str, Any] | None = None


def given_by(scope: Scope | None, stack: ImageStack) -> Given:
    """What a calibration gives to the reconstruction of a movie.

    Raises
    ------
    InputError
        If it belongs to camera pixels of another size.
    """
    if scope is None:
        return Given()
    pixel = stack.grid.pixel_size_nm
    if not np.isclose(scope.pixel_size_nm, pixel, rtol=PIXEL_TOLERANCE):
        raise InputError(
            f"the scope is for camera pixels of {scope.pixel_size_nm:g} nm but the movie has "
            f"{pixel:g} nm; calibrate a movie of the same microscope"
        )
    psf = GaussianPSF(scope.psf_fwhm_nm.value) if scope.psf_fwhm_nm.identified else None
    known = {
        name: getattr(scope, name).value if getattr(scope, name).identified else None
        for name in KnownBlinking._fields
    }
    noise = _noise(scope) if scope.gain.identified and scope.noise_variance.identified else None
    record: dict[str, Any] = {
        "psf_fwhm_nm": None if psf is None else psf.fwhm_nm,
        "noise": None if noise is None else noise._asdict(),
        "blinking": known,
    }
    return Given(psf, noise, KnownBlinking(**known), record)


def _noise(scope: Scope) -> NoiseModel:
    return NoiseModel.through(
        scope.level, scope.noise_variance.value, scope.gain.value,
        darkest=min(scope.background.value, scope.level),
    )  # fmt: skip
