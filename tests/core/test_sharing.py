import threading

import numpy as np
import pytest

from dlbi.core.sharing import alone, shared_among


@pytest.mark.parametrize("n_workers", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_every_row_is_worked_on_once(n_workers, n):
    visits = np.zeros(n, int)

    def work(start, stop):
        visits[start:stop] += 1

    with shared_among(n_workers) as share:
        share(work, n)
        share(work, n)
    assert (visits == 2).all()


def test_one_worker_is_the_calling_thread():
    with shared_among(1) as share:
        assert share is alone
    seen = []
    alone(lambda start, stop: seen.append((start, stop, threading.get_ident())), 5)
    assert seen == [(0, 5, threading.get_ident())]


def test_workers_work_at_the_same_time():
    both = threading.Barrier(2, timeout=20)
    with shared_among(2) as share:
        share(lambda start, stop: both.wait(), 2)


def test_what_goes_wrong_in_a_thread_is_raised():
    def work(start, stop):
        raise ValueError(f"rows {start} to {stop}")

    with shared_among(2) as share, pytest.raises(ValueError, match="rows 0 to 2"):
        share(work, 4)
