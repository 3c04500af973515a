"""What a reconstruction is given, by hand or by a calibration, in place of measuring it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dlbi.core.errors import InputError, expect
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.core.scope import Scope
from dlbi.inference.hmm.start import NOTHING_KNOWN, KnownBlinking
from dlbi.inference.measurement.defects import Pixels
from dlbi.inference.measurement.noise import NoiseModel, counted

INTERVAL_ERRORS = 1.96
"""Standard errors to each side in an interval of 95 %."""

PIXEL_TOLERANCE = 1e-3
"""Relative difference up to which two pixel sizes count as one."""

NEVER_ZERO = ("emitting_to_dark", "dark_to_emitting", "light_cv")
"""Figures that are possible as a limit, but not of a fluorophore that blinks."""


@dataclass(frozen=True, slots=True)
class Given:
    """Figures that are not to be measured.

    Parameters
    ----------
    psf : GaussianPSF or None
    psf_record : dict or None
        Its width and origin, for the provenance; None if the user gave it.
    halo : Halo or None
        Of the PSF.
    noise : NoiseModel or None
    defects : sequence of (x, y) or None
        Camera pixels that do not work.
    blinking : KnownBlinking
    record : dict or None
        What a calibration gave, for the provenance; None without one.
    """

    psf: GaussianPSF | None = None
    psf_record: dict[str, Any] | None = None
    halo: Halo | None = None
    noise: NoiseModel | None = None
    defects: Pixels | None = None
    blinking: KnownBlinking = NOTHING_KNOWN
    record: dict[str, Any] | None = None


def given_by(scope: Scope | None, stack: ImageStack, psf: GaussianPSF | None = None) -> Given:
    """What a calibration, and a PSF that overrides its own, give to the reconstruction of a movie.

    Raises
    ------
    InputError
        If it belongs to camera pixels of another size, or either is of another type.
    """
    given = Given() if scope is None else _given_by_scope(scope, stack)
    if psf is None:
        return given
    expect("a PSF", psf, GaussianPSF, "give GaussianPSF(fwhm_nm)")
    return replace(given, psf=psf, psf_record=None)


def _given_by_scope(scope: Scope, stack: ImageStack) -> Given:
    expect("a scope", scope, Scope, "dlbi.load_scope reads one, dlbi.calibrate makes one")
    pixel = stack.grid.pixel_size_nm
    if not np.isclose(scope.pixel_size_nm, pixel, rtol=PIXEL_TOLERANCE):
        raise InputError(
            f"the scope is for camera pixels of {scope.pixel_size_nm:g} nm but the movie has "
            f"{pixel:g} nm; calibrate a movie of the same microscope"
        )
    psf = GaussianPSF(scope.psf_fwhm_nm.value) if scope.psf_fwhm_nm.identified else None
    halo = _halo(scope)
    known = _blinking(scope)
    noise = _noise(scope) if scope.gain.identified and scope.noise_variance.identified else None
    record: dict[str, Any] = {
        "psf_fwhm_nm": None if psf is None else psf.fwhm_nm,
        "halo": None if halo is None else asdict(halo),
        "noise": None if noise is None else noise._asdict(),
        "blinking": known._asdict(),
    }
    psf_record = None if psf is None else {"fwhm_nm": psf.fwhm_nm, "origin": "scope"}
    return Given(psf, psf_record, halo, noise, blinking=known, record=record)


def _blinking(scope: Scope) -> KnownBlinking:
    found = {name: getattr(scope, name) for name in KnownBlinking._fields}
    for name in NEVER_ZERO:
        if found[name].identified and found[name].value == 0.0:
            raise InputError(
                f"the scope says {name} = 0, with which nothing blinks; give what the dye does, "
                'or make its origin "prior" to have it measured'
            )
    return KnownBlinking(**{n: e.value if e.identified else None for n, e in found.items()})


def _halo(scope: Scope) -> Halo | None:
    """A halo that is known, or known to be none; None if the scope does not tell."""
    share, width = scope.psf_halo, scope.psf_halo_sigma_nm
    if not share.identified:
        return None
    return Halo(share.value, width.value) if share.value > 0.0 else Halo()


def _noise(scope: Scope) -> NoiseModel:
    return NoiseModel.through(
        scope.level, scope.noise_variance.value, scope.gain.value,
        darkest=min(scope.background.value, scope.level), row_correlation=_correlation(scope),
    )  # fmt: skip


def _correlation(scope: Scope) -> float:
    """Of the noise along rows, as it counts where the movie itself is measured."""
    found = scope.noise_correlation
    error = (found.high - found.low) / (2.0 * INTERVAL_ERRORS)
    return counted(found.value, error) if found.identified else 0.0
