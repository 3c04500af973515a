"""The state of the factorial-HMM sampler and its sweeps over the whole field."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from dlbi.core.images import FloatImage
from dlbi.core.kernels import F64
from dlbi.core.photophysics import EMITTING, BlinkingChain
from dlbi.core.rng import stream, stream_key
from dlbi.forward import Projection
from dlbi.inference.hmm.state import Guide, Physics, Slots, new_field, new_slots
from dlbi.inference.hmm.sweep import subtract_emitters, sweep_tiles

CANDIDATE_SHARE = 0.6
"""Birth candidates per expected emitter of a tile and sweep."""

REACH_SIGMA = 0.5
"""How far apart emitters exchange emissions, in σ."""

WINDOW_SIGMA = 2.7
"""Half width of the PSF window in σ."""

NEIGHBOUR_SIGMA_PX = 2.0
"""Spread of candidates around present emitters, fine pixels."""

MIN_TILE_PX = 8
TRANSITION_PSEUDO_COUNT = 100.0
START_PSEUDO_COUNT = 10.0


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed before the movie is seen frame by frame.

    Parameters
    ----------
    intensity : ndarray, fine grid with margin, float32
        Expected emitters per fine pixel; zero means impossible.
    flux_mean, flux_sd : float
        Mean light of an emitting frame over fluorophores, counts.
    light_cv : float
        Coefficient of variation from one emitting frame to the next.
    chain : BlinkingChain
        Its rows are Dirichlet means with the weight of 100 transitions.
    """

    intensity: FloatImage
    flux_mean: float
    flux_sd: float
    light_cv: float
    chain: BlinkingChain


class Sampler:
    """Guided birth-and-death Gibbs sampler over fluorophores and their blinking.

    Parameters
    ----------
    movie : ndarray, (T, Y, X), float32
        Background-free movie.
    weight : ndarray, (Y, X), float32
        Inverse noise variance per pixel.
    projection : Projection
        From the grid of `prior.intensity`, which reaches a whole number of camera pixels beyond
        the field on every side, to the camera.
    prior : Prior
    beta : float
        Likelihood temperature; 1 is the exact posterior, less mixes faster.
    seed : int
    start : ndarray, fine grid with margin, optional
        Density, of any scale, that the first emitters are drawn from in place of the prior's.
    exchanging : bool
        Whether neighbours exchange emissions (`exchange`).
    """

    def __init__(
        self,
        movie: NDArray[np.float32],
        weight: FloatImage,
        *,
        projection: Projection,
        prior: Prior,
        beta: float,
        seed: int,
        start: FloatImage | None = None,
        exchanging: bool = False,
    ) -> None:
        camera, fine = projection.camera, projection.fine
        self.factor = round(camera.pixel_size_nm / fine.pixel_size_nm)
        self.seed = seed
        self.sweeps_done = 0
        self.noise_scale = 1.0
        sigma = projection.psf.sigma_px(camera.pixel_size_nm)
        half = max(2, round(WINDOW_SIGMA * sigma))
        self.tile_px = max(MIN_TILE_PX, 2 * (half + 1))
        n_frames, h, w = movie.shape
        margin = (fine.shape[0] // self.factor - h) // 2
        self.pad_px = margin + half + 1
        self._n_tiles = (
            -(-(h + 2 * self.pad_px) // self.tile_px), -(-(w + 2 * self.pad_px) // self.tile_px),
        )  # fmt: skip
        rows, columns = (n * self.tile_px for n in self._n_tiles)
        self._inside = (slice(self.pad_px, self.pad_px + h), slice(self.pad_px, self.pad_px + w))
        self.field = new_field(movie, weight, self._inside, (rows, columns))
        self.field_weight = weight
        self.physics = Physics(
            sigma, half, beta, prior.flux_mean, prior.flux_sd, prior.light_cv,
            prior.chain.matrix, prior.chain.start, REACH_SIGMA * sigma if exchanging else 0.0,
        )  # fmt: skip
        self.prior = prior
        self.slots = new_slots(64, n_frames)
        self.set_prior(prior)
        self._populate(prior.intensity if start is None else start)

    @property
    def residual(self) -> NDArray[np.float32]:
        """Unexplained part of the movie inside the field, (Y, X, T); a view."""
        return self.field.residual[(*self._inside, slice(0, self.field.n_frames))]

    @property
    def chain(self) -> BlinkingChain:
        """The transition table learnt so far."""
        return BlinkingChain.from_matrix(self.physics.matrix)

    def on_fraction(self) -> float:
        """Mean share of the movie that a fluorophore of the learnt chain emits."""
        state = self.physics.start
        total = 0.0
        for _ in range(self.field.n_frames):
            total += state[EMITTING]
            state = state @ self.physics.matrix
        return float(total / self.field.n_frames)

    @property
    def live(self) -> NDArray[np.int64]:
        """Slots of the live emitters."""
        return np.flatnonzero(self.slots.alive)

    def fine_positions(self, live: NDArray[np.int64]) -> tuple[F64, F64]:
        """Rows and columns on the fine grid of the field without margin; integers are centres."""
        y, x = self.slots.y[live] - self.pad_px, self.slots.x[live] - self.pad_px
        return (y + 0.5) * self.factor - 0.5, (x + 0.5) * self.factor - 0.5

    def set_prior(self, prior: Prior, *, expand: bool = False) -> None:
        """Replace the prior density and flux; the chain learnt so far stays.

        Parameters
        ----------
        prior : Prior
        expand : bool
            Draw half of the birth candidates near the present emitters instead of by the prior
            (the paper's expansion to neighbours, 2.3.2). The odds correct for it, so the posterior
            stays the same; the candidates keep this density until the next call.
        """
        side = self.tile_px * self.factor
        intensity = self._on_tiles(prior.intensity)
        expected = _tile_blocks(intensity, side)
        mass = expected.sum(axis=1, dtype=np.float64)
        self._candidate_rate = np.ceil(CANDIDATE_SHARE * mass)
        proposal = _unit_rows(expected)
        if expand:
            near = _unit_rows(_tile_blocks(self._neighbourhood() * (intensity > 0), side))
            occupied = near.sum(axis=1) > 0
            proposal[occupied] = 0.5 * (proposal[occupied] + near[occupied])
        cumulative = np.cumsum(proposal, axis=1, dtype=np.float64)
        cumulative[:, -1] = 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = np.log(expected) - np.log(self._candidate_rate[:, None] * proposal)
            log_prior = np.log(intensity)
        odds[expected <= 0] = -np.inf
        self.guide = Guide(
            log_prior, _from_tile_blocks(odds, side, self._n_tiles).astype(np.float32),
            cumulative.astype(np.float32), self.factor, self.tile_px, self._n_tiles[1],
        )  # fmt: skip
        self.physics = self.physics._replace(flux_mean=prior.flux_mean, flux_sd=prior.flux_sd)
        self.prior = prior

    def _on_tiles(self, fine: FloatImage) -> FloatImage:
        """An image of the fine grid with its margin, on the fine pixels of all tiles."""
        padded = np.zeros([n * self.tile_px * self.factor for n in self._n_tiles], np.float32)
        o = (self.physics.half + 1) * self.factor
        padded[o : o + fine.shape[0], o : o + fine.shape[1]] = fine
        return padded

    def _neighbourhood(self) -> FloatImage:
        """Present emitters on the fine pixels of the tiles, each spread over its neighbours."""
        live = self.live
        density = np.zeros([n * self.tile_px * self.factor for n in self._n_tiles], np.float32)
        index = tuple(
            np.floor((p[live] + 0.5) * self.factor).astype(np.int64)
            for p in (self.slots.y, self.slots.x)
        )
        np.add.at(density, index, np.float32(1.0))
        return gaussian_filter(density, NEIGHBOUR_SIGMA_PX, mode="constant", truncate=3.0)

    def _populate(self, start: FloatImage) -> None:
        """Place the expected number of emitters by a density, each with a path of the chain."""
        rng = stream(self.seed, "initial emitters")
        density = self._on_tiles(start).astype(np.float64)
        expected = float(self.prior.intensity.sum(dtype=np.float64))
        cumulative = np.cumsum(density.ravel()) * (expected / density.sum())
        n = int(rng.poisson(expected))
        self.slots = slots = new_slots(n + n // 2 + 64, self.field.n_frames)
        cell = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
        row, column = np.divmod(np.minimum(cell, cumulative.size - 1), density.shape[1])
        slots.y[:n] = (row + rng.random(n)) / self.factor - 0.5
        slots.x[:n] = (column + rng.random(n)) / self.factor - 0.5
        slots.flux[:n] = self.prior.flux_mean
        slots.alive[:n] = 1
        state = rng.choice(3, size=n, p=self.physics.start)
        steps = np.cumsum(self.physics.matrix, axis=1)
        steps[:, -1] = 1.0
        for t in range(self.field.n_frames):
            slots.light[:n, t] = self.prior.flux_mean * (state == EMITTING)
            state = (rng.random(n)[:, None] >= steps[state]).sum(axis=1)
        subtract_emitters(slots, self.field, self.physics)

    def sweep(self, *, decide: bool, executor: Executor | None, n_workers: int) -> None:
        """Visit every emitter and every birth candidate once.

        Parameters
        ----------
        decide : bool
            False keeps every emitter and takes no candidates.
        executor : Executor or None
            Threads that share the tiles of one colour.
        n_workers : int
            Shares of each colour; the result does not depend on it.
        """
        order, ends = self._tile_order(births=decide)
        counts = np.zeros((len(ends) - 1, 8))
        key = stream_key(self.seed, "sweep", self.sweeps_done)

        def visit(tiles: NDArray[np.int64]) -> None:
            sweep_tiles(
                key, tiles, order, ends, self.slots, self.field, self.physics, self.guide,
                decide, counts,
            )  # fmt: skip

        n_slots = np.diff(ends)
        row, column = np.divmod(np.arange(n_slots.size), self._n_tiles[1])
        colour = 2 * (row % 2) + column % 2
        for c in range(4):
            tiles = np.flatnonzero((colour == c) & (n_slots > 0))
            if executor is None:
                visit(tiles)
            else:
                fullest_first = tiles[np.argsort(-n_slots[tiles], kind="stable")]
                for _ in executor.map(
                    visit, [fullest_first[i::n_workers] for i in range(n_workers)]
                ):
                    pass
        self._counts = counts.sum(axis=0)
        self.sweeps_done += 1

    def _tile_order(self, *, births: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Slots grouped by tile and where each group ends."""
        live = self.live
        n_tiles = self._candidate_rate.size
        # A Poisson number of candidates makes the prior of the number of emitters Poisson.
        rng = stream(self.seed, "candidates", self.sweeps_done)
        n_candidates = rng.poisson(self._candidate_rate) if births else 0
        candidates = np.repeat(np.arange(n_tiles), n_candidates)
        if live.size + candidates.size > self.slots.alive.size:
            self.slots = self._grown(int(1.25 * (live.size + candidates.size)))
        free = np.flatnonzero(self.slots.alive == 0)[: candidates.size]
        ty, tx = (
            np.floor(p[live] + 0.5).astype(np.int64) // self.tile_px
            for p in (self.slots.y, self.slots.x)
        )
        tile = np.concatenate([ty * self._n_tiles[1] + tx, candidates])
        by_tile = np.argsort(tile, kind="stable")
        ends = np.searchsorted(tile[by_tile], np.arange(n_tiles + 1))
        return np.concatenate([live, free])[by_tile], ends

    def _grown(self, n: int) -> Slots:
        new = new_slots(n, self.field.n_frames)
        for name, old in self.slots._asdict().items():
            getattr(new, name)[: len(old)] = old
        return new

    def set_temperature(self, beta: float) -> None:
        """Set the likelihood temperature of the following sweeps."""
        self.physics = self.physics._replace(beta=float(beta))

    def update_chain(self) -> None:
        """Transition table from the sampled paths and its Dirichlet prior (paper Eq. 11)."""
        ee, ed, de, dd, db = self._counts[:5]
        counts = np.array([[ee, ed, 0.0], [de, dd, db], [0.0, 0.0, 1.0]])
        matrix = counts + TRANSITION_PSEUDO_COUNT * self.prior.chain.matrix
        start = self._counts[5:] + START_PSEUDO_COUNT * self.prior.chain.start
        self.physics = self.physics._replace(
            matrix=matrix / matrix.sum(axis=1, keepdims=True), start=start / start.sum()
        )

    def update_background(self, width_frames: float) -> None:
        """Move what the residual keeps of a per-frame background out of it.

        A Gaussian has no negative frequency response, so repeating the update cannot oscillate.
        """
        w = self.field_weight
        level = np.einsum("yx,yxt->t", w, self.residual) / w.sum()
        self.residual[...] -= gaussian_filter1d(level, width_frames, mode="nearest")

    def update_noise(self) -> None:
        """Scale the noise variance to the residual."""
        residual = self.residual
        mean_square = np.einsum("yxt,yxt->yx", residual, residual) / residual.shape[2]
        self.noise_scale = float((self.field_weight * mean_square).mean())
        self.field.weight[self._inside] = self.field_weight / np.float32(self.noise_scale)


def _tile_blocks(image: FloatImage, side: int) -> FloatImage:
    """Fine pixels of each tile in one row, (n_tiles, side²)."""
    h, w = image.shape
    blocks = image.reshape(h // side, side, w // side, side).swapaxes(1, 2)
    return np.ascontiguousarray(blocks.reshape(-1, side * side))


def _from_tile_blocks(
    blocks: NDArray[np.floating], side: int, n_tiles: tuple[int, int]
) -> NDArray[np.floating]:
    """Inverse of `_tile_blocks`."""
    rows, columns = n_tiles
    return blocks.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, -1)


def _unit_rows(blocks: FloatImage) -> FloatImage:
    """Rows scaled to the sum 1; rows of zeros stay."""
    total = blocks.sum(axis=1, keepdims=True, dtype=np.float64)
    return (blocks / np.where(total > 0, total, 1.0)).astype(np.float32)
