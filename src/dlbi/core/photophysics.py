"""The three-state blinking chain (paper Fig. 3) and the photon law of an emission."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlbi.core.errors import InputError

EMITTING, DARK, BLEACHED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class BlinkingChain:
    """Markov chain over emitting, dark and bleached, one step a frame.

    The paper's table is [P1..P5] = [E→E, E→D, D→E, D→D, D→B]; bleached absorbs, and bleaching
    is reached from the dark state only.

    Parameters
    ----------
    emitting_to_dark, dark_to_emitting, dark_to_bleached : float
        Probabilities per frame (P2, P3, P5).
    """

    emitting_to_dark: float
    dark_to_emitting: float
    dark_to_bleached: float = 0.0

    def __post_init__(self) -> None:
        """Validate that the rows are probabilities."""
        p = (self.emitting_to_dark, self.dark_to_emitting, self.dark_to_bleached)
        if not all(0.0 <= v <= 1.0 for v in p) or p[1] + p[2] > 1.0:
            raise InputError(
                "blinking probabilities must lie in 0..1 and the dark row must not exceed 1, "
                f"got E→D {p[0]}, D→E {p[1]}, D→B {p[2]}"
            )

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.float64]) -> BlinkingChain:
        """The chain of a 3×3 row-stochastic matrix in the order emitting, dark, bleached."""
        return cls(float(matrix[0, 1]), float(matrix[1, 0]), float(matrix[1, 2]))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Transition matrix, rows = from, columns = to, order emitting, dark, bleached."""
        e, d, b = self.emitting_to_dark, self.dark_to_emitting, self.dark_to_bleached
        return np.array([[1.0 - e, e, 0.0], [d, 1.0 - d - b, b], [0.0, 0.0, 1.0]])

    @property
    def table(self) -> tuple[float, float, float, float, float]:
        """[P1..P5] of the paper's Fig. 3."""
        m = self.matrix
        return float(m[0, 0]), float(m[0, 1]), float(m[1, 0]), float(m[1, 1]), float(m[1, 2])

    @property
    def start(self) -> NDArray[np.float64]:
        """State law of the first recorded frame: all dark, then one warm-up frame."""
        return np.array([0.0, 1.0, 0.0]) @ self.matrix

    @property
    def steady_on_fraction(self) -> float:
        """On-fraction of the chain without bleaching."""
        total = self.emitting_to_dark + self.dark_to_emitting
        return self.dark_to_emitting / total if total > 0 else 0.0

    def on_fraction(self, n_frames: int) -> NDArray[np.float64]:
        """Probability of emitting in each frame from `start`, (T,)."""
        state = self.start
        matrix = self.matrix
        out = np.empty(n_frames)
        for t in range(n_frames):
            out[t] = state[EMITTING]
            state = state @ matrix
        return out


@dataclass(frozen=True, slots=True)
class PhotonLaw:
    """Log-normal signal of one emitting frame (paper 2.1.2).

    Parameters
    ----------
    mean : float
        Mean signal of an emitting frame, photons (counts for the `paper` preset).
    cv : float
        Coefficient of variation, standard deviation ÷ mean.
    """

    mean: float
    cv: float = 0.0

    def __post_init__(self) -> None:
        """Validate the moments."""
        if not (self.mean > 0 and self.cv >= 0):
            raise InputError(f"photon law needs mean > 0 and cv ≥ 0, got {self.mean}, {self.cv}")

    @property
    def log_moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm."""
        variance = float(np.log1p(self.cv**2))
        return float(np.log(self.mean)) - 0.5 * variance, float(np.sqrt(variance))
