"""Independent rows divided among threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

Share = Callable[[Callable[[int, int], None], int], None]
"""Calls ``work(start, stop)`` until ``range(n)`` is covered once; returns when all is done."""


def alone(work: Callable[[int, int], None], n: int) -> None:
    """Everything at once, on the calling thread."""
    work(0, n)


@contextmanager
def shared_among(n_workers: int) -> Iterator[Share]:
    """Threads for work that releases the GIL, each with an equal part of the range.

    The calling thread takes the first part itself.
    """
    if n_workers == 1:
        yield alone
        return
    with ThreadPoolExecutor(n_workers - 1) as pool:

        def share(work: Callable[[int, int], None], n: int) -> None:
            ends = np.linspace(0, n, n_workers + 1).astype(int).tolist()
            others = [pool.submit(work, *part) for part in pairwise(ends[1:])]
            work(0, ends[1])
            for other in others:
                other.result()

        yield share
