"""Signals wait until a step is done."""

import os
import signal
import threading

import pytest

from dlbi.training.interruption import deferred_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_raises(number):
    usual = signal.getsignal(number)
    with deferred_interrupts() as came:
        assert not came()
        os.kill(os.getpid(), number)
        assert came()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is usual


def test_other_threads_get_no_signals_and_set_no_handlers():
    usual, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with deferred_interrupts() as came:
            seen.append((came(), signal.getsignal(signal.SIGINT) is usual))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]
