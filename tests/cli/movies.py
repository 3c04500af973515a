"""Movies of plain counts for tests that only need a file."""

from __future__ import annotations

import numpy as np
import tifffile


def counts(shape=(30, 24, 24), seed=5):
    return np.random.default_rng(seed).integers(90, 900, shape).astype(np.uint16)


def write_movie(path, movie, **options):
    tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TYX"}, **options)
    return path
