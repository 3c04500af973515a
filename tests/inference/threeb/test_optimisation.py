"""Conjugate gradients on functions with known minima."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.inference.threeb.optimisation import line_search, minimise

FREE = np.full(4, 1e3)
A = np.diag([1.0, 3.0, 10.0, 40.0]) + 0.5
MINIMUM = np.array([1.0, -2.0, 3.0, 0.5])


def quadratic(x):
    return A @ (x - MINIMUM)


class Recorder:
    def __init__(self, gradient):
        self.gradient, self.points = gradient, []

    def __call__(self, x):
        self.points.append(np.array(x))
        return self.gradient(x)


def test_a_quadratic_in_p_dimensions_takes_p_searches():
    start = np.zeros(4)
    np.testing.assert_allclose(minimise(quadratic, start, FREE, max_searches=3), MINIMUM, atol=1e-6)
    # "Further searches beyond the first": with 2, the third is the last.
    assert np.abs(minimise(quadratic, start, FREE, max_searches=2) - MINIMUM).max() > 1e-4


def test_a_curved_valley():
    def rosenbrock(p):
        x, y = p
        return np.array([-2 * (1 - x) - 40 * x * (y - x**2), 20 * (y - x**2)])

    found = minimise(rosenbrock, np.array([-1.0, 1.0]), np.array([0.5, 0.5]), max_searches=400)
    np.testing.assert_allclose(found, [1, 1], atol=1e-5)


def test_no_step_is_longer_than_its_limit():
    limit = np.array([1.0, 0.25, 1.0, 1.0])
    for searches in range(3):
        before = (
            np.zeros(4)
            if searches == 0
            else minimise(quadratic, np.zeros(4), limit, max_searches=searches - 1)
        )
        after = minimise(quadratic, np.zeros(4), limit, max_searches=searches)
        assert (np.abs(after - before) <= limit * (1 + 1e-12)).all()
    first = minimise(quadratic, np.zeros(4), np.full(4, 1e-3), max_searches=0)
    assert np.abs(first).max() == pytest.approx(1e-3)


def test_the_slope_vanishes_at_the_end_of_a_search_to_the_tolerance():
    x = np.zeros(4)
    d = -quadratic(x)
    exact = -(quadratic(x) @ d) / (d @ A @ d)
    point, gradient = line_search(quadratic, x, d, FREE)
    np.testing.assert_allclose(point, exact * d, rtol=5e-8)
    np.testing.assert_array_equal(gradient, quadratic(point))


def test_steps_out_of_the_domain_are_halved():
    def log_barrier(p):  # minimum of p − ln p at 1
        return 1 - 1 / p if p[0] > 0 else np.full(1, np.nan)

    recorder = Recorder(log_barrier)
    found = minimise(recorder, np.array([5.0]), np.array([64.0]), max_searches=5)
    assert found == pytest.approx(1.0)
    assert min(p[0] for p in recorder.points) < 0


def test_nothing_moves_at_a_minimum_or_where_there_is_no_gradient():
    recorder = Recorder(quadratic)
    np.testing.assert_array_equal(minimise(recorder, MINIMUM, FREE, max_searches=9), MINIMUM)
    assert len(recorder.points) == 1
    nowhere = minimise(lambda x: np.full(4, np.nan), MINIMUM, FREE, max_searches=9)
    np.testing.assert_array_equal(nowhere, MINIMUM)


def test_the_first_search_goes_against_a_given_gradient():
    given = np.array([0.0, 0.0, 0.0, 1.0])
    recorder = Recorder(quadratic)
    found = minimise(
        recorder, MINIMUM + 2 * given, np.full(4, 5.0), max_searches=0, first_gradient=given
    )
    np.testing.assert_allclose(found, MINIMUM, atol=1e-6)
    # Against it the function rises here: nothing can be gained, and the next search is free.
    uphill = minimise(
        quadratic, MINIMUM - 2 * given, np.full(4, 5.0), max_searches=0, first_gradient=given
    )
    np.testing.assert_allclose(uphill, MINIMUM - 2 * given)
    onward = minimise(quadratic, MINIMUM - 2 * given, FREE, max_searches=8, first_gradient=given)
    np.testing.assert_allclose(onward, MINIMUM, atol=1e-5)
