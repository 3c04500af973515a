"""The methods that are compared, and the handicaps of the ablations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from dlbi.bench.esrrf import esrrf
from dlbi.bench.subjects import UPSCALING, Subject
from dlbi.core.errors import InputError
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.core.optics import GaussianPSF
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.scope import Estimate, Scope
from dlbi.reconstruction import calibrate, reconstruct

ESRRF = "esrrf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A method with its options.

    Parameters
    ----------
    name : str
        In tables and pictures.
    method : str
        Of `dlbi.reconstruction.METHODS`, or "esrrf".
    quality : str
    n_chains, guide_iterations : int, optional
        As `reconstruct` takes them.
    psf_factor : float, optional
        The method is told the true FWHM times this; it measures the PSF if None.
    kinetics : tuple of float, optional
        The method is told the true E→D and D→E times these and asked to believe them at the start.
    """

    name: str
    method: str
    quality: str = "standard"
    n_chains: int | None = None
    guide_iterations: int | None = None
    psf_factor: float | None = None
    kinetics: tuple[float, float] | None = None

    def settings(self) -> dict[str, Any]:
        """All fields but the name, which changes no result."""
        settings = asdict(self)
        del settings["name"]
        return settings

    def run(self, subject: Subject, seed: int, n_workers: int) -> Reconstruction:
        """Reconstruct a movie.

        Raises
        ------
        InputError
            If a handicap needs a truth that a real movie does not have.
        """
        if self.method == ESRRF:
            return esrrf(subject.stack)
        options: dict[str, Any] = {"method": self.method, "quality": self.quality}
        if self.n_chains is not None:
            options["n_chains"] = self.n_chains
        if self.guide_iterations is not None:
            options["guide_iterations"] = self.guide_iterations
        if self.kinetics is not None:
            options["scope"] = believing(_misjudged(subject, self.kinetics), subject.stack, seed)
        return reconstruct(
            subject.stack,
            psf=self._psf(subject),
            upscaling=UPSCALING,
            rng=seed,
            n_workers=n_workers,
            **options,
        )

    def _psf(self, subject: Subject) -> GaussianPSF | None:
        if self.psf_factor is None:
            return None if subject.truth is not None else subject.psf
        if subject.psf is None:
            raise InputError(f"{self.name} needs a movie whose PSF is known")
        return GaussianPSF(self.psf_factor * subject.psf.fwhm_nm)


def believing(chain: BlinkingChain, stack: ImageStack, seed: int) -> Scope:
    """A calibration of a movie in which nothing counts as identified but a chain that is told."""
    scope = calibrate(stack, rng=seed)
    unknown: dict[str, Any] = {
        name: replace(found, origin="prior") for name, found in scope.estimates()
    }
    names = (
        "emitting_to_emitting", "emitting_to_dark", "dark_to_emitting", "dark_to_dark",
        "dark_to_bleached",
    )  # fmt: skip
    told = {name: Estimate(p, p, p) for name, p in zip(names, chain.table, strict=True)}
    return replace(scope, **unknown | told)


def _misjudged(subject: Subject, factors: tuple[float, float]) -> BlinkingChain:
    if subject.truth is None:
        raise InputError("wrong kinetics need a movie whose kinetics are known")
    true = subject.truth.scene.microscope.blinking
    off, on = factors
    return BlinkingChain(
        min(off * true.emitting_to_dark, 1.0),
        min(on * true.dark_to_emitting, 0.95 - true.dark_to_bleached),
        true.dark_to_bleached,
    )


BICUBIC = Contestant(name="bicubic mean", method="mean")
RICHARDSON_LUCY = Contestant(name="Richardson–Lucy", method="rl")
RICHARDSON_LUCY_TRUE = Contestant(name="Richardson–Lucy, true PSF", method="rl", psf_factor=1.0)
SOFI = Contestant(name="SOFI2", method="sofi")
BAYES = Contestant(name="bayes", method="bayes")
NETWORK = Contestant(name="network", method="network")
DLBI = Contestant(name="dlbi", method="dlbi")
NANOPYX = Contestant(name="eSRRF", method=ESRRF)


def threeb(quality: str) -> Contestant:
    """The baseline of the paper with a number of iterations."""
    return Contestant(name=f"3B, {quality}", method="3b", quality=quality)
