"""Movies given by path: a local patch, and the whole field where it is larger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dlbi.bench.subjects import N_FRAMES, Subject
from dlbi.core.errors import InputError
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.io.provenance import content_sha256
from dlbi.io.stacks import load_stack
from dlbi.learning.passes import MIN_SIDE_PX

WHOLE = 2**31
"""A side that no field has, so the patch is all of it."""

Roi = tuple[int, int, int, int]
"""(x, y, width, height) in camera pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filmed:
    """A region of a movie file.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of its content, which takes the place of the path in `settings`.
    seed : int
        Of the methods.
    pixel_size_nm : float
    psf_fwhm_nm : float or None
    roi : tuple of int
        (x, y, width, height) in camera pixels.
    n_frames : int
        The first frames of the file.
    """

    path: Path
    sha256: str
    seed: int
    pixel_size_nm: float
    psf_fwhm_nm: float | None
    roi: Roi
    n_frames: int

    @property
    def title(self) -> str:
        """Name of the file and region."""
        return f"{self.path.name} [{', '.join(map(str, self.roi))}]"

    def settings(self) -> dict[str, Any]:
        """All fields but the folder of the file."""
        return {"kind": "filmed", **asdict(self), "path": self.path.name}

    def load(self) -> Subject:
        """The region, opened lazily."""
        whole = load_stack(self.path, pixel_size_nm=self.pixel_size_nm)
        psf = None if self.psf_fwhm_nm is None else GaussianPSF(self.psf_fwhm_nm)
        return Subject(whole.select(slice(0, self.n_frames), self.roi), None, psf)


def film(
    path: Path,
    *,
    seed: int,
    patch_px: int,
    pixel_size_nm: float | None = None,
    psf_fwhm_nm: float | None = None,
    roi: Roi | None = None,
) -> tuple[Filmed, Filmed | None]:
    """The patch of a movie that all methods get, and its whole field if that is larger.

    Parameters
    ----------
    path : Path
    seed : int
        Of the methods.
    patch_px : int
        Side of the patch in the middle of the field, if no region is given.
    pixel_size_nm : float, optional
        If the file does not say.
    psf_fwhm_nm : float, optional
        Measured from the movie if not given.
    roi : tuple of int, optional
        The patch.

    Raises
    ------
    InputError
        If the movie cannot be read, or the patch is too small or reaches outside.
    """
    stack = load_stack(path, pixel_size_nm=pixel_size_nm)
    height, width = stack.grid.shape
    patch = roi or _middle(stack, patch_px)
    stack.select(roi=patch)
    if min(patch[2:]) < MIN_SIDE_PX:
        raise InputError(
            f"{path}: the methods need {MIN_SIDE_PX}×{MIN_SIDE_PX} camera pixels, the region has "
            f"{patch[2]}×{patch[3]}; choose a larger one with --roi"
        )
    filmed = Filmed(
        path=path,
        sha256=content_sha256(path),
        seed=seed,
        pixel_size_nm=stack.grid.pixel_size_nm,
        psf_fwhm_nm=psf_fwhm_nm,
        roi=patch,
        n_frames=min(N_FRAMES, stack.n_frames),
    )
    whole = (0, 0, width, height)
    return filmed, None if patch == whole else replace(filmed, roi=whole)


def channel_pair(
    paths: tuple[Path, Path], given: Callable[..., tuple[Filmed, Filmed | None]]
) -> tuple[Filmed, Filmed]:
    """Two movies of one field, whole unless a region is given.

    Parameters
    ----------
    paths : tuple of Path
    given : callable
        `film` with all but the path and the side of the patch.

    Raises
    ------
    InputError
        If a movie cannot be read or their fields differ.
    """
    first, second = (given(path, patch_px=WHOLE)[0] for path in paths)
    if (first.roi, first.pixel_size_nm) != (second.roi, second.pixel_size_nm):
        raise InputError(
            f"{paths[0]} and {paths[1]} do not show one field: {_extent(first)} and "
            f"{_extent(second)}; cut them to the same region"
        )
    return first, second


def _middle(stack: ImageStack, side_px: int) -> Roi:
    height, width = stack.grid.shape
    w, h = min(side_px, width), min(side_px, height)
    return (width - w) // 2, (height - h) // 2, w, h


def _extent(filmed: Filmed) -> str:
    return f"{filmed.roi[2]}×{filmed.roi[3]} px of {filmed.pixel_size_nm:g} nm"
