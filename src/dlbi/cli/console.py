"""What the program prints: results on stdout, warnings and errors in single lines on stderr."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dlbi.core.errors import DlbiWarning

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the steps done and the steps in all; a stage of no steps is a
milestone, of which the time is told."""

MAX_BARS = 12
"""Stages that stay on the screen."""

PLAIN_INTERVAL_S = 10.0
"""Least time between two plain progress lines of one stage."""


def one_line(text: str) -> str:
    """The text with every run of white space turned into one space."""
    return " ".join(text.split())


def tolerate_any_output() -> None:
    """Print nowhere what has no place, and as question marks what the terminal's encoding lacks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as a daemon does
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def discard_output() -> None:
    """Send what is still to be printed nowhere, after the reader has closed the pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Let a job queue's SIGTERM clean up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


@contextmanager
def printed_warnings() -> Iterator[None]:
    """Print each `DlbiWarning` as one line ``warning: …`` on stderr."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message, category, filename, lineno, file=None, line=None):  # type: ignore[no-untyped-def]
            if issubclass(category, DlbiWarning):
                print(f"warning: {one_line(str(message))}", file=sys.stderr, flush=True)
            else:
                usual(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", DlbiWarning)
        warnings.showwarning = show
        yield


@contextmanager
def progress_report() -> Iterator[Progress]:
    """A progress bar on a terminal, plain lines otherwise, both on stdout."""
    if not sys.stdout.isatty():
        yield PlainProgress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    start_s = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(*columns, TimeElapsedColumn()) as bars:
        tasks = {}

        def advance(stage: str, done: int, total: int) -> None:
            if total == 0:
                bars.console.print(_milestone(stage, time.monotonic() - start_s), highlight=False)
                return
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
                for old in list(tasks)[:-MAX_BARS]:
                    bars.update(tasks[old], visible=False)
            bars.update(tasks[stage], completed=done)

        yield advance


def _milestone(stage: str, seconds: float) -> str:
    return f"{stage} after {seconds:.1f} s"


class PlainProgress:
    """A line when a stage is complete, and every ten seconds on the way.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start_s = self._last_s = clock()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report the steps done of a stage."""
        now_s = self._clock()
        if total == 0:
            print(_milestone(stage, now_s - self._start_s), flush=True)
            return
        if done < total and now_s - self._last_s < PLAIN_INTERVAL_S:
            return
        self._last_s = now_s
        print(f"{stage}: {done} of {total}", flush=True)
