"""The guided Bayesian reconstruction of a movie (paper 2.3): guide, sampler, posterior."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlbi.core.emitters import Emitters
from dlbi.core.images import FloatImage
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.hmm.maps import PosteriorMaps
from dlbi.inference.hmm.resampling import resampled_density
from dlbi.inference.hmm.sampler import Prior, Sampler
from dlbi.inference.hmm.start import (
    NOTHING_KNOWN,
    KnownBlinking,
    chain_with,
    emission_nats,
    shared_chain,
    starting_chain,
)
from dlbi.inference.measurement.moments import BlinkingMoments

MAX_EMITTERS_PER_PX = 2.2
"""Above this density single fluorophores are not identifiable; each emitter then stands for
several (8000 in a field of 60×60 camera pixels) and emits as often as they do together."""

UNIFORM_SHARE = 0.05
"""Share of the prior density spread evenly, so that the guide cannot forbid a place."""

FLUX_SPREAD = 0.1
"""Standard deviation ÷ mean of the flux over fluorophores."""

BACKGROUND_SIGMA_FRAMES = 4.0
FIRST_LEARNING_SWEEP = 3
HOT_NATS = 1.0
PRIOR_UPDATE_SWEEPS = 4


STARTS = ("guide", "resampled")


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long to sample.

    Parameters
    ----------
    n_sweeps : int
        Most sweeps of each chain.
    n_burn_in : int
        First sweeps, not kept; parameters of the prior are learnt here.
    n_chains : int
        Chains that differ in their random numbers only. Several short ones mix better than one
        long one, and tell by their differences what a single one cannot know.
    enough : float
        Two or more chains stop once their images agree to this correlation
        (`PosteriorMaps.agreement`); 1 never stops.
    beta : float
        Likelihood temperature; 1 is the exact posterior, less mixes faster.
    start : {"guide", "resampled"}
        Where the first emitters are: as dense as the guide, or resampled from it as in the paper
        (`resampled_density`).
    """

    n_sweeps: int = 60
    n_burn_in: int = 20
    n_chains: int = 1
    enough: float = 1.0
    beta: float = 0.7
    start: str = "guide"


@dataclass(frozen=True, slots=True)
class Refinement:
    """Posterior of the fluorophores of one movie as one chain sees it.

    Parameters
    ----------
    maps : PosteriorMaps
        On the fine grid of the field; the density is in counts per fine pixel and frame.
    emitters : Emitters
        State of the last sweep.
    chain : BlinkingChain
        Learnt transition table, mean over the retained sweeps.
    flux : float
        Mean light of an emitting frame, counts.
    noise_scale : float
        Residual variance ÷ variance of the noise model; near 1 when the model explains the movie.
    n_live : list of int
        Number of emitters after each sweep.
    per_fluorophore : float
        Emitters per fluorophore: less than 1 if each emitter stands for several, 0 where nothing
        blinks, more than 1 if fluorophores are split.
    """

    maps: PosteriorMaps
    emitters: Emitters
    chain: BlinkingChain
    flux: float
    noise_scale: float
    n_live: list[int]
    per_fluorophore: float

    @property
    def identifiable(self) -> bool:
        """Whether each emitter stands for one fluorophore."""
        return self.per_fluorophore == 1.0

    def diagnostics(self) -> dict[str, Any]:
        """What the sampler learnt, as plain values."""
        return {
            "table_p1_to_p5": list(self.chain.table),
            "flux": self.flux,
            "noise_scale": self.noise_scale,
            "n_live": self.n_live,
            "identifiable": self.identifiable,
            "emitters_per_fluorophore": self.per_fluorophore,
        }


class MarkovChain:
    """One chain: samples fluorophores, their blinking and the parameters they share.

    Parameters
    ----------
    movie : ndarray, (T, Y, X), counts
        Background-free movie.
    noise_variance : ndarray, (Y, X), counts²
    guide : ndarray, fine grid of the projection, counts
        Mean signal per fine pixel; its shape is the prior density of fluorophores.
    moments : BlinkingMoments
        Sets the flux scale, which sampling alone cannot (emitters would merge or split freely).
    projection : Projection
    chain : BlinkingChain
        Expected blinking; the transition table is learnt around it.
    schedule : Schedule
    seed : int
    known : KnownBlinking
        Taken in place of what the moments and the decay of the light tell.
    splitting : float
        Emitters, at most, that share the emissions of one fluorophore, ≥ 1 (`start.splitting`).
    fading : ndarray, (T,), optional
        Light of each frame ÷ its mean over the movie, by which emissions count in the density; all
        alike if not given.

    Notes
    -----
    E-step: `Sampler.sweep`. M-step: transition table from the sampled paths (Eq. 11), noise scale,
    per-frame background. During burn-in the learnt on-fraction resets the number of expected
    emitters: K = light / (flux · on-fraction), with the flux from the second cumulant. Where there
    are more fluorophores than emitters may be, the emitters start with the blinking of several.
    """

    def __init__(
        self,
        movie: NDArray[np.float32],
        noise_variance: FloatImage,
        guide: FloatImage,
        moments: BlinkingMoments,
        projection: Projection,
        *,
        chain: BlinkingChain,
        schedule: Schedule,
        seed: int,
        known: KnownBlinking = NOTHING_KNOWN,
        splitting: float = 1.0,
        fading: NDArray[np.float32] | None = None,
    ) -> None:
        self._fading = np.ones(len(movie), np.float32) if fading is None else fading
        self._schedule = schedule
        self._projection = projection
        self._shape = _prior_shape(guide)
        self._scale = _Scale(
            float(guide.sum()), moments, MAX_EMITTERS_PER_PX * movie[0].size, known.flux
        )
        light = movie.sum(axis=(1, 2), dtype=np.float64)
        start = starting_chain(moments, chain, light, known)
        self._start, self._per_fluorophore = self._scale.expressed(start, len(movie), splitting)
        self._splitting = max(self._per_fluorophore, 1.0)
        on_fraction = _mean_on(self._start, len(movie))
        self._sampler = Sampler(
            movie, np.float32(1.0) / noise_variance, projection=projection,
            prior=self._scale.prior(self._shape, self._start, on_fraction), beta=schedule.beta,
            seed=seed, start=resampled_density(guide) if schedule.start == "resampled" else None,
            exchanging=splitting > 1.0,
        )  # fmt: skip
        nats = emission_nats(
            self._sampler.physics.flux_mean, noise_variance, guide, projection
        )  # fmt: skip
        self._ramp = _temperatures(nats, schedule)
        self._learnt_per_fluorophore = self._splitting
        self._matrices: list[NDArray[np.float64]] = []
        self._n_live: list[int] = []
        factor = self._sampler.factor
        self.maps = PosteriorMaps(projection.camera.refine(factor), factor)

    def run(
        self,
        n_sweeps: int,
        *,
        n_workers: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Sample until the chain has made `n_sweeps` in all.

        Parameters
        ----------
        n_sweeps : int
        n_workers : int
            Threads; the result does not depend on it.
        progress : callable, optional
            Called with the sweeps done.
        """
        with ThreadPoolExecutor(n_workers) if n_workers > 1 else nullcontext() as executor:
            while self._sampler.sweeps_done < n_sweeps:
                self._sweep(executor, n_workers)
                if progress is not None:
                    progress(self._sampler.sweeps_done)

    def _sweep(self, executor: Executor | None, n_workers: int) -> None:
        sampler, done = self._sampler, self._sampler.sweeps_done
        if done < len(self._ramp):
            sampler.set_temperature(self._ramp[done])
        sampler.sweep(decide=done > 0, executor=executor, n_workers=n_workers)
        sampler.update_background(BACKGROUND_SIGMA_FRAMES)
        sampler.update_noise()
        if done >= FIRST_LEARNING_SWEEP:
            sampler.update_chain()
        live = sampler.live
        self._n_live.append(int(live.size))
        if done >= self._schedule.n_burn_in:
            self._matrices.append(sampler.physics.matrix)
            self.maps.add(*sampler.fine_positions(live), _shrunk(self._light(live)))
        elif done > 0 and done % PRIOR_UPDATE_SWEEPS == 0:
            # The square root damps the feedback by which too few emitters look brighter for
            # longer, which would ask for fewer still.
            learnt = sampler.chain.steady_on_fraction
            damping = np.sqrt(self._start.steady_on_fraction / max(learnt, 1e-3))
            on_fraction = sampler.on_fraction() * damping
            sampler.set_prior(self._scale.prior(self._shape, self._start, on_fraction), expand=True)
            allowed = self._scale.allowed(self._start, on_fraction)
            self._learnt_per_fluorophore = self._splitting * allowed

    def _light(self, live: NDArray[np.int64]) -> NDArray[np.float32]:
        """Mean light of each emitter, as a movie that fades tells it best (`time_average`)."""
        emitted = self._sampler.slots.light[live]
        emitted[:, : len(self._fading)] *= self._fading
        return np.asarray(emitted.sum(axis=1) / np.float32(np.sum(self._fading**2)), np.float32)

    def result(self) -> Refinement:
        """What the retained sweeps tell."""
        sampler, live = self._sampler, self._sampler.live
        return Refinement(
            maps=self.maps,
            emitters=_table(sampler, self._projection),
            chain=BlinkingChain.from_matrix(np.mean(self._matrices, axis=0)),
            flux=float(sampler.slots.flux[live].mean()) if live.size else 0.0,
            noise_scale=sampler.noise_scale,
            n_live=self._n_live,
            per_fluorophore=min(self._per_fluorophore, self._learnt_per_fluorophore),
        )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Number and flux of emitters that carry the light of the guide with the movie's contrast."""

    light: float
    moments: BlinkingMoments
    most: float
    known_flux: float | None = None

    def flux(self, chain: BlinkingChain) -> float:
        return self.known_flux or self.moments.flux(chain.steady_on_fraction)

    def allowed(self, chain: BlinkingChain, on_fraction: float) -> float:
        """Share of the emitters of that blinking that there may be."""
        return min(1.0, self._room(chain, on_fraction))

    def expressed(
        self, chain: BlinkingChain, n_frames: int, splitting: float
    ) -> tuple[BlinkingChain, float]:
        """Blinking of the emitters, and how many of them are one fluorophore of the given chain."""
        on_fraction = _mean_on(chain, n_frames)
        room = self._room(chain, on_fraction)
        steady = chain.steady_on_fraction
        if room >= 1.0:
            parts = min(splitting, room)
            return (chain if parts == 1.0 else chain_with(steady / parts, chain)), parts
        light = self.light / self.most * steady / on_fraction
        return shared_chain(chain, max(self.moments.on_fraction_of(light), steady)), max(room, 0.0)

    def _room(self, chain: BlinkingChain, on_fraction: float) -> float:
        """Emitters that there may be ÷ those that have the light and the contrast of the movie."""
        return self.most * max(self.flux(chain), 0.0) * on_fraction / self.light

    def prior(self, shape: FloatImage, chain: BlinkingChain, on_fraction: float) -> Prior:
        shared = self.allowed(chain, on_fraction) < 1.0
        n = self.most if shared else self.light / (self.flux(chain) * on_fraction)
        flux = self.light / (n * on_fraction)
        return Prior(
            intensity=shape * np.float32(n),
            flux_mean=flux,
            flux_sd=FLUX_SPREAD * flux,
            light_cv=self.moments.light_cv,
            chain=chain,
        )


def _mean_on(chain: BlinkingChain, n_frames: int) -> float:
    """Mean share of the movie that a fluorophore emits."""
    return float(chain.on_fraction(n_frames).mean())


def _prior_shape(guide: FloatImage) -> FloatImage:
    """Prior density of unit sum: the guide and a uniform share, where the camera sees it."""
    seen = guide > 0
    shape = (1.0 - UNIFORM_SHARE) * guide / guide.sum() + UNIFORM_SHARE * seen / seen.sum()
    return np.asarray(shape, np.float32)


def _temperatures(nats: float, schedule: Schedule) -> NDArray[np.float64]:
    """Likelihood temperatures of the first sweeps, rising to `schedule.beta`.

    A bright emission would stick to whichever emitter is visited first, and emitters closer than
    the PSF would merge for good. The first sweeps are so hot that one frame weighs `HOT_NATS`.
    """
    hot = min(schedule.beta, HOT_NATS / max(nats, 1e-12))
    return np.geomspace(hot, schedule.beta, max(schedule.n_burn_in // 2, 2))


def _shrunk(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Square roots of the light, rescaled to its sum.

    What a fluorophore emitted over the movie depends on its luck in blinking, so light is a noisy
    count of fluorophores; equal weights ignore that one emitter may stand for several. The square
    root lies between and agrees best with the true density.
    """
    root = np.sqrt(light)
    return np.asarray(root * (light.sum() / max(root.sum(), 1e-30)), np.float32)


def _table(sampler: Sampler, projection: Projection) -> Emitters:
    """Live emitters inside the field."""
    live, slots = sampler.live, sampler.slots
    y_nm, x_nm = projection.camera.refine(sampler.factor).to_nm(*sampler.fine_positions(live))
    with np.errstate(divide="ignore"):
        sd_nm = projection.camera.pixel_size_nm / np.sqrt(slots.precision[live])
    return Emitters(
        x_nm=x_nm,
        y_nm=y_nm,
        photons=slots.flux[live],
        frames_on=(slots.light[live] > 0).sum(axis=1).astype(np.float32),
        bleach_frame=slots.bleach_frame[live].astype(np.float32),
        sd_x_nm=sd_nm[:, 1],
        sd_y_nm=sd_nm[:, 0],
        p_real=slots.p_real[live],
    ).within(projection.camera)
