"""eSRRF of NanoPyx, where it is installed: an optional peer, no dependency."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec

import numpy as np
from scipy.ndimage import shift, zoom

from dlbi.bench.subjects import UPSCALING
from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.images import ImageStack, Reconstruction
from dlbi.evaluation.squirrel import score_movie

MAGNIFICATION = 4
"""The image is made at ×4 with the program's other defaults, and refined to ×8."""


def esrrf_is_installed() -> bool:
    """Whether NanoPyx can be imported; it is not imported for the answer."""
    return find_spec("nanopyx") is not None


def esrrf(stack: ImageStack) -> Reconstruction:
    """ESRRF image of a movie, moved to where the mean frame has it.

    NanoPyx's images lie two to three fine pixels beside the structure; the shift is found on the
    mean frame and undone, so that it does not count as an error.

    Raises
    ------
    InputError
        If NanoPyx is not installed, or fails.

    References
    ----------
    Laine et al. 2023, doi:10.1038/s41592-023-02057-w.
    """
    if not esrrf_is_installed():
        raise InputError("eSRRF needs NanoPyx, which is not installed; pip install nanopyx")
    program = import_module("nanopyx.methods").eSRRF
    try:
        found = program(stack.load(), magnification=MAGNIFICATION)
    except Exception as error:  # another program's: missing devices, drivers, compilers
        raise InputError(f"NanoPyx failed: {error}") from error
    image = np.squeeze(np.asarray(found, np.float32))
    refined = zoom(image, UPSCALING // MAGNIFICATION, order=1, mode="nearest", grid_mode=True)
    sr = Reconstruction(np.maximum(refined, 0.0), stack.grid.refine(UPSCALING))
    return registered(sr, stack)


def registered(sr: Reconstruction, stack: ImageStack) -> Reconstruction:
    """An image moved by the shift with which it explains the mean frame best."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DlbiWarning)
        shift_nm = score_movie(sr, stack, register=True).shift_nm
    fine = sr.grid
    moved = shift(sr.mean, np.array(shift_nm) / fine.pixel_size_nm, order=1, mode="nearest")
    record = {"method": "esrrf", "shift_nm": list(shift_nm)}
    return Reconstruction(np.maximum(moved, 0.0), fine, provenance=record)
