"""The adapter of NanoPyx, with a program of the same interface in its place."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from scipy.ndimage import shift, zoom

from dlbi.bench.esrrf import esrrf, esrrf_is_installed
from dlbi.core.errors import InputError
from dlbi.evaluation.reprojection import correlation

SHIFT_PX = (2.0, 3.0)


@pytest.fixture
def nanopyx(monkeypatch):
    """A program that shows the mean at ×4, moved by whole pixels of that grid."""
    calls = []

    def program(frames, *, magnification):
        calls.append((frames.shape, magnification))
        fine = zoom(frames.mean(axis=0), magnification, order=1, grid_mode=True, mode="nearest")
        return shift(fine, SHIFT_PX, order=1, mode="nearest")[None]

    for name in ("nanopyx", "nanopyx.methods"):
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["nanopyx.methods"].eSRRF = program
    return calls


def test_the_image_lies_where_the_mean_has_it(nanopyx, tiny):
    stack = tiny.load().stack
    sr = esrrf(stack)
    assert nanopyx == [((24, 16, 16), 4)]
    assert sr.grid == stack.grid.refine(8)
    assert sr.provenance["shift_nm"] == pytest.approx([-80.0, -120.0], abs=25.0)
    inner = np.s_[32:-32, 32:-32]
    mean = zoom(stack.mean(), 8, order=1, grid_mode=True, mode="nearest")
    moved = shift(mean, 2 * np.array(SHIFT_PX), order=1, mode="nearest")
    assert correlation(sr.mean[inner], mean[inner]) > 0.98
    assert correlation(moved[inner], mean[inner]) < 0.93


def test_without_the_program_it_says_so(monkeypatch, tiny):
    monkeypatch.setattr("dlbi.bench.esrrf.find_spec", lambda name: None)
    assert not esrrf_is_installed()
    with pytest.raises(InputError, match="pip install nanopyx"):
        esrrf(tiny.load().stack)


def test_a_program_that_breaks_is_an_error_of_one_line(nanopyx, monkeypatch, tiny):
    def broken(frames, *, magnification):
        raise RuntimeError("no OpenCL device")

    monkeypatch.setattr(sys.modules["nanopyx.methods"], "eSRRF", broken)
    with pytest.raises(InputError, match="NanoPyx failed: no OpenCL device"):
        esrrf(tiny.load().stack)
