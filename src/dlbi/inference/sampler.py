"""The state of the factorial-HMM sampler and its sweeps over the whole field."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from dlbi.core.images import FloatImage
from dlbi.core.kernels import fill_profile, kernel, mix
from dlbi.core.photophysics import BlinkingChain
from dlbi.core.rng import stream, stream_key
from dlbi.inference.fhmm import _change_light, sweep_tile

CANDIDATE_SHARE = 0.6
"""Birth candidates per expected emitter of a tile and sweep."""

WINDOW_SIGMA = 2.7
"""Half width of the PSF window in σ."""

TRANSITION_PSEUDO_COUNT = 100.0
START_PSEUDO_COUNT = 10.0


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before the movie is seen frame by frame.

    Parameters
    ----------
    intensity : ndarray, fine grid, float32
        Expected emitters per fine pixel; zero means impossible.
    flux_mean, flux_sd : float
        Flux of an emitting frame, counts.
    chain : BlinkingChain
        Its rows are Dirichlet means with the weight of 100 transitions.
    """

    intensity: FloatImage
    flux_mean: float
    flux_sd: float
    chain: BlinkingChain


class Sampler:
    """Guided birth-and-death Gibbs sampler over fluorophores and their blinking.

    Parameters
    ----------
    movie : ndarray, (T, Y, X), float32
        Background-free movie.
    weight : ndarray, (Y, X), float32
        Inverse noise variance per pixel.
    fine : PixelGrid
        Grid of `prior.intensity`: the camera field with a margin of `margin_px`, refined.
    factor, margin_px : int
    prior : Prior
    sigma_px : float
        PSF width, camera pixels.
    beta : float
        Likelihood temperature; 1 is the exact posterior, ½ mixes faster.
    seed : int
    """

    def __init__(
        self,
        movie: NDArray[np.float32],
        weight: FloatImage,
        *,
        factor: int,
        margin_px: int,
        prior: Prior,
        sigma_px: float,
        beta: float,
        seed: int,
    ) -> None:
        self.prior = prior
        self.factor = factor
        self.margin_px = margin_px
        self.sigma_px = sigma_px
        self.beta = beta
        self.seed = seed
        self.matrix = prior.chain.matrix
        self.start = prior.chain.start
        self.noise_scale = 1.0
        self.sweeps_done = 0

        self.half = max(2, round(WINDOW_SIGMA * sigma_px))
        self.tile_px = max(8, 2 * (self.half + 1))
        self.pad_px = margin_px + self.half + 1
        n_frames, h, w = movie.shape
        self.field = (slice(self.pad_px, self.pad_px + h), slice(self.pad_px, self.pad_px + w))
        self.tiles = tuple(-(-(n + 2 * self.pad_px) // self.tile_px) for n in (h, w))
        padded = tuple(n * self.tile_px for n in self.tiles)
        self.residual = np.zeros((*padded, n_frames), np.float32)
        self.residual[self.field] = np.moveaxis(movie, 0, 2)
        self.weight = np.zeros(padded, np.float32)
        self.weight[self.field] = weight
        self._field_weight = weight

        self._set_prior_maps()
        self._allocate(int(1.5 * prior.intensity.sum()) + 64, n_frames)

    # -- prior and proposal -------------------------------------------------------------------

    def _set_prior_maps(self) -> None:
        f = self.factor
        side = self.tile_px * f
        intensity = np.zeros((self.tiles[0] * side, self.tiles[1] * side), np.float32)
        o = (self.half + 1) * f
        h, w = self.prior.intensity.shape
        intensity[o : o + h, o : o + w] = self.prior.intensity
        with np.errstate(divide="ignore"):
            self.log_prior = np.log(intensity)
        self._intensity = intensity
        self.propose(intensity)

    def propose(self, proposal: FloatImage) -> None:
        """Set the density from which birth candidates are drawn, per fine pixel of the tiles."""
        side = self.tile_px * self.factor
        ty, tx = self.tiles
        blocks = _tile_blocks(proposal, side, ty, tx).astype(np.float64)
        mass = blocks.sum(axis=1)
        expected = _tile_blocks(self._intensity, side, ty, tx).sum(axis=1)
        self.n_candidates = np.where(
            mass > 0, np.ceil(CANDIDATE_SHARE * expected), 0
        ).astype(np.int64)
        cumulative = np.cumsum(blocks, axis=1) / np.where(mass > 0, mass, 1.0)[:, None]
        cumulative[:, -1] = 1.0
        self.cumulative = cumulative.astype(np.float32)
        rate = np.where(mass > 0, self.n_candidates / np.where(mass > 0, mass, 1.0), 1.0)
        log_rate = np.log(rate).reshape(ty, tx)
        with np.errstate(divide="ignore", invalid="ignore"):
            log_odds = self.log_prior - np.log(proposal)
        log_odds[~np.isfinite(log_odds)] = -np.inf
        log_odds -= np.repeat(np.repeat(log_rate, side, axis=0), side, axis=1)
        self.log_odds = log_odds.astype(np.float32)

    # -- emitters -----------------------------------------------------------------------------

    def _allocate(self, capacity: int, n_frames: int) -> None:
        self.alive = np.zeros(capacity, np.uint8)
        self.y = np.zeros(capacity)
        self.x = np.zeros(capacity)
        self.flux = np.zeros(capacity, np.float32)
        self.on = np.zeros((capacity, n_frames), np.uint8)
        self.bleach_frame = np.zeros(capacity, np.int32)
        self.p_real = np.zeros(capacity, np.float32)
        self.precision = np.zeros((capacity, 2), np.float32)

    def _grow(self, capacity: int) -> None:
        for name in (
            "alive", "y", "x", "flux", "on", "bleach_frame", "p_real", "precision",
        ):
            old = getattr(self, name)
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def initialise(self) -> None:
        """Place the expected number of emitters by the prior, each with a path of the chain."""
        rng = stream(self.seed, "initial emitters")
        flat = self._intensity.ravel().astype(np.float64)
        n = int(rng.poisson(flat.sum()))
        if n > len(self.alive):
            self._grow(n + n // 4)
        cumulative = np.cumsum(flat)
        cell = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
        fine_y, fine_x = np.divmod(np.minimum(cell, flat.size - 1), self._intensity.shape[1])
        self.y[:n] = (fine_y + rng.random(n)) / self.factor - 0.5
        self.x[:n] = (fine_x + rng.random(n)) / self.factor - 0.5
        self.flux[:n] = self.prior.flux_mean
        self.alive[:n] = 1
        state = rng.choice(3, size=n, p=self.start)
        cdf = np.cumsum(self.matrix, axis=1)
        for t in range(self.on.shape[1]):
            self.on[:n, t] = state == 0
            state = (rng.random(n)[:, None] > cdf[state]).sum(axis=1)
        _subtract_light(
            self.alive, self.y, self.x, self.flux, self.on, self.sigma_px, self.half, self.residual
        )

    # -- sweeps -------------------------------------------------------------------------------

    def sweep(self, *, decide: bool, executor: Executor | None, n_workers: int = 1) -> None:
        """Visit every emitter and every birth candidate once."""
        live = np.flatnonzero(self.alive)
        n_births = int(self.n_candidates.sum()) if decide else 0
        if live.size + n_births > len(self.alive):
            self._grow(int(1.25 * (live.size + n_births)))
        free = np.flatnonzero(self.alive == 0)[:n_births]
        ty = np.floor(self.y[live] + 0.5).astype(np.int64) // self.tile_px
        tx = np.floor(self.x[live] + 0.5).astype(np.int64) // self.tile_px
        births = np.repeat(np.arange(self.n_candidates.size), self.n_candidates)
        tile = np.concatenate([ty * self.tiles[1] + tx, births[:n_births]])
        slots = np.concatenate([live, free])
        order = np.argsort(tile, kind="stable")
        slots = slots[order]
        ends = np.searchsorted(tile[order], np.arange(self.n_candidates.size + 1))
        counts = np.zeros((self.n_candidates.size, 8))
        sweep_key = stream_key(self.seed, "sweep", self.sweeps_done)
        for colour in range(4):
            tiles = [
                t
                for t in range(self.n_candidates.size)
                if ends[t + 1] > ends[t]
                and (t // self.tiles[1]) % 2 == colour // 2
                and (t % self.tiles[1]) % 2 == colour % 2
            ]
            if executor is None or n_workers < 2:
                self._visit(tiles, slots, ends, sweep_key, decide, counts)
            else:
                jobs: list[Future[None]] = [
                    executor.submit(
                        self._visit, tiles[i::n_workers], slots, ends, sweep_key, decide, counts
                    )
                    for i in range(n_workers)
                ]
                for job in jobs:
                    job.result()
        self.counts = counts.sum(axis=0)
        self.sweeps_done += 1

    def _visit(
        self,
        tiles: Sequence[int],
        slots: NDArray[np.int64],
        ends: NDArray[np.int64],
        sweep_key: np.uint64,
        decide: bool,
        counts: NDArray[np.float64],
    ) -> None:
        for t in tiles:
            sweep_tile(
                np.uint64(mix(sweep_key, np.uint64(t))),
                slots[ends[t] : ends[t + 1]],
                self.alive, self.y, self.x, self.flux, self.on, self.bleach_frame, self.p_real,
                self.precision, self.residual, self.weight, self.sigma_px, self.half, self.beta,
                self.prior.flux_mean, self.prior.flux_sd, self.matrix, self.start,
                self.cumulative[t], self.log_odds, self.log_prior,
                (t // self.tiles[1]) * self.tile_px, (t % self.tiles[1]) * self.tile_px,
                self.tile_px, self.factor, decide, counts[t],
            )

    # -- parameters (M-step) ------------------------------------------------------------------

    def update_chain(self) -> None:
        """Transition table from the sampled paths and its Dirichlet prior (paper Eq. 11)."""
        ee, ed, de, dd, db = self.counts[:5]
        prior = TRANSITION_PSEUDO_COUNT * self.prior.chain.matrix
        counts = np.array([[ee, ed, 0.0], [de, dd, db], [0.0, 0.0, 1.0]]) + prior
        self.matrix = counts / counts.sum(axis=1, keepdims=True)
        start = self.counts[5:] + START_PSEUDO_COUNT * self.prior.chain.start
        self.start = start / start.sum()

    def update_background(self, width_frames: float) -> None:
        """Move what the residual keeps of the per-frame background out of it."""
        field = self.residual[self.field]
        level = (self._field_weight[..., None] * field).sum(axis=(0, 1)) / self._field_weight.sum()
        # A Gaussian has no negative frequency response, so repeating the update cannot oscillate.
        level = gaussian_filter1d(level, width_frames, mode="nearest")
        field -= level.astype(np.float32)

    def update_noise(self) -> None:
        """Scale the noise variance to the residual."""
        field = self.residual[self.field]
        mean_square = np.einsum("yxt,yxt->yx", field, field, dtype=np.float64) / field.shape[2]
        scale = float((self._field_weight * mean_square).mean())
        self.noise_scale = scale
        self.weight[self.field] = self._field_weight / np.float32(scale)


@kernel
def _subtract_light(alive, y, x, flux, on, sigma, half, residual):  # type: ignore[no-untyped-def]
    n = 2 * half + 1
    gy, gx = np.empty(n), np.empty(n)
    path = np.empty(on.shape[1], np.float32)
    for s in range(alive.size):
        if alive[s] == 0:
            continue
        iy, ix = int(np.floor(y[s] + 0.5)), int(np.floor(x[s] + 0.5))
        fill_profile(y[s], sigma, iy - half, gy)
        fill_profile(x[s], sigma, ix - half, gx)
        for t in range(path.size):
            path[t] = on[s, t]
        _change_light(residual, iy - half, ix - half, gy, gx, np.float32(-flux[s]), path)


def _tile_blocks(
    image: NDArray[np.floating], side: int, n_rows: int, n_columns: int
) -> NDArray[np.floating]:
    """Fine pixels of each tile in one row, (n_tiles, side²)."""
    blocks: NDArray[np.floating] = (
        image.reshape(n_rows, side, n_columns, side)
        .transpose(0, 2, 1, 3)
        .reshape(n_rows * n_columns, side * side)
    )
    return blocks
