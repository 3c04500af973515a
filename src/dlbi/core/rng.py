"""Random streams keyed by meaning, so that order, chunking and workers cannot change a result."""

from __future__ import annotations

import zlib

import numpy as np

from dlbi.core.errors import InputError

RngLike = int | np.random.Generator | None


def as_generator(rng: RngLike) -> np.random.Generator:
    """A generator from a seed, another generator (returned as it is) or fresh entropy.

    Parameters
    ----------
    rng : int, Generator or None
        ``None`` draws a seed from the operating system.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    return np.random.default_rng(rng)


def root_seed(rng: RngLike) -> int:
    """A 63-bit seed: an int as it is, otherwise one draw from the generator.

    Everything random below one call derives from this number through `stream` and
    `stream_key`, so recording it in the provenance is enough to repeat the call.

    Raises
    ------
    InputError
        If it is negative.
    """
    if isinstance(rng, int | np.integer):
        if rng < 0:
            raise InputError(f"a seed is 0 or larger, got {rng}")
        return int(rng)
    return int(as_generator(rng).integers(0, 2**63 - 1))


def derived_seed(seed: int, *names: str | int) -> int:
    """The seed of a part of the work, e.g. one tile."""
    sequence = np.random.SeedSequence(seed, spawn_key=_spawn_key(names))
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _spawn_key(names: tuple[str | int, ...]) -> tuple[int, ...]:
    return tuple(zlib.crc32(n.encode()) if isinstance(n, str) else int(n) for n in names)


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of one purpose, e.g. ``stream(seed, "noise", frame)``.

    Parameters
    ----------
    seed : int
        Root seed, ≥ 0.
    *names : str or int
        What the numbers are for; other names give independent numbers.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=_spawn_key(names)))


def stream_key(seed: int, *names: str | int) -> np.uint64:
    """A 64-bit key for the counter-based kernels of `dlbi.core.kernels`, one per purpose."""
    sequence = np.random.SeedSequence(seed, spawn_key=_spawn_key(names))
    return np.uint64(sequence.generate_state(1, np.uint64)[0])
