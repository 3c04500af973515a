"""The two moves of 3B: every spot optimised in turn, and a spot added or removed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from dlbi.core.errors import InputError
from dlbi.core.kernels import F32, F64
from dlbi.core.rng import stream, stream_key
from dlbi.inference.threeb.evidence import log_evidence
from dlbi.inference.threeb.objective import Objective
from dlbi.inference.threeb.optimisation import minimise
from dlbi.inference.threeb.options import ThreeBOptions
from dlbi.inference.threeb.preprocessing import Field
from dlbi.inference.threeb.sampling import assembled, sampled_states, system_of
from dlbi.inference.threeb.spots import Priors, Profiles, X, Y, profiles_of, project

RESTARTS = 10
RESTART_STEP = 0.1
FLATTEST = 1e-6
"""Least eigenvalue of −H for a Laplace integral."""

POSITION_LIMIT_PX = 0.5
RADIUS_LIMIT_PX = 0.5

ORDERS = ((X, 1), (X, -1), (Y, 1), (Y, -1))
"""The passes visit the spots by column and by row, upwards and downwards."""


@dataclass
class Counts:
    """What a run has done.

    Parameters
    ----------
    visits : int
        Spots optimised in passes.
    pass_evaluations, try_evaluations : int
        Gradients computed in passes and in tries.
    ejected : int
        Spots that left the allowed area in a pass.
    added, removed : int
        Tries that changed the number of spots.
    decisions : list of float
        ln E₂ − ln E₁ of each try that came to comparing the evidences, nats.
    """

    visits: int = 0
    pass_evaluations: int = 0
    try_evaluations: int = 0
    ejected: int = 0
    added: int = 0
    removed: int = 0
    decisions: list[float] = field(default_factory=list)


class Model:
    """A set of spots that explains a preprocessed movie.

    Parameters
    ----------
    movie : Field
    priors : Priors
    options : ThreeBOptions
    seed : int
        Root of all random numbers.
    spots : ndarray, (N, 4), optional
        First spots; drawn from the movie if not given.

    Notes
    -----
    The first spots lie where the sum of the movie over time is positive, with a probability
    proportional to it, and have the most likely brightness and radius.

    Raises
    ------
    InputError
        If no pixel is brighter than its surroundings in the mean.
    """

    def __init__(
        self,
        movie: Field,
        priors: Priors,
        options: ThreeBOptions,
        seed: int,
        spots: F64 | None = None,
    ) -> None:
        self.movie, self.priors, self.options, self.seed = movie, priors, options, seed
        self.counts = Counts()
        self.spots = self._first_spots() if spots is None else np.array(spots, np.float64)
        self.limit = np.array(
            [0.5 * priors.brightness.deviation, RADIUS_LIMIT_PX, POSITION_LIMIT_PX,
             POSITION_LIMIT_PX]
        )  # fmt: skip

    def _first_spots(self) -> F64:
        rng = stream(self.seed, "first spots")
        data = self.movie.data
        height, width, _ = data.shape
        n = max(1, round(height * width / self.options.pixels_per_spot))
        weight = np.maximum(data.sum(axis=2), 0.0).ravel()
        if not weight.any():
            raise InputError("3b needs something brighter than its surroundings; nothing is")
        pixel = rng.choice(weight.size, size=n, p=weight / weight.sum())
        row, column = np.divmod(pixel, width)
        jitter = rng.uniform(-0.5, 0.5, (n, 2))
        return np.array(
            [
                self.priors.at(c + jx, r + jy)
                for r, c, (jx, jy) in zip(row, column, jitter, strict=True)
            ]
        )

    def optimise(self, iteration: int, pass_: int) -> None:
        """Optimise every spot once, each against newly drawn states of all others.

        Notes
        -----
        Spots whose pixel leaves the allowed area are deleted. A visit draws all states anew, from
        all spots bleached.
        """
        axis, sign = ORDERS[(pass_ + iteration) % len(ORDERS)]
        self.spots = self.spots[np.argsort(sign * self.spots[:, axis], kind="stable")]
        data, options = self.movie.data, self.options
        profiles = self._profiles(self.spots)
        drive, overlaps = system_of(profiles, data).drive, profiles.overlaps()
        k = 0
        for visit in range(len(self.spots)):
            states = sampled_states(
                stream_key(self.seed, "pass", iteration, pass_, visit),
                assembled(profiles, drive, overlaps), self.movie.variance,
                options.samples, options.burn_in,
            )  # fmt: skip
            objective = self._objective(profiles.without(k), np.delete(states, k, axis=0))
            spot = minimise(
                objective.downhill, profiles.spots[k], self.limit, max_searches=options.searches
            )
            self.counts.visits += 1
            self.counts.pass_evaluations += objective.evaluations
            if self.movie.is_allowed(spot[X], spot[Y]):
                alone = self._profiles(spot[None])
                profiles.replace(k, alone)
                project(alone, data, drive[k : k + 1])
                overlaps[k] = overlaps[:, k] = profiles.overlaps_of(k)
                k += 1
            else:
                profiles = profiles.without(k)
                drive = np.delete(drive, k, axis=0)
                overlaps = np.delete(np.delete(overlaps, k, axis=0), k, axis=1)
                self.counts.ejected += 1
        self.spots = profiles.spots

    def try_size(self, iteration: int, attempt: int) -> None:
        """Add or remove a spot if the evidence says so.

        Notes
        -----
        A mobile spot, new or one of the present ones, is optimised. The evidences with and without
        it are compared and the larger wins outright; with it, the four parameters of the mobile
        spot are integrated by Laplace's method:
        ln E₂ = ln Z₂ − ½ ln det(−H/2π) − ln |allowed area|. All others stay as they are. A model
        without spots, which the program does not handle, can only grow.
        """
        names = (iteration, attempt)
        rng = stream(self.seed, "try", *names)
        before = len(self.spots)
        if before <= 1 or rng.random() < 0.5:
            height, width, _ = self.movie.data.shape
            y, x = rng.integers((height, width)) + rng.uniform(-0.5, 0.5, 2)
            base, mobile = self.spots, self.priors.at(x, y)
        else:
            chosen = int(rng.integers(before))
            base, mobile = np.delete(self.spots, chosen, axis=0), self.spots[chosen]
        mobile = self._fit_mobile(base, mobile, names)
        if not self.movie.is_allowed(mobile[X], mobile[Y]):
            self._set(base)
            return
        objective = self._mobile_objective(
            base, mobile, self.options.hessian_samples, "curvature", names
        )
        curvature = objective.curvature(mobile)
        if not np.linalg.eigvalsh(-curvature)[0] > FLATTEST:
            return
        with_mobile = np.vstack([base, mobile])
        log_volume = 0.5 * np.linalg.slogdet(-curvature / (2 * math.pi))[1]
        gain = (
            self.log_evidence(with_mobile, "with", *names)
            - log_volume
            - math.log(self.movie.allowed_area)
            - self.log_evidence(base, "without", *names)
        )
        self.counts.decisions.append(float(gain))
        self._set(with_mobile if gain > 0 else base)

    def log_evidence(self, spots: F64, *names: str | int) -> float:
        """ln Z of fixed spots with the priors of their brightness and radius, nats."""
        movie = self.movie
        profiles = self._profiles(spots)
        log_z = log_evidence(
            stream_key(self.seed, "evidence", *names), system_of(profiles, movie.data),
            square=movie.square, variance=movie.variance,
            n_pixels=movie.data.shape[0] * movie.data.shape[1],
            n_steps=self.options.growth_steps, burn_in=self.options.burn_in,
        )  # fmt: skip
        return log_z + self.priors.log_density(spots)

    def _set(self, spots: F64) -> None:
        difference = len(spots) - len(self.spots)
        self.counts.added += max(0, difference)
        self.counts.removed += max(0, -difference)
        self.spots = spots

    def _fit_mobile(self, base: F64, mobile: F64, names: tuple[int, int]) -> F64:
        """The mobile spot optimised, pushed on from saddles along their steepest way.

        The first search of a restart goes against the eigenvector, not along it: the program's.
        """
        objective = self._mobile_objective(base, mobile, self.options.size_samples, "fit", names)
        start, first = mobile, None
        for restart in range(RESTARTS):
            found = minimise(
                objective.downhill, start, self.limit,
                max_searches=self.options.size_searches, first_gradient=first,
            )  # fmt: skip
            if not (found[:2] > 0).all():
                break  # pushed to where there is no spot
            mobile = found
            if restart == RESTARTS - 1:
                break
            if not self.movie.is_allowed(mobile[X], mobile[Y]):
                break
            values, vectors = np.linalg.eigh(objective.curvature(mobile))
            if values[-1] < 0:
                break
            first = vectors[:, -1]
            start = mobile + RESTART_STEP * first
        self.counts.try_evaluations += objective.evaluations
        return mobile

    def _mobile_objective(
        self, base: F64, mobile: F64, n_samples: int, name: str, names: tuple[int, int]
    ) -> Objective:
        profiles = self._profiles(np.vstack([base, mobile]))
        states = sampled_states(
            stream_key(self.seed, name, *names), system_of(profiles, self.movie.data),
            self.movie.variance, n_samples, self.options.burn_in,
        )  # fmt: skip
        return self._objective(profiles.without(-1), np.ascontiguousarray(states[:-1]))

    def _objective(self, others: Profiles, states: F32) -> Objective:
        return Objective(self.movie.data, self.movie.variance, others, states, self.priors)

    def _profiles(self, spots: F64) -> Profiles:
        height, width, _ = self.movie.data.shape
        return profiles_of(spots, (height, width), self.priors.dimensions)

    def frames_on(self) -> F64:
        """Mean number of emitting frames of each spot over newly drawn samples, (N,)."""
        states = sampled_states(
            stream_key(self.seed, "frames on"),
            system_of(self._profiles(self.spots), self.movie.data), self.movie.variance,
            self.options.samples, self.options.burn_in,
        )  # fmt: skip
        return np.asarray(states.sum(axis=1, dtype=np.float64).mean(axis=1))
