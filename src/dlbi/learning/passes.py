"""Many passes of the network over a movie, each in another orientation and with other dropout.

Passes and tiles run in threads; the sums are taken in a fixed order, so any number of threads gives
the same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.images import FloatImage, ImageStack
from dlbi.core.kernels import F32
from dlbi.learning.dropout import dropout_mask
from dlbi.learning.network import UPSCALING, Network
from dlbi.learning.observation import CHANNELS, Observation
from dlbi.learning.symmetry import SYMMETRIES, apply, apply_image, undo_image
from dlbi.tiling import Region, plan, scale

MIN_SIDE_PX = 16
"""Camera pixels along the shorter side of a field."""

COMPACT_PASSES, PAPER_PASSES = 8, 50
COMPACT_TILE_PX, PAPER_TILE_PX = 226 * 226, 128 * 128
"""Camera pixels computed at once: 0.6 GB and 1 GB for each worker, beside the images."""

Progress = Callable[[int, int], None]
"""Called with the passes over tiles that are done and those in all."""

A = TypeVar("A")
B = TypeVar("B")

_TINY = 1e-6


class Passes(NamedTuple):
    """What all passes say together, before any correction, (Y·8, X·8) float32.

    Parameters
    ----------
    amplitude : ndarray
        Mean over the passes.
    spread : ndarray
        √(variance stated within a pass + variance between passes) of the amplitude.
    score : ndarray
        Larger where there is structure: the mean logit of a compact network; for a paper network,
        which has none, amplitude ÷ spread.
    """

    amplitude: FloatImage
    spread: FloatImage
    score: FloatImage


def run_passes(
    network: Network,
    observation: Observation,
    *,
    seed: int,
    n_passes: int = COMPACT_PASSES,
    n_workers: int = 1,
    progress: Progress | None = None,
    max_tile_px: int = COMPACT_TILE_PX,
) -> Passes:
    """Passes behind `predict`, same parameters; the input of `fit_confidence`."""
    _check_kind(network, "compact")
    shape = _checked_shape(observation.statistics.shape[-2:])
    expected = (UPSCALING * shape[0], UPSCALING * shape[1])
    if observation.statistics.shape[0] != len(CHANNELS) or observation.guide.shape != expected:
        raise ShapeError(
            f"an observation of a {shape[1]}×{shape[0]} field needs {len(CHANNELS)} statistics and "
            f"a guide of shape {expected}, got {observation.statistics.shape[0]} and "
            f"{observation.guide.shape}; make it with observe"
        )
    return _joined(
        network, shape, partial(_compact_pass, network, observation, seed), n_passes,
        n_workers=n_workers, progress=progress, max_tile_px=max_tile_px,
    )  # fmt: skip


def run_frame_passes(
    network: Network,
    stack: ImageStack,
    *,
    seed: int,
    n_passes: int = PAPER_PASSES,
    n_workers: int = 1,
    progress: Progress | None = None,
    max_tile_px: int = PAPER_TILE_PX,
) -> Passes:
    """Passes behind `predict_frames`, same parameters; the input of `fit_confidence`."""
    _check_kind(network, "paper")
    wanted = network.metadata.n_frames
    if stack.n_frames != wanted:
        raise InputError(
            f"this network reads exactly {wanted} frames, the movie has {stack.n_frames}; choose "
            f"{wanted} of them with --frames A:B, or another network"
        )
    frames = normalised_frames(stack.load())
    passes = _joined(
        network, _checked_shape(stack.grid.shape),
        partial(_paper_pass, network, frames, seed), 2 * n_passes,
        n_workers=n_workers, progress=progress, max_tile_px=max_tile_px,
    )  # fmt: skip
    return passes._replace(score=passes.amplitude / (passes.spread + np.float32(_TINY)))


def normalised_frames(frames: F32) -> F32:
    """Frames (T, Y, X) on the scale where the first spans [−1, 1] (the authors' programs).

    Raises
    ------
    InputError
        If the first frame is constant.
    """
    low, high = float(frames[0].min()), float(frames[0].max())
    if not high > low:
        raise InputError(
            f"the first frame is constant ({low:g}), so the movie cannot be normalised; leave it "
            "out with --frames A:B"
        )
    return np.asarray((frames - np.float32(low)) * np.float32(2.0 / (high - low)) - 1.0, np.float32)


def _compact_pass(
    network: Network, observation: Observation, seed: int, region: Region, n_pass: int
) -> F32:
    """Amplitude, its variance and the logit, as seen by one pass over a region."""
    k = SYMMETRIES[n_pass % len(SYMMETRIES)]
    metadata = network.metadata
    chosen = [CHANNELS.index(name) for name in metadata.channels]
    statistics = apply(observation.statistics[:, *region], k)[chosen]
    guide = apply_image(observation.guide[scale(region, UPSCALING)], k)
    mask = apply_image(_mask(network, seed, n_pass, observation.statistics.shape[-2:], region), k)
    image = undo_image(network.run(statistics[None], guide[None, None], mask[None])[0], k)
    return np.stack([image[0], np.exp(2.0 * image[1]), image[2]])


def _paper_pass(network: Network, frames: F32, seed: int, region: Region, n_pass: int) -> F32:
    k = n_pass % 2
    mask = apply_image(_mask(network, seed, n_pass, frames.shape[-2:], region), k)
    image = network.run_frames(apply_image(frames[:, *region], k)[None], mask[None])[0, 0]
    amplitude = 0.5 * (undo_image(image, k) + 1.0)
    nothing = np.zeros_like(amplitude)
    return np.stack([amplitude, nothing, nothing])


def _mask(network: Network, seed: int, n_pass: int, shape: tuple[int, ...], region: Region) -> F32:
    return dropout_mask(
        seed, n_pass, keep=network.metadata.keep, n_channels=network.metadata.mask_channels,
        shape=(shape[0], shape[1]), region=region,
    )  # fmt: skip


def _joined(
    network: Network,
    shape: tuple[int, int],
    one_pass: Callable[[Region, int], F32],
    n_passes: int,
    *,
    n_workers: int,
    progress: Progress | None,
    max_tile_px: int,
) -> Passes:
    """Run all passes over all tiles and join them."""
    if n_passes < 1 or n_workers < 1:
        raise InputError(f"passes and workers must be at least 1, got {n_passes} and {n_workers}")
    tiles = plan(shape, max_px=max_tile_px, halo_px=network.metadata.halo_px)
    jobs = product(tiles, range(n_passes))
    parts = _in_order(lambda job: one_pass(job[0].outer, job[1]), jobs, n_workers)
    passes = Passes(*(np.empty([UPSCALING * n for n in shape], np.float32) for _ in Passes._fields))
    for n_tile, tile in enumerate(tiles):
        core, inner = scale(tile.core, UPSCALING), scale(tile.inner, UPSCALING)
        total = np.zeros([3, *(s.stop - s.start for s in core)])
        squares = np.zeros_like(total[0])
        for n_pass in range(n_passes):
            part = next(parts)[:, *inner]
            total += part
            squares += np.square(part[0], dtype=np.float64)
            if progress is not None:
                progress(n_tile * n_passes + n_pass + 1, len(tiles) * n_passes)
        if not np.isfinite(total).all():
            raise InputError(
                "the network gives values that are not finite for this movie; look for extreme "
                "values in it, or take another network"
            )
        amplitude, within, score = total / n_passes
        between = np.maximum(squares / n_passes - amplitude**2, 0.0)
        for whole, values in zip(
            passes, (amplitude, np.sqrt(within + between), score), strict=True
        ):
            whole[core] = values
    return passes


def _in_order(function: Callable[[A], B], jobs: Iterable[A], n_workers: int) -> Iterator[B]:
    """Results of the jobs in their order, few of them waiting at any time."""
    with ThreadPoolExecutor(n_workers) as pool:
        pending: deque[Future[B]] = deque()
        for job in jobs:
            pending.append(pool.submit(function, job))
            if len(pending) > 2 * n_workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _check_kind(network: Network, kind: str) -> None:
    if network.metadata.kind != kind:
        raise InputError(
            f"a network of kind {kind} is needed, {network.metadata.name} is of kind "
            f"{network.metadata.kind}; give another one"
        )


def _checked_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    h, w = shape
    if min(h, w) < MIN_SIDE_PX:
        raise ShapeError(
            f"the network needs a field of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} camera pixels, got "
            f"{w}×{h}; choose a larger region or another method"
        )
    return h, w
