"""Time-lapse: every window of frames reconstructed apart, with one microscope for all of them."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from dlbi.core.errors import DlbiWarning, InputError
from dlbi.core.images import ImageStack, Reconstruction, expect_movie
from dlbi.core.optics import GaussianPSF
from dlbi.core.rng import RngLike, derived_seed, root_seed
from dlbi.core.scope import Scope
from dlbi.inference.measurement.defects import without_defects
from dlbi.inference.measurement.noise import fit_noise
from dlbi.reconstruction.measurement import optics_of, tell_defects, tell_gaps
from dlbi.reconstruction.options import UNBLURRED, Options
from dlbi.reconstruction.pipeline import Progress, reconstruct_given
from dlbi.reconstruction.scoping import Given, given_by
from dlbi.reconstruction.threeb import announce_threeb

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?")
"""In which warnings of one kind may differ."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of equal length along a movie, in time order.

    Parameters
    ----------
    n_frames : int
        Of the movie.
    window : int
        Frames in each window.
    step : int or None
        Frames from the start of one window to that of the next; `window` if None.

    Raises
    ------
    InputError
        If a window holds fewer than 2 frames or more than the movie, the step is below 1, or either
        is no whole number.
    """

    n_frames: int
    window: int
    step: int | None = None

    def __post_init__(self) -> None:
        """Validate."""
        if not all(isinstance(n, int | np.integer) for n in (self.window, self.step or 1)):
            raise InputError(
                f"windows and their steps are whole numbers of frames, got {self.window} and "
                f"{self.step}"
            )
        if self.window < 2:
            raise InputError(
                f"a window of {self.window} frames cannot show blinking; 2 or more are needed, "
                "and some hundred are better"
            )
        if self.step is not None and self.step < 1:
            raise InputError(
                f"windows go forward in time, got a step of {self.step}; use 1 or more"
            )
        if self.window > self.n_frames:
            raise InputError(
                f"a window of {self.window} frames is longer than the {self.n_frames} of the "
                "movie; choose a shorter one"
            )

    @property
    def stride(self) -> int:
        """Frames from one start to the next."""
        return self.window if self.step is None else self.step

    def __len__(self) -> int:
        """Number of windows; what is left at the end is shorter than a window."""
        return 1 + (self.n_frames - self.window) // self.stride

    def __getitem__(self, index: int) -> slice:
        """Frames of a window."""
        start = range(len(self))[index] * self.stride
        return slice(start, start + self.window)

    @property
    def n_left_out(self) -> int:
        """Frames behind the last window."""
        return self.n_frames - int(self[-1].stop)


def reconstruct_windows(
    stack: ImageStack,
    *,
    window: int,
    step: int | None = None,
    first: int = 0,
    psf: GaussianPSF | None = None,
    scope: Scope | None = None,
    rng: RngLike = None,
    progress: Progress | None = None,
    **options: Any,
) -> Iterator[tuple[slice, Reconstruction]]:
    """Reconstruct every window of a movie apart, one after the other.

    What belongs to the microscope is measured once, on all frames, and holds for every window: PSF,
    noise and defective pixels of the camera. Structure, background and blinking belong to each
    window. No window is brightened or dimmed, so all images are in counts of the movie per fine
    pixel and frame.

    Parameters
    ----------
    stack : ImageStack
        As in `reconstruct`; each window is read when its turn comes.
    window : int
        Frames in each window, at least 2. Frames at the end that fill no window are left out.
    step : int, optional
        Frames from the start of one window to that of the next; `window` by default.
    first : int
        Number of the window to begin with, from 0: what an earlier run has done is left out, and
        changes nothing of the rest.
    psf, scope, rng
        As in `reconstruct`. A window draws its numbers from the seed and its first frame.
    progress : callable, optional
        Called with ("window i of n, stage", done, total); without milestones.
    **options
        `method`, `guide`, `model`, `quality`, `start`, `n_chains`, `guide_iterations`, `upscaling`
        and `n_workers` as in `reconstruct`.

    Yields
    ------
    frames : slice
        Frames of the window in `stack`.
    reconstruction : Reconstruction

    Raises
    ------
    InputError, ShapeError
        As `reconstruct`, and if no such windows fit the movie; at once, before the first window.

    Warns
    -----
    DlbiWarning
        As `reconstruct`; what a window warns of begins with its number. What later windows warn of
        in the same words, but for numbers, is told once more, after the last one.

    Examples
    --------
    >>> for frames, sr in dlbi.reconstruct_windows(movie, window=200):  # doctest: +SKIP
    ...     print(frames.start, sr.mean.sum())
    """
    expect_movie(stack)
    windows = Windows(stack.n_frames, window, step)
    chosen = Options(**options)
    head = stack.select(windows[0])
    chosen.check(head)
    given = given_by(scope, stack, psf)
    if chosen.method == "3b":
        announce_threeb(head, chosen.quality, n_runs=len(windows) - first)
    return _each(
        stack, windows, _measured_once(stack, given, chosen.method), chosen,
        first=first, seed=root_seed(rng), progress=progress,
    )  # fmt: skip


def _measured_once(stack: ImageStack, given: Given, method: str) -> Given:
    """Defects and noise of the camera and PSF in the whole movie, unless they are given."""
    stack, defects = without_defects(stack)
    tell_defects(defects)
    noise = fit_noise(stack) if given.noise is None else given.noise
    tell_gaps(stack, noise)
    given = replace(given, noise=noise, defects=defects)
    if method in UNBLURRED:
        return given
    psf, halo, record = optics_of(stack, given.psf, given.halo, given.psf_record)
    return replace(given, psf=psf, psf_record=record, halo=halo)


def _each(
    stack: ImageStack,
    windows: Windows,
    given: Given,
    options: Options,
    *,
    first: int,
    seed: int,
    progress: Progress | None,
) -> Iterator[tuple[slice, Reconstruction]]:
    told = _Told()
    for n in range(first, len(windows)):
        frames = windows[n]
        name = f"window {n + 1} of {len(windows)}"
        with told.by(name):
            sr = reconstruct_given(
                stack.select(frames), given, options,
                seed=derived_seed(seed, "window", frames.start),
                progress=None if progress is None else partial(_report, progress, name),
            )  # fmt: skip
        yield frames, sr
    told.again()


def _report(progress: Progress, name: str, stage: str, done: int, total: int) -> None:
    if total > 0:  # the milestones of each window would be too much
        progress(f"{name}, {stage}", done, total)


class _Told:
    """Warnings of windows: each kind once with its window, then how often it came again.

    Of one kind are those that differ in numbers only.
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._more: Counter[str] = Counter()

    @contextmanager
    def by(self, name: str) -> Iterator[None]:
        """Put the name of a window at the head of what it warns of first."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DlbiWarning)
            yield
        for told in caught:
            if not issubclass(told.category, DlbiWarning):
                warnings.warn_explicit(told.message, told.category, told.filename, told.lineno)
                continue
            kind = NUMBER.sub("", str(told.message))
            if kind in self._first:
                self._more[kind] += 1
            else:
                self._first[kind] = f"{name}: {told.message}"
                warnings.warn_explicit(self._first[kind], told.category, told.filename, told.lineno)

    def again(self) -> None:
        """Say how many more windows warn of the same."""
        for kind, n in self._more.items():
            windows = "1 later window warns" if n == 1 else f"{n} later windows warn"
            warnings.warn(f"{windows} like {self._first[kind]}", DlbiWarning, stacklevel=3)
