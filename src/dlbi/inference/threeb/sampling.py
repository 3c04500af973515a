"""Gibbs sampling of the hidden states of all spots, at fixed positions.

The movie is seen only through its projections on the spots and the overlaps of the spots with each
other, so a visit costs frames × neighbours, not frames × pixels. Nothing is lost by it: with
residual r, Σ_p m_k r_t = Σ_p m_k D_t − Σ_j z_jt Σ_p m_k m_j.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlbi.core.kernels import F32, F64, fill_uniform, kernel, mix
from dlbi.inference.hmm.chain import (
    backward,
    exponentials,
    filter_reference,
    forward,
    sample_reference,
)
from dlbi.inference.threeb.options import CHAIN, START
from dlbi.inference.threeb.spots import RADIUS, Profiles, project

NEGLIGIBLE_OVERLAP = 1e-8
"""Overlap of two spots ÷ product of their norms on the plane below which they do not see each
other."""

MATRIX = CHAIN.matrix


class System(NamedTuple):
    """What the sampler knows of N fixed spots and a movie.

    Parameters
    ----------
    drive : ndarray, (N, T)
        Σ_p m_k D_t.
    own : ndarray, (N,)
        Σ_p m_k².
    ends : ndarray, (N + 1,), int64
        Where the neighbours of each spot begin and end; a spot is its own neighbour.
    neighbour, overlap : ndarray
        Neighbours one after the other, and Σ_p m_k m_j with each.
    """

    drive: F64
    own: F64
    ends: NDArray[np.int64]
    neighbour: NDArray[np.int64]
    overlap: F64


def system_of(profiles: Profiles, data: F64) -> System:
    """Projections of a movie (Y, X, T) on spots, and their overlaps."""
    drive = np.empty((profiles.peak.size, data.shape[2]))
    project(profiles, data, drive)
    return assembled(profiles, drive, profiles.overlaps())


def assembled(profiles: Profiles, drive: F64, overlaps: F64) -> System:
    """The system of known projections (N, T) and overlaps (N, N)."""
    own = np.ascontiguousarray(np.diagonal(overlaps))
    norm = profiles.peak * profiles.spots[:, RADIUS] * np.sqrt(np.pi)
    near = overlaps > NEGLIGIBLE_OVERLAP * np.outer(norm, norm)
    np.fill_diagonal(near, True)
    rows, neighbour = np.nonzero(near)
    ends = np.searchsorted(rows, np.arange(own.size + 1))
    return System(drive, own, ends, neighbour, overlaps[rows, neighbour])


class Scratch(NamedTuple):
    """Work space of one visit: arrays of one value a frame."""

    log_ratio: F32
    ratio: F32
    bits: NDArray[np.int32]
    floats: F32
    weights: F64
    u: F64
    after_on: NDArray[np.uint8]
    after_dark: NDArray[np.uint8]
    new: F32
    change: F64


@kernel
def new_scratch(n_frames: int) -> Scratch:
    """Uninitialised scratch for movies of `n_frames`."""
    bits = np.empty(n_frames, np.int32)
    return Scratch(
        np.empty(n_frames, np.float32), np.empty(n_frames, np.float32), bits, bits.view(np.float32),
        np.empty((3, n_frames)), np.empty(n_frames), np.empty(n_frames, np.uint8),
        np.empty(n_frames, np.uint8), np.empty(n_frames, np.float32), np.empty(n_frames),
    )  # fmt: skip


@kernel
def sweep(
    key: np.uint64, system: System, variance: float, matrix: F64, start: F64, on: F32,
    field: F64, work: Scratch,
) -> None:  # fmt: skip
    """Draw the states of every spot once, in order, given those of all others.

    Parameters
    ----------
    key : uint64
        Key of this sweep.
    system : System
    variance : float
        Noise variance.
    on : ndarray, (N, T), float32
        1.0 where a spot emits; overwritten.
    field : ndarray, (N, T)
        Σ_p m_k r_t of the residual r of all spots; kept up to date.

    Notes
    -----
    ℓ_t = [Σ_p m_k (r_t + z_kt m_k) − ½ Σ_p m_k²] / variance.
    """
    n_frames = on.shape[1]
    for k in range(system.own.size):
        own = system.own[k]
        for t in range(n_frames):
            matched = field[k, t] + own * (np.float64(on[k, t]) - 0.5)
            work.log_ratio[t] = np.float32(matched / variance)
        exponentials(work.log_ratio, work.bits, work.floats, work.ratio)
        forward(work.ratio, matrix, start, work.weights)
        fill_uniform(mix(key, np.uint64(k)), work.u)
        backward(work.weights, matrix, work.u, work.after_on, work.after_dark, work.new)
        for t in range(n_frames):
            work.change[t] = np.float64(work.new[t] - on[k, t])
            on[k, t] = work.new[t]
        for n in range(system.ends[k], system.ends[k + 1]):
            j, overlap = system.neighbour[n], system.overlap[n]
            for t in range(n_frames):
                field[j, t] -= overlap * work.change[t]


def sweep_reference(
    key: np.uint64, images: F64, data: F64, variance: float, matrix: F64, start: F64,
    on: NDArray[np.floating],
) -> None:  # fmt: skip
    """`sweep` with images (N, Y, X) and a residual movie over all pixels, in plain NumPy."""
    u = np.empty(on.shape[1])
    for k, image in enumerate(images):
        others = on.copy()
        others[k] = 0.0
        residual = data - np.einsum("nyx,nt->yxt", images, others)
        without = (residual**2).sum(axis=(0, 1))
        with_spot = ((residual - image[:, :, None]) ** 2).sum(axis=(0, 1))
        weights = filter_reference((without - with_spot) / (2 * variance), matrix, start).weights
        fill_uniform(np.uint64(mix(key, np.uint64(k))), u)
        on[k] = sample_reference(weights, matrix, u) == 0


@kernel
def draw_states(
    key: np.uint64, system: System, variance: float, burn_in: int, matrix: F64, start: F64,
    states: F32,
) -> None:  # fmt: skip
    """Consecutive sweeps from all spots bleached into `states` (S, N, T), after a burn-in."""
    n_samples, n_spots, n_frames = states.shape
    on = np.zeros((n_spots, n_frames), np.float32)
    field = system.drive.copy()
    work = new_scratch(n_frames)
    for n in range(burn_in + n_samples):
        sweep(mix(key, np.uint64(n)), system, variance, matrix, start, on, field, work)
        if n >= burn_in:
            states[n - burn_in] = on


def sampled_states(
    key: np.uint64, system: System, variance: float, n_samples: int, burn_in: int = 0
) -> F32:
    """Samples of the states of all spots, (N, T, S), float32: 1 where a spot emits.

    Notes
    -----
    A sample is one sweep over all spots. As in the program all spots are bleached in all frames
    before the first sweep, which is used already unless there is a burn-in.
    """
    states = np.empty((n_samples, *system.drive.shape), np.float32)
    draw_states(key, system, variance, burn_in, MATRIX, START, states)
    return np.ascontiguousarray(states.transpose(1, 2, 0))
