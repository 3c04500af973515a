"""The program in this process, and a calibration with round figures."""

from __future__ import annotations

import pytest

from dlbi.cli import main
from dlbi.core.scope import Estimate, Scope


@pytest.fixture
def dlbi(capsys):
    """The program in this process: exit code, stdout, stderr."""

    def run(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def scope() -> Scope:
    return Scope(
        pixel_size_nm=160.0,
        n_frames=200,
        level=150.0,
        psf_fwhm_nm=Estimate(400.0, 390.0, 410.0),
        psf_halo=Estimate(0.2, 0.15, 0.25),
        psf_halo_sigma_nm=Estimate(450.0, 400.0, 500.0),
        gain=Estimate(2.0, 1.9, 2.1),
        noise_variance=Estimate(90.0, 85.0, 95.0),
        noise_correlation=Estimate(0.15, 0.14, 0.16),
        background=Estimate(120.0, 110.0, 125.0),
        light=Estimate(30.0, 25.0, 40.0),
        emitting_to_emitting=Estimate(0.2, 0.1, 0.3),
        emitting_to_dark=Estimate(0.8, 0.7, 0.9),
        dark_to_emitting=Estimate(0.3, 0.2, 0.4),
        dark_to_dark=Estimate(0.69, 0.6, 0.8),
        dark_to_bleached=Estimate(0.01, 0.0, 0.02),
        memory=Estimate(-0.1, -0.2, 0.0),
        bleached_share=Estimate(0.5, 0.4, 0.6),
        flux=Estimate(80.0, 40.0, 200.0, "bounds"),
        light_cv=Estimate(0.25, 0.2, 0.3),
        n_emitters=Estimate(500.0, 10.0, 9000.0, "prior"),
    )
