"""Flux and on-fraction of single fluorophores from the cumulants of the movie.

Light from a density ρ (mean signal per fine pixel) whose emitters have flux a, light CV cv and
on-fraction q has the cumulants, shared by pixels of the same PSF,

    first   ρ                                        (the mean image)
    second  ρ · a · (g − q)                          g = 1 + cv²
    third   ρ · a² · (g³ − 3 q g + 2 q²)

Only different pixels are combined, so camera noise, which is independent between pixels, drops
out. The ratio third/second² fixes q, the second then a, and the light the number of emitters.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array

from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.photophysics import BlinkingChain
from dlbi.forward import BandedMatrix, Projection
from dlbi.inference.units import detrended, trend_residual

BLOCK_FRAMES = 40
"""Cumulants are taken within blocks of frames, each pixel without its linear trend, which removes
bleaching, drift and slow haze."""

PRIOR_SD_LOG_Q = (0.6, 0.4)
"""Spread of log q below and above the expected one. Rare emission is believed more readily: too
many emitters cost little, too few merge neighbours."""

MODEL_SD = 0.2
MIN_Q, MAX_Q = 0.003, 0.6
MIN_BLEACHING, MAX_BLEACHING = 5e-4, 0.1
DECAY_SIGMA = 3.0
"""Standard errors by which a decay must beat constant light to count as bleaching."""


class BlinkingMoments(NamedTuple):
    """What the second and third cumulants say about single fluorophores.

    Parameters
    ----------
    contrast : float, counts
        Second cumulant ÷ mean, a (g − q); not positive where nothing blinks.
    skewness : float
        Third cumulant · mean ÷ second cumulant², (g³ − 3qg + 2q²)/(g − q)².
    skewness_error : float
        Its standard error; infinite for movies too short to tell.
    light_cv : float
        The cv assumed.
    """

    contrast: float
    skewness: float
    skewness_error: float
    light_cv: float

    def flux(self, on_fraction: float) -> float:
        """Flux of an emitting frame if fluorophores are on that share of the time, counts."""
        return self.contrast / (1.0 + self.light_cv**2 - on_fraction)

    def on_fraction(self, expected: float) -> float:
        """On-fraction q from the skewness and a log-normal prior around `expected`."""
        q = np.exp(np.linspace(np.log(MIN_Q), np.log(MAX_Q), 400))
        misfit = self.skewness - skewness(q, self.light_cv)
        below, above = PRIOR_SD_LOG_Q
        log_p = -0.5 * (np.log(q / expected) / np.where(q < expected, below, above)) ** 2
        log_p -= 0.5 * misfit**2 / (self.skewness_error**2 + MODEL_SD**2)
        weight = np.exp(log_p - log_p.max())
        return float(np.exp((weight * np.log(q)).sum() / weight.sum()))


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


def skewness(
    on_fraction: NDArray[np.float64] | float, light_cv: float
) -> NDArray[np.float64] | float:
    """Third cumulant · mean ÷ second cumulant² of the light of one fluorophore."""
    g = 1.0 + light_cv**2
    q = on_fraction
    return (g**3 - 3.0 * q * g + 2.0 * q**2) / (g - q) ** 2


def chain_with(on_fraction: float, chain: BlinkingChain) -> BlinkingChain:
    """The chain with another steady on-fraction: same off-rate and bleaching."""
    off = chain.emitting_to_dark
    on = off * on_fraction / (1.0 - on_fraction)
    return BlinkingChain(off, min(on, 0.95 - chain.dark_to_bleached), chain.dark_to_bleached)


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


def blinking_moments(
    stack: ImageStack, density: FloatImage, projection: Projection, *, light_cv: float
) -> BlinkingMoments:
    """Cumulants of the movie in units of the density's own light.

    Parameters
    ----------
    stack : ImageStack
    density : ndarray, fine grid of the projection
        Mean signal per fine pixel, background removed.
    projection : Projection
    light_cv : float
        Coefficient of variation of the light from one emitting frame to the next.
    """
    h, w = stack.grid.shape
    if min(h, w) < 2:
        return BlinkingMoments(0.0, 0.0, np.inf, light_cv)
    second, third = _templates(density, projection)
    n_blocks = max(1, stack.n_frames // BLOCK_FRAMES)
    edges = np.linspace(0, stack.n_frames, n_blocks + 1).round().astype(int)
    found = np.array(
        [
            _block_cumulants(stack.load(slice(a, b)), second, third)
            for a, b in pairwise(edges)
            if b - a >= 4
        ]
    ).reshape(-1, 2)
    if not len(found):
        return BlinkingMoments(0.0, 0.0, np.inf, light_cv)
    k2, k3 = found.mean(axis=0)
    if k2 <= 0:
        return BlinkingMoments(float(k2), 0.0, np.inf, light_cv)
    error = found[:, 1].std(ddof=1) / np.sqrt(len(found)) if len(found) > 2 else np.inf
    return BlinkingMoments(float(k2), float(k3 / k2**2), float(error / k2**2), light_cv)


def _templates(
    density: FloatImage, projection: Projection
) -> tuple[list[FloatImage], list[FloatImage]]:
    """Σ_g ρ_g h_g(p) h_g(p′) and Σ_g ρ_g h_g(p) h_g(p′) h_g(p″) for the pixels combined."""
    rows, columns = sparse(projection.rows), sparse(projection.columns)
    up, down, left, right = rows[:-1], rows[1:], columns[:-1], columns[1:]

    def seen(along_y: list[csr_array], along_x: list[csr_array]) -> FloatImage:
        y, x = band_product(along_y), band_product(along_x)
        return np.asarray(y @ density @ x.T, np.float32)

    second = [seen([rows, rows], [left, right]), seen([up, down], [columns, columns])]
    third = [
        seen([up, up, down], [left, right, left]),
        seen([down, down, up], [right, left, right]),
    ]
    return second, third


def _block_cumulants(
    frames: FloatImage, second: list[FloatImage], third: list[FloatImage]
) -> tuple[float, float]:
    """Least-squares second and third cumulant of one block, in units of the templates."""
    d = detrended(frames)
    # A change common to the whole field is illumination, not blinking.
    d -= d.mean(axis=(1, 2), keepdims=True)
    pairs = [
        np.einsum("tyx,tyx->yx", d[:, :, :-1], d[:, :, 1:]),
        np.einsum("tyx,tyx->yx", d[:, :-1], d[:, 1:]),
    ]
    corner, right, below, opposite = (
        d[:, :-1, :-1], d[:, :-1, 1:], d[:, 1:, :-1], d[:, 1:, 1:],
    )  # fmt: skip
    side = right * below
    triples = [np.einsum("tyx,tyx->yx", side, corner), np.einsum("tyx,tyx->yx", side, opposite)]
    return (
        _slope(pairs, second) / (len(frames) - 2),
        _slope(triples, third) / _third_moment_factor(len(frames)),
    )


def _third_moment_factor(n: int) -> float:
    """Σ Q³ over all entries of Q, the projection that removes mean and linear trend."""
    return float((trend_residual(n) ** 3).sum())


def _slope(measured: list[FloatImage], template: list[FloatImage]) -> float:
    top = sum(float((m * s).sum(dtype=np.float64)) for m, s in zip(measured, template, strict=True))
    bottom = sum(float((s.astype(np.float64) ** 2).sum()) for s in template)
    return top / bottom if bottom > 0 else 0.0


def sparse(matrix: BandedMatrix) -> csr_array:
    """A projection along one axis as a sparse matrix."""
    n_rows, band = matrix.values.shape
    columns = matrix.first[:, None] + np.arange(band)
    ends = np.arange(n_rows + 1) * band
    return csr_array(
        (matrix.values.ravel(), columns.ravel(), ends), shape=(n_rows, matrix.n_columns)
    )


def band_product(factors: list[csr_array]) -> csr_array:
    """Entry by entry product of sparse matrices."""
    out = factors[0]
    for factor in factors[1:]:
        out = out.multiply(factor).tocsr()
    return out
