"""Where learning the blinking starts: what a movie shows of it, and what is known beforehand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dlbi.core.images import FloatImage
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import Projection
from dlbi.inference.measurement.moments import BlinkingMoments

MIN_BLEACHING, MAX_BLEACHING = 5e-4, 0.1
DECAY_SIGMA = 3.0
"""Standard errors by which a decay must beat constant light to count as bleaching."""

SPLITTING_NATS = 4.0
"""Weight of one emission in one frame from which on a fluorophore is split. It is then placed to
half of the PSF's σ."""


class KnownBlinking(NamedTuple):
    """Figures of single fluorophores that are known beforehand; None is measured.

    Parameters
    ----------
    emitting_to_dark, dark_to_emitting, dark_to_bleached : float or None
        Probabilities per frame.
    flux : float or None
        Mean light of an emitting frame, counts.
    light_cv : float or None
        Its coefficient of variation.
    """

    emitting_to_dark: float | None = None
    dark_to_emitting: float | None = None
    dark_to_bleached: float | None = None
    flux: float | None = None
    light_cv: float | None = None

    def in_place_of(self, chain: BlinkingChain) -> BlinkingChain:
        """A chain with the transitions that are known."""
        off, on, bleaching = (
            other if known is None else known
            for known, other in (
                (self.emitting_to_dark, chain.emitting_to_dark),
                (self.dark_to_emitting, chain.dark_to_emitting),
                (self.dark_to_bleached, chain.dark_to_bleached),
            )
        )
        return BlinkingChain(off, min(on, 1.0 - bleaching), bleaching)


NOTHING_KNOWN = KnownBlinking()


def starting_chain(
    moments: BlinkingMoments,
    chain: BlinkingChain,
    light: NDArray[np.floating],
    known: KnownBlinking = NOTHING_KNOWN,
) -> BlinkingChain:
    """Where learning the blinking starts: the chain with what is measured and what is known.

    Parameters
    ----------
    moments : BlinkingMoments
        Gives the on-fraction unless D→E is known.
    chain : BlinkingChain
        Expected blinking.
    light : ndarray, (T,)
        Gives the bleaching unless it is known.
    known : KnownBlinking
    """
    start = known.in_place_of(chain)
    if known.dark_to_emitting is None:
        start = chain_with(moments.on_fraction(chain.steady_on_fraction), start)
    return with_bleaching(start, light) if known.dark_to_bleached is None else start


def chain_with(on_fraction: float, chain: BlinkingChain) -> BlinkingChain:
    """The chain with another steady on-fraction: same off-rate and bleaching."""
    off = chain.emitting_to_dark
    on = off * on_fraction / (1.0 - on_fraction)
    return BlinkingChain(off, min(on, 0.95 - chain.dark_to_bleached), chain.dark_to_bleached)


def shared_chain(chain: BlinkingChain, on_fraction: float) -> BlinkingChain:
    """The chain of an emitter that stands for several fluorophores of one kind.

    Parameters
    ----------
    chain : BlinkingChain
        Of one of them.
    on_fraction : float
        Steady on-fraction of the emitter (`BlinkingMoments.on_fraction_of`).

    Notes
    -----
    The light of several independent fluorophores forgets as fast as that of one, so the sum of
    E→D and D→E stays.
    """
    total = min(chain.emitting_to_dark + chain.dark_to_emitting, 1.0)
    on = min(total * on_fraction, 1.0 - chain.dark_to_bleached)
    return BlinkingChain(total * (1.0 - on_fraction), on, chain.dark_to_bleached)


def emission_nats(
    flux: float, noise_variance: FloatImage, density: FloatImage, projection: Projection
) -> float:
    """What one emission in one frame weighs against none, nats.

    Parameters
    ----------
    flux : float, counts
        Its light.
    noise_variance : ndarray, (Y, X), counts²
    density : ndarray, fine grid of the projection
        Where light comes from, of any scale.
    projection : Projection

    Notes
    -----
    N = ½ flux² Σh² w with Σh² = 1/(4πσ²) and the inverse noise variance w, averaged over the light
    that the camera receives. Such an emission is placed to σ ÷ √N. Nothing weighs nothing: 0 for
    a flux that is not positive, and where the density is empty.
    """
    received = projection.forward(density)
    light = float(received.sum(dtype=np.float64))
    if flux <= 0.0 or light <= 0.0:
        return 0.0
    sigma = projection.psf.sigma_px(projection.camera.pixel_size_nm)
    weight = float((received / noise_variance).sum(dtype=np.float64)) / light
    return 0.5 * flux**2 * weight / (4.0 * np.pi * sigma**2)


def splitting(nats: float) -> float:
    """Emitters that share the emissions of one fluorophore, ≥ 1.

    Parameters
    ----------
    nats : float
        `emission_nats`.

    Notes
    -----
    N ÷ 4. Cumulants hardly tell a fluorophore that emits often from many that emit rarely. Where
    emissions are placed precisely it matters: emitters fewer than the places that light comes from
    merge neighbours and stay where they began. Too many share what belongs together, which costs
    little.
    """
    return max(1.0, nats / SPLITTING_NATS)


def with_bleaching(chain: BlinkingChain, light: NDArray[np.floating]) -> BlinkingChain:
    """The chain whose bleaching fits the decay of the movie's light best.

    Parameters
    ----------
    chain : BlinkingChain
        Its on-fraction is kept.
    light : ndarray, (T,)
        Light of each frame without background, any unit.

    Notes
    -----
    Least squares of light ∝ `BlinkingChain.on_fraction` over D→B from 0.0005, which leaves room to
    learn, to 0.1. A decay of the illumination is read as bleaching too; one that constant light
    explains as well is not.
    """

    def bleached(rate: float) -> BlinkingChain:
        base = BlinkingChain(chain.emitting_to_dark, chain.dark_to_emitting, 0.0)
        limited = min(rate, 0.99 - base.dark_to_emitting)
        return BlinkingChain(base.emitting_to_dark, base.dark_to_emitting, limited)

    def misfit(rate: float) -> float:
        expected = bleached(rate).on_fraction(len(light))
        scale = (expected @ light) / (expected @ expected)
        return float(((light - scale * expected) ** 2).sum())

    best = minimize_scalar(misfit, bounds=(MIN_BLEACHING, MAX_BLEACHING), method="bounded")
    noise = misfit(float(best.x)) / max(len(light) - 2, 1)
    gained = misfit(MIN_BLEACHING) - misfit(float(best.x))
    return bleached(float(best.x) if gained > DECAY_SIGMA**2 * noise else MIN_BLEACHING)
