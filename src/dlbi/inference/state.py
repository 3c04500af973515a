"""What the factorial-HMM kernels work on: emitters, residual movie, shared physics, guide, scratch.

All are named tuples of arrays and numbers, which compiled functions take as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import kernel


class Slots(NamedTuple):
    """The table of fluorophores, one row a slot; rows that are not alive are free.

    Parameters
    ----------
    alive : ndarray, (K,), uint8
    y, x : ndarray, (K,), float64
        Position, padded camera pixels.
    flux : ndarray, (K,), float32
        Mean light of an emitting frame.
    light : ndarray, (K, T), float32
        Light in each frame; zero where not emitting.
    bleach_frame : ndarray, (K,), int32
        First bleached frame; T if none.
    p_real : ndarray, (K,), float32
        P(F|R) at the last visit.
    precision : ndarray, (K, 2), float32
        1/σ² of y and x.
    """

    alive: NDArray[np.uint8]
    y: NDArray[np.float64]
    x: NDArray[np.float64]
    flux: NDArray[np.float32]
    light: NDArray[np.float32]
    bleach_frame: NDArray[np.int32]
    p_real: NDArray[np.float32]
    precision: NDArray[np.float32]


class Field(NamedTuple):
    """What is left to explain, with a padding of zero weight.

    Parameters
    ----------
    residual : ndarray, (Y, X, T), float32
        Movie − background − light of all live emitters.
    weight : ndarray, (Y, X), float32
        Inverse noise variance; zero outside the field.
    """

    residual: NDArray[np.float32]
    weight: NDArray[np.float32]


class Physics(NamedTuple):
    """Parameters that all fluorophores share.

    Parameters
    ----------
    sigma : float
        PSF width, camera pixels.
    half : int
        Half width of the PSF window, camera pixels.
    beta : float
        Likelihood temperature.
    flux_mean, flux_sd : float
        Prior of the flux.
    cv : float
        Coefficient of variation of the light from one emitting frame to the next; > 0.
    matrix, start : ndarray
        Blinking chain, (3, 3) and (3,).
    """

    sigma: float
    half: int
    beta: float
    flux_mean: float
    flux_sd: float
    cv: float
    matrix: NDArray[np.float64]
    start: NDArray[np.float64]


class Guide(NamedTuple):
    """Where fluorophores are expected, per fine pixel of the padded field.

    Parameters
    ----------
    log_prior : ndarray, (fine Y, fine X), float32
        log of the expected number of emitters.
    log_odds : ndarray, (fine Y, fine X), float32
        log of expected emitters ÷ (birth candidates · their density): the prior odds P(F)/P(N).
    cumulative : ndarray, (n_tiles, fine pixels of a tile), float32
        Cumulative candidate density of each tile, row by row, ending with 1.
    factor : int
        Fine pixels per camera pixel.
    tile_px, n_columns : int
        Side of a tile in camera pixels; tiles per row.
    """

    log_prior: NDArray[np.float32]
    log_odds: NDArray[np.float32]
    cumulative: NDArray[np.float32]
    factor: int
    tile_px: int
    n_columns: int


class Scratch(NamedTuple):
    """Work space of one tile: PSF profiles, and arrays of one value a frame."""

    gy: NDArray[np.float64]
    gx: NDArray[np.float64]
    dy: NDArray[np.float64]
    dx: NDArray[np.float64]
    new_gy: NDArray[np.float64]
    new_gx: NDArray[np.float64]
    matched: NDArray[np.float32]
    ratio: NDArray[np.float32]
    normal: NDArray[np.float32]
    bits: NDArray[np.int32]
    floats: NDArray[np.float32]
    states: NDArray[np.float64]
    u: NDArray[np.float64]
    after_on: NDArray[np.bool_]
    after_dark: NDArray[np.bool_]
    on: NDArray[np.float32]
    old: NDArray[np.float32]
    new: NDArray[np.float32]
    received: NDArray[np.float64]


@kernel
def new_scratch(half: int, n_frames: int) -> Scratch:
    """Uninitialised scratch for windows of 2·half + 1 pixels and movies of `n_frames`."""
    n = 2 * half + 1
    bits = np.empty(n_frames, np.int32)
    return Scratch(
        np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n),
        np.empty(n_frames, np.float32), np.empty(n_frames, np.float32),
        np.empty(n_frames, np.float32), bits, bits.view(np.float32),
        np.empty((3, n_frames)), np.empty(n_frames),
        np.empty(n_frames, np.bool_), np.empty(n_frames, np.bool_),
        np.empty(n_frames, np.float32), np.zeros(n_frames, np.float32),
        np.empty(n_frames, np.float32), np.empty((n, n)),
    )  # fmt: skip
