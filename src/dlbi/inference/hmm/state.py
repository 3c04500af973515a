"""What the factorial-HMM kernels work on: emitters, residual movie, shared physics, guide, scratch.

All are named tuples of arrays and numbers, which compiled functions take as they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.images import FloatImage
from dlbi.core.kernels import F32, F64, I64, kernel
from dlbi.core.lanes import whole_blocks, zero_rows


class Slots(NamedTuple):
    """The table of fluorophores, one row a slot; rows that are not alive are free.

    Parameters
    ----------
    alive : ndarray, (K,), uint8
    y, x : ndarray, (K,), float64
        Position, padded camera pixels.
    flux : ndarray, (K,), float32
        Mean light of an emitting frame.
    light : ndarray, (K, T'), float32
        Light in each frame, in whole blocks of frames (`dlbi.core.lanes`); zero where not emitting
        and beyond the movie.
    bleach_frame : ndarray, (K,), int32
        First bleached frame; T if none.
    p_real : ndarray, (K,), float32
        P(F|R) at the last visit.
    precision : ndarray, (K, 2), float32
        1/σ² of y and x.
    """

    alive: NDArray[np.uint8]
    y: F64
    x: F64
    flux: F32
    light: F32
    bleach_frame: NDArray[np.int32]
    p_real: F32
    precision: F32


class Field(NamedTuple):
    """What is left to explain, with a padding of zero weight.

    Parameters
    ----------
    residual : ndarray, (Y, X, T'), float32
        Movie − background − light of all live emitters, in whole blocks of frames
        (`dlbi.core.lanes`); zero beyond the movie.
    weight : ndarray, (Y, X), float32
        Inverse noise variance; zero outside the field.
    n_frames : int
        T, frames of the movie.
    """

    residual: F32
    weight: F32
    n_frames: int


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
    reach : float
        How far apart emitters may be, along each axis, to exchange emissions, camera pixels; 0 if
        none do.
    """

    sigma: float
    half: int
    beta: float
    flux_mean: float
    flux_sd: float
    cv: float
    matrix: NDArray[np.float64]
    start: NDArray[np.float64]
    reach: float


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
    """Work space of one tile: PSF profiles, window sums, and arrays of one value a frame.

    Profiles of the present place (gy, gx) and their derivatives (dy, dx); profiles of the last and
    the next place in a window that holds both; weights of the matched filter and of its derivative;
    then frames, in whole blocks where a window pass reads or writes them; last, what an exchange
    with another emitter needs: the other's profiles, the frames it is about, the matched filters of
    both there, and the chance that the first of them emits.
    """

    gy: F64
    gx: F64
    dy: F64
    dx: F64
    old_gy: F64
    old_gx: F64
    new_gy: F64
    new_gx: F64
    share: F32
    slope: F32
    matched: F32
    pull_y: F32
    pull_x: F32
    new: F32
    log_ratio: F32
    ratio: F32
    normal: F32
    words: NDArray[np.uint64]
    bits: NDArray[np.int32]
    floats: F32
    states: F64
    u: F64
    after_dark: NDArray[np.uint8]
    differs: NDArray[np.uint8]
    on: F32
    other_gy: F64
    other_gx: F64
    frames: I64
    ours: F64
    theirs: F64
    chance: F64


@kernel
def new_scratch(half: int, n_frames: int, n_padded: int) -> Scratch:
    """Scratch for windows of 2·half + 1 pixels and movies of `n_frames` in `n_padded` numbers."""
    n = 2 * half + 1
    words = np.empty((n_frames + 1) // 2, np.uint64)
    bits = words.view(np.int32)[:n_frames]
    return Scratch(
        np.empty(n), np.empty(n), np.empty(n), np.empty(n),
        np.empty(n + 1), np.empty(n + 1), np.empty(n + 1), np.empty(n + 1),
        np.empty((n, n), np.float32), np.empty((n, n), np.float32),
        np.empty(n_padded, np.float32), np.empty(n_padded, np.float32),
        np.empty(n_padded, np.float32),
        np.zeros(n_padded, np.float32),
        np.empty(n_frames, np.float32), np.empty(n_frames, np.float32),
        np.empty(n_frames, np.float32), words, bits, bits.view(np.float32),
        np.empty((3, n_frames)), np.empty(n_frames),
        np.empty(n_frames, np.uint8), np.empty(n_frames, np.uint8),
        np.empty(n_frames, np.float32),
        np.empty(n), np.empty(n), np.empty(n_frames, np.int64),
        np.empty(n_frames), np.empty(n_frames), np.empty(n_frames),
    )  # fmt: skip


def new_slots(n: int, n_frames: int) -> Slots:
    """n free slots."""
    return Slots(
        alive=np.zeros(n, np.uint8),
        y=np.zeros(n),
        x=np.zeros(n),
        flux=np.zeros(n, np.float32),
        light=zero_rows((n, whole_blocks(n_frames))),
        bleach_frame=np.full(n, n_frames, np.int32),
        p_real=np.zeros(n, np.float32),
        precision=np.zeros((n, 2), np.float32),
    )


def new_field(
    movie: NDArray[np.float32],
    weight: FloatImage,
    place: tuple[slice, slice],
    shape: tuple[int, int],
) -> Field:
    """A field of `shape` with the movie (T, Y, X) and its weight (Y, X) in `place`."""
    n_frames = len(movie)
    residual = zero_rows((*shape, whole_blocks(n_frames)))
    residual[(*place, slice(0, n_frames))] = np.moveaxis(movie, 0, 2)
    weights = np.zeros(shape, np.float32)
    weights[place] = weight
    return Field(residual, weights, n_frames)
