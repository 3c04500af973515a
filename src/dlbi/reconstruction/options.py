"""The options of a reconstruction, and which of them go together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dlbi.core.errors import InputError, ShapeError, expect
from dlbi.core.images import FloatImage, ImageStack, expect_movie
from dlbi.inference.hmm.refinement import STARTS, Schedule
from dlbi.learning.network import UPSCALING as NETWORK_UPSCALING
from dlbi.learning.network import Network
from dlbi.learning.passes import MIN_SIDE_PX as NETWORK_SIDE_PX

METHODS = ("dlbi", "network", "bayes", "3b", "rl", "sofi", "mean")
"""Network and Bayesian refinement (the paper), the network alone, Bayesian refinement alone, the 3B
baseline, Richardson–Lucy, second-order SOFI, upscaled mean."""

LEARNED = ("dlbi", "network")
GUIDED = ("bayes", "rl")
"""Methods that start from a guide of the user; `dlbi` makes its own."""

UNBLURRED = ("mean", "sofi")
"""Methods that do not ask for the PSF."""

QUALITIES = {
    "preview": Schedule(n_sweeps=20, n_burn_in=10),
    "standard": Schedule(n_sweeps=50, n_burn_in=15, n_chains=2, enough=0.995),
    "best": Schedule(n_sweeps=120, n_burn_in=20, n_chains=4, enough=0.998),
}
"""The most sweeps, and the agreement of the chains at which fewer are made (docs/inference.md)."""

GUIDED_ITERATIONS = 20
"""Richardson–Lucy steps from a guide, the network's image or the user's: they bring in light that
it missed. More of them make it noisier again and the result worse (docs/training.md)."""

MIN_SIDE_PX = 8


@dataclass(frozen=True, slots=True)
class Options:
    """What `reconstruct` can be told of a movie besides its microscope."""

    method: str = "dlbi"
    guide: FloatImage | None = None
    model: Network | None = None
    quality: str = "standard"
    start: str = "guide"
    upscaling: int = 8
    n_workers: int = 1
    n_chains: int | None = None
    guide_iterations: int = GUIDED_ITERATIONS

    @property
    def schedule(self) -> Schedule:
        """Sweeps and start of the sampler."""
        schedule = replace(QUALITIES[self.quality], start=self.start)
        return schedule if self.n_chains is None else replace(schedule, n_chains=self.n_chains)

    def check(self, stack: ImageStack) -> None:
        """Refuse unknown values, and what does not fit the movie or another option.

        Raises
        ------
        InputError, ShapeError
            As `dlbi.reconstruct`.
        """
        expect_movie(stack)
        if self.method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        if self.quality not in QUALITIES:
            raise InputError(f"quality must be one of {', '.join(QUALITIES)}, got {self.quality!r}")
        if self.start not in STARTS:
            raise InputError(f"start must be one of {', '.join(STARTS)}, got {self.start!r}")
        for what, value, least, most in (
            ("fine pixels per camera pixel", self.upscaling, 1, 16),
            ("workers", self.n_workers, 1, np.inf),
            ("chains", 1 if self.n_chains is None else self.n_chains, 1, np.inf),
            ("guide iterations", self.guide_iterations, 0, np.inf),
        ):
            if not isinstance(value, int | np.integer) or not least <= value <= most:
                limits = f"{least} to {most}" if most < np.inf else f"at least {least}"
                raise InputError(f"the number of {what} must be whole, {limits}, got {value}")
        if self.model is not None:
            expect("a model", self.model, Network, "dlbi.load_network reads one")
        side = NETWORK_SIDE_PX if self.method in LEARNED else MIN_SIDE_PX
        if min(stack.grid.shape) < side:
            h, w = stack.grid.shape
            hint = "; bayes needs 8×8" if self.method in LEARNED else ""
            raise ShapeError(
                f"{self.method} needs a field of at least {side}×{side} camera pixels, "
                f"got {w}×{h}{hint}"
            )
        if self.method in LEARNED and self.upscaling != NETWORK_UPSCALING:
            raise InputError(
                f"the network refines {NETWORK_UPSCALING} times, not {self.upscaling}; "
                "take method bayes"
            )
        if self.guide is not None:
            self._check_guide(self.guide, stack)

    def _check_guide(self, guide: FloatImage, stack: ImageStack) -> None:
        if self.method not in GUIDED:
            learned = self.method in LEARNED
            why = "takes its guide from the network" if learned else "has no use for a guide"
            raise InputError(f"method {self.method} {why}; give a guide to {' or '.join(GUIDED)}")
        expect("a guide", guide, np.ndarray, "give an image (Y, X)")
        height, width = stack.grid.refine(self.upscaling).shape
        if guide.shape != (height, width):
            raise ShapeError(
                f"the guide must be {width}×{height} pixels "
                f"(×{self.upscaling} of the movie), got shape {guide.shape}"
            )
