"""Tiny movies and outcomes that nobody had to compute."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from dlbi.bench.cases import Case, Outcome
from dlbi.bench.contestants import Contestant
from dlbi.bench.subjects import UPSCALING, Simulated
from dlbi.io.images import save_image


@pytest.fixture(scope="session")
def tiny():
    """A movie of 16×16×24 that shows light."""
    return Simulated(
        structure="rings", preset="meos3.2", seed=5, field_px=16, n_frames=24, shown=24
    )


@pytest.fixture
def outcome(tiny):
    """An outcome of a method of some name with given scores."""

    def make(name, scores, *, source=tiny, method="rl", seconds=1.0, picture=None):
        case = Case(source, Contestant(name=name, method=method))
        return Outcome(case, scores, seconds, 2 * seconds, [], picture)

    return make


@pytest.fixture
def invented(tmp_path):
    """Outcomes of tasks with random scores and images, as if they had been run."""

    def make(tasks):
        rng = np.random.default_rng(3)
        outcomes = []
        for case, pictured in tasks:
            stack = case.source.load().stack
            fine = stack.grid.refine(UPSCALING)
            keys = ["rsp", "rse", "rse_paper", "chi2"]
            if case.settings()["movie"]["kind"] == "simulated":
                truth = ["psnr_ls_db", "ssim_ls", "psnr_p999_db", "ssim_p999"]
                keys += ["pairs", "ladders", "bands"]
                keys += ["corr_0px", "corr_2px", "corr_4px", *truth, *(f"null_{k}" for k in truth)]
            picture = None
            if pictured:
                picture = tmp_path / f"{len(outcomes)}.ome.tif"
                save_image(picture, rng.random(fine.shape, np.float32), fine)
            scores = {key: float(rng.random()) for key in keys}
            outcomes.append(Outcome(case, scores, rng.random(), rng.random(), [], picture))
        return outcomes

    return make


@pytest.fixture
def film_of(tmp_path):
    """A movie file of a simulated movie, or of noise of a shape (T, Y, X)."""

    def write(name, movie):
        if isinstance(movie, tuple):
            frames = np.random.default_rng(1).integers(90, 900, movie).astype(np.uint16)
        else:
            frames = np.asarray(movie.load().stack.data[:])
        path = tmp_path / name
        tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
        return path

    return write
