"""Light of blinking fluorophores on the camera: splats of tabulated, pixel-integrated PSFs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from dlbi.core.images import FloatImage
from dlbi.core.kernels import kernel, mix
from dlbi.core.optics import FWHM_PER_SIGMA, FwhmLaw, integrated_profile
from dlbi.core.photophysics import EMITTING, PhotonLaw
from dlbi.forward import PROFILE_REACH_SIGMA
from dlbi.simulation.blinking import (
    ChainStates,
    DwellLaw,
    blink_reference,
    emitting_frames,
    mix_reference,
)

N_WIDTHS = 8
"""Entries of the PSF table."""
N_BRIGHTNESS = 4096
"""Entries of the brightness table."""
N_PHASES = 64
"""Sub-pixel positions of the PSF table; linear interpolation errs by 2e-5 of the light."""
_PADDING = 8
_LOW_HALF = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


class EmissionTable(NamedTuple):
    """Everything one emission can look like.

    Parameters
    ----------
    profiles : ndarray, (N_WIDTHS, N_PHASES + 1, n), float32
        Pixel-integrated PSF along one axis for each width and each position −½ … ½ of the
        emitter in its pixel. Entry k belongs to the pixel k − reach_px away; the end is zeros, so
        that rows fill SIMD registers.
    photons : ndarray, (N_BRIGHTNESS,), float32
        Equally likely signals of one emitting frame.
    reach_px : int
        Pixels of a splat on either side of the emitter's pixel.
    sigma_px : ndarray, (N_WIDTHS,)
        Equally likely PSF widths.
    """

    profiles: NDArray[np.float32]
    photons: NDArray[np.float32]
    reach_px: int
    sigma_px: NDArray[np.float64]

    @classmethod
    def of(cls, fwhm: FwhmLaw, photons: PhotonLaw, pixel_size_nm: float) -> EmissionTable:
        """Tables of a width law and a photon law on a camera."""
        sigma_px = fwhm.table(N_WIDTHS) / (FWHM_PER_SIGMA * pixel_size_nm)
        reach_px = int(np.ceil(PROFILE_REACH_SIGMA * sigma_px.max()))
        n = 2 * reach_px + 1
        pixel = np.arange(n) - reach_px
        phases = np.arange(N_PHASES + 1) / N_PHASES - 0.5
        profiles = np.zeros((N_WIDTHS, N_PHASES + 1, n + -n % _PADDING), np.float32)
        for entry, sigma in enumerate(sigma_px):
            profiles[entry, :, :n] = integrated_profile(pixel, phases[:, None], float(sigma))
        return cls(profiles, brightness_table(photons), reach_px, sigma_px)


def brightness_table(law: PhotonLaw) -> NDArray[np.float32]:
    """Mean signal within N_BRIGHTNESS equally likely cells of a log-normal law.

    Notes
    -----
    A cell between the quantiles zₖ and zₖ₊₁ has the mean m n [Φ(zₖ₊₁ − s) − Φ(zₖ − s)], with n
    cells, the mean m of the law and the deviation s of its logarithm; the table keeps m exactly.
    """
    _, spread = law.log_moments
    edges = ndtri(np.arange(N_BRIGHTNESS + 1) / N_BRIGHTNESS)
    return np.asarray(law.mean * N_BRIGHTNESS * np.diff(ndtr(edges - spread)), np.float32)


@kernel
def emit(
    y_px: NDArray[np.float64],
    x_px: NDArray[np.float64],
    blink_key: np.uint64,
    light_key: np.uint64,
    law: DwellLaw,
    table: EmissionTable,
    states: ChainStates,
    start: int,
    drift_px: NDArray[np.float64],
    canvas: FloatImage,
    signal: NDArray[np.float64],
) -> None:
    """Blink all fluorophores over a run of frames and add their light to the canvas.

    Parameters
    ----------
    y_px, x_px : ndarray, (N,), float64
        Positions in canvas pixels; every splat must fit on the canvas.
    blink_key, light_key : uint64
    law : DwellLaw
    table : EmissionTable
    states : ChainStates
        Carried to the end of the run.
    start : int
        First frame of the run.
    drift_px : ndarray, (T, 2), float64
        Displacement (y, x) in each frame.
    canvas : ndarray, (T, Y, X), float32
        Expected photons, added to.
    signal : ndarray, (N,), float64
        Photons each fluorophore has emitted, added to.
    """
    n_frames = canvas.shape[0]
    frames = np.empty(n_frames, np.int64)
    row = np.empty(table.profiles.shape[2], np.float32)
    for i in range(y_px.size):
        n_on = emitting_frames(i, blink_key, law, states, start, start + n_frames, frames)
        own_key = mix(light_key, np.uint64(i))
        for k in range(n_on):
            t = frames[k] - start
            bits = mix(own_key, np.uint64(frames[k]))
            entry = _pick(bits >> _HALF, table.profiles.shape[0])
            photons = table.photons[_pick(bits & _LOW_HALF, table.photons.size)]
            signal[i] += photons
            y = y_px[i] + drift_px[t, 0]
            x = x_px[i] + drift_px[t, 1]
            _splat(y, x, photons, table.profiles[entry], table.reach_px, row, canvas[t])


@kernel
def _pick(bits: np.uint64, n: int) -> np.int64:
    """An index below n from 32 random bits."""
    return np.int64((bits * np.uint64(n)) >> _HALF)


@kernel
def _splat(
    y: float,
    x: float,
    photons: np.float32,
    profiles: NDArray[np.float32],
    reach_px: int,
    row: NDArray[np.float32],
    frame: FloatImage,
) -> None:
    y0 = int(np.floor(y + 0.5))
    x0 = int(np.floor(x + 0.5))
    below, above, weight = _bracket(x - x0, profiles)
    for c in range(row.size):
        row[c] = photons * (below[c] + weight * (above[c] - below[c]))
    below, above, weight = _bracket(y - y0, profiles)
    left = x0 - reach_px
    for r in range(2 * reach_px + 1):
        share = below[r] + weight * (above[r] - below[r])
        target = frame[y0 - reach_px + r, left : left + row.size]
        for c in range(row.size):
            target[c] += share * row[c]


@kernel
def _bracket(
    offset: float, profiles: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], np.float32]:
    """The tabulated profiles on both sides of a sub-pixel offset, and the weight of the second."""
    n_phases = profiles.shape[0] - 1
    phase = (offset + 0.5) * n_phases
    k = min(int(phase), n_phases - 1)
    return profiles[k], profiles[k + 1], np.float32(phase - k)


def emit_reference(
    y_px: NDArray[np.float64],
    x_px: NDArray[np.float64],
    blink_key: np.uint64,
    light_key: np.uint64,
    law: DwellLaw,
    table: EmissionTable,
    shape: tuple[int, int, int],
) -> NDArray[np.float64]:
    """NumPy form of `emit` from frame 0 without drift, with exact profiles, (T, Y, X)."""
    n, (n_frames, height, width) = y_px.size, shape
    emitting = blink_reference(n, n_frames, law, blink_key) == EMITTING
    keys = mix_reference(light_key, np.arange(n))
    rows = [integrated_profile(np.arange(height), y_px[:, None], s) for s in table.sigma_px]
    columns = [integrated_profile(np.arange(width), x_px[:, None], s) for s in table.sigma_px]
    frames = np.zeros(shape)
    for t in range(n_frames):
        bits = mix_reference(keys, np.full(n, t))
        entry = (bits >> _HALF) * np.uint64(N_WIDTHS) >> _HALF
        photons = table.photons[(bits & _LOW_HALF) * np.uint64(N_BRIGHTNESS) >> _HALF]
        for w in range(N_WIDTHS):
            on = emitting[:, t] & (entry == w)
            frames[t] += (rows[w][on] * photons[on, None]).T @ columns[w][on]
    return frames
