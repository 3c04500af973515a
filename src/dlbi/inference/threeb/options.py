"""Settings of the 3B baseline: defaults are those of its released program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError
from dlbi.core.photophysics import BlinkingChain

CHAIN = BlinkingChain(0.84, 0.495, 0.01)
"""Blinking of every spot, never learnt: 1.19 frames on, bleaching from the dark state only."""

START: NDArray[np.float64] = np.array([0.5, 0.5, 0.0])
"""State law of the first frame: emitting, dark, bleached."""

NoiseKind = Literal["movie", "median"]


@dataclass(frozen=True, slots=True)
class ThreeBOptions:
    """How 3B runs.

    Parameters
    ----------
    iterations : int
        Outer iterations, each of `passes` and `tries`. The ImageJ plugin of the program counts
        every pass as an iteration.
    passes : int
        Times that every spot is optimised in an outer iteration.
    tries : int
        Attempts to add or remove a spot in an outer iteration.
    pixels_per_spot : float
        Area of the field ÷ number of first spots, camera pixels.
    samples, size_samples, hessian_samples : int
        Draws of all hidden states that a spot is optimised with in a pass, in a try, and that the
        curvature of a try is taken from.
    burn_in : int
        Sweeps of each sampler that are not used. The program uses the first sweep already,
        although every sampler starts with all spots bleached.
    searches, size_searches : int
        Conjugate-gradient line searches after the first one, in a pass and in a try.
    growth_steps : int
        Temperatures of the thermodynamic integration.
    noise : {"movie", "median"}
        Noise deviation: of the whole preprocessed movie, its signal included, as in the program;
        or 1.4826 times its median absolute value, which sparse signal hardly changes.
    normalised_dimensions : {1, 2}
        The program divides a spot by s√2π, the norm of a Gaussian in one dimension, so that a
        wide spot of the same brightness has more light. 2 makes the brightness the light; its
        prior then moves by the same factor at the PSF's width.
    image_fwhm_nm : float
        Width of a spot in the image.

    Raises
    ------
    InputError
        If a number is outside its range or a name is not known.
    """

    iterations: int = 10
    passes: int = 4
    tries: int = 10
    pixels_per_spot: float = 10.0
    samples: int = 10
    size_samples: int = 20
    hessian_samples: int = 100
    burn_in: int = 0
    searches: int = 5
    size_searches: int = 400
    growth_steps: int = 1000
    noise: NoiseKind = "movie"
    normalised_dimensions: Literal[1, 2] = 1
    image_fwhm_nm: float = 100.0

    def __post_init__(self) -> None:
        """Validate every number."""
        least = {
            "iterations": 1, "passes": 1, "tries": 0, "samples": 1, "size_samples": 1,
            "hessian_samples": 1, "burn_in": 0, "searches": 0, "size_searches": 0,
            "growth_steps": 1,
        }  # fmt: skip
        for name, smallest in least.items():
            if getattr(self, name) < smallest:
                raise InputError(f"{name} must be at least {smallest}, got {getattr(self, name)}")
        for name in ("pixels_per_spot", "image_fwhm_nm"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"{name} must be positive, got {value}")
        if self.noise not in get_args(NoiseKind):
            raise InputError(f"noise must be movie or median, got {self.noise!r}")
        if self.normalised_dimensions not in (1, 2):
            raise InputError(
                f"a spot is normalised in 1 or 2 dimensions, got {self.normalised_dimensions}"
            )
