"""Stopping a training between two steps instead of within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_interrupts() -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C and SIGTERM instead of raising at once; the second one raises.

    Yields
    ------
    callable
        Whether one came. Always false outside the main thread, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if came.is_set():
            raise KeyboardInterrupt
        came.set()

    usual = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield came.is_set
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
