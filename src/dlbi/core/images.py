"""The images that travel between stages, each with its grid and unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from dlbi.core.emitters import Emitters
from dlbi.core.errors import InputError, ShapeError, expect
from dlbi.core.grid import PixelGrid

FloatImage = NDArray[np.float32]
"""An image in float32, (Y, X), or a stack of them, (T, Y, X)."""


REAL_KINDS = "buif"
"""Kinds of NumPy types that counts come in: yes or no, whole and floating-point numbers."""


class FrameSource(Protocol):
    """Anything sliceable as (T, Y, X): NumPy, Zarr or a lazy TIFF."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, Y, X)."""

    def __getitem__(self, key: Any, /) -> Any:
        """Frames and regions by slices."""


def expect_movie(value: object) -> None:
    """Refuse what is no `ImageStack`.

    Raises
    ------
    InputError
    """
    how = "dlbi.load_stack reads one, ImageStack(frames, PixelGrid((Y, X), nm)) takes an array"
    expect("a movie", value, ImageStack, how)


def expect_reconstruction(value: object) -> None:
    """Refuse what is no `Reconstruction`.

    Raises
    ------
    InputError
    """
    how = "dlbi.reconstruct makes one, dlbi.load_reconstruction reads one"
    expect("an image", value, Reconstruction, how)


def _expect_counts(data: object) -> None:
    if not hasattr(data, "shape"):
        raise InputError(
            f"frames must be an array (T, Y, X), got {type(data).__name__}; "
            "give numpy.array(frames)"
        )
    kind = getattr(getattr(data, "dtype", None), "kind", "f")
    if kind not in REAL_KINDS:
        raise InputError(
            f"frames must be real numbers, got {data.dtype}; give counts"  # type: ignore[attr-defined]
        )
    if np.ma.is_masked(data):
        raise InputError("frames with masked values cannot be used; choose a region without them")


def as_slice(part: range) -> slice:
    """What takes the places of a range that rises."""
    return slice(part.start, part.stop, part.step)


@dataclass(frozen=True, slots=True)
class ImageStack:
    """A movie of one field.

    Parameters
    ----------
    data : array-like, (T, Y, X)
        Camera frames; sliced lazily, never copied whole.
    grid : PixelGrid
        Camera pixels.
    frame_interval_s : float or None
        Time from frame to frame, if known.
    unit : {"adu", "photon"}
        What one count stands for.

    Raises
    ------
    ShapeError
        If the data have not three axes, the grid differs or there are fewer than 2 frames.
    InputError
        If the data are no array, not of real numbers, or an array with masked values.
    """

    data: FrameSource
    grid: PixelGrid
    frame_interval_s: float | None = None
    unit: Literal["adu", "photon"] = "adu"

    def __post_init__(self) -> None:
        """Validate numbers, axes, grid and frame count."""
        _expect_counts(self.data)
        expect("the grid of a movie", self.grid, PixelGrid, "give PixelGrid((Y, X), pixel_size_nm)")
        shape = tuple(self.data.shape)
        if len(shape) != 3:
            raise ShapeError(f"a movie needs three axes (T, Y, X), got shape {shape}")
        if shape[1:] != self.grid.shape:
            raise ShapeError(f"frames are {shape[1:]} but the grid is {self.grid.shape}")
        if shape[0] < 2:
            raise ShapeError(
                f"a movie needs at least 2 frames, got {shape[0]}; a single image cannot blink"
            )

    @property
    def n_frames(self) -> int:
        """Number of frames T."""
        return int(self.data.shape[0])

    def load(self, frames: slice = slice(None)) -> FloatImage:
        """Frames as float32, (T, Y, X)."""
        return np.ascontiguousarray(self.data[frames], dtype=np.float32)

    def chunks(self, n_frames: int = 64) -> Iterator[tuple[slice, FloatImage]]:
        """Consecutive runs of at most `n_frames` frames with their slices."""
        for start in range(0, self.n_frames, n_frames):
            frames = slice(start, min(start + n_frames, self.n_frames))
            yield frames, self.load(frames)

    def mean(self) -> FloatImage:
        """Time average, (Y, X), float32, read in chunks."""
        total = np.zeros(self.grid.shape, np.float64)
        for _, frames in self.chunks():
            total += frames.sum(axis=0, dtype=np.float64)
        return (total / self.n_frames).astype(np.float32)

    def select(
        self,
        frames: slice = slice(None),
        roi: tuple[int, int, int, int] | None = None,
    ) -> ImageStack:
        """Part of the movie.

        Parameters
        ----------
        frames : slice
            Frames to keep. A step of k takes every k-th frame: exposures stay as they are, and
            the frame interval becomes k times as long.
        roi : tuple of int, optional
            (x, y, width, height) in camera pixels, the paper's order (3.4.1).

        Raises
        ------
        InputError
            If the region reaches outside the field, the step is not positive or fewer than two
            frames remain.
        """
        h, w = self.grid.shape
        x0, y0, width, height = roi if roi is not None else (0, 0, w, h)
        if x0 < 0 or y0 < 0 or width < 1 or height < 1 or x0 + width > w or y0 + height > h:
            raise InputError(
                f"region x={x0}, y={y0}, width={width}, height={height} reaches outside the "
                f"{w}×{h} field; choose 0 ≤ x, x + width ≤ {w} and 0 ≤ y, y + height ≤ {h}"
            )
        start, stop, step = frames.indices(self.n_frames)
        if step < 1:
            raise InputError(f"frames go forward in time, got a step of {step}; use 1 or more")
        taken = range(start, stop, step)
        if len(taken) < 2:
            every = "" if step == 1 else f":{step}"
            raise InputError(
                f"frames {start}:{stop}{every} of {self.n_frames} leave fewer than 2; choose a "
                "longer run"
            )
        view = _View(self.data, taken, range(y0, y0 + height), range(x0, x0 + width))
        interval = None if self.frame_interval_s is None else step * self.frame_interval_s
        grid = self.grid.crop(y0, x0, height, width)
        return replace(self, data=view, grid=grid, frame_interval_s=interval)


@dataclass(frozen=True, slots=True)
class _View:
    """A region of a frame source that is read only when sliced along time."""

    source: FrameSource
    frames: range
    rows: range
    columns: range

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, Y, X)."""
        return tuple(map(len, (self.frames, self.rows, self.columns)))

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> Any:
        """Frames, or frames and a region, by slices of positive step."""
        keys = key if isinstance(key, tuple) else (key,)
        axes = (self.frames, self.rows, self.columns)
        keys += (slice(None),) * (len(axes) - len(keys))
        parts = (axis[part] for axis, part in zip(axes, keys, strict=True))
        return self.source[tuple(as_slice(part) for part in parts)]


FRAMES_AT_ONCE = 32
"""Frames that are changed together where more than the pixels asked for must be read."""


@dataclass(frozen=True, slots=True)
class ChangedFrames(ABC):
    """Frames of another source that are changed when they are read.

    Parameters
    ----------
    source : FrameSource
    """

    source: FrameSource

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, Y, X)."""
        return tuple(self.source.shape)

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> NDArray[Any]:
        """Frames, or frames and a region, by slices of positive step."""
        keys = key if isinstance(key, tuple) else (key,)
        keys += (slice(None),) * (3 - len(keys))
        frames, rows, columns = (range(n)[part] for n, part in zip(self.shape, keys, strict=True))
        return self.read(frames, rows, columns)

    @abstractmethod
    def read(self, frames: range, rows: range, columns: range) -> NDArray[Any]:
        """These frames and pixels, changed, (T, Y, X)."""


@dataclass(frozen=True, slots=True)
class StructureImage:
    """Density of fluorophores on a fine grid.

    Parameters
    ----------
    density : ndarray, (Y, X), float32
        Expected fluorophores per pixel up to a common factor; finite and non-negative.
    grid : PixelGrid
        Fine pixels.

    Raises
    ------
    ShapeError
        If the density does not fit the grid.
    InputError
        If it is negative or not finite.
    """

    density: FloatImage
    grid: PixelGrid

    def __post_init__(self) -> None:
        """Validate shape, sign and finiteness."""
        if self.density.shape != self.grid.shape:
            raise ShapeError(f"density {self.density.shape} does not fit grid {self.grid.shape}")
        if not np.isfinite(self.density).all() or self.density.min() < 0:
            raise InputError("a density must be finite and non-negative in every pixel")


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A super-resolved image with its uncertainty and origin.

    Parameters
    ----------
    mean : ndarray, (Y, X), float32
        Time-averaged signal emitted per fine pixel, background removed, in counts of the movie:
        blurred by the PSF and binned it is the mean frame without background.
    grid : PixelGrid
        Fine pixels, sharing the outer corner with the camera grid.
    std : ndarray or None
        Standard deviation of `mean`, same shape and unit.
    p_value : ndarray or None
        Small means structure. With a network, the share of empty pixels among all pixels that look
        at least as clear; without, that share as the image itself tells, or the probability of no
        light at the camera pixel if it is larger.
    occupancy : ndarray or None
        Probability of a fluorophore in the square of 5×5 fine pixels around each pixel.
    emitters : Emitters or None
    background : ndarray or None
        Smooth light that was left out of `mean`, on the camera grid, counts.
    provenance : mapping
        Method, versions, seed, configuration and diagnostics; plain JSON values.
    """

    mean: FloatImage
    grid: PixelGrid
    std: FloatImage | None = None
    p_value: FloatImage | None = None
    occupancy: FloatImage | None = None
    emitters: Emitters | None = None
    background: FloatImage | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate that every map fits the grid."""
        for name in ("mean", "std", "p_value", "occupancy"):
            image = getattr(self, name)
            if image is not None and image.shape != self.grid.shape:
                raise ShapeError(f"{name} {image.shape} does not fit grid {self.grid.shape}")
        if self.background is not None:
            (h, w), (bh, bw) = self.grid.shape, self.background.shape
            if h % bh or w % bw or h // bh != w // bw:
                raise ShapeError(f"background {bh}×{bw} does not divide into grid {h}×{w}")


class Reconstructor(Protocol):
    """What every method is: a movie and a source of randomness in, a reconstruction out."""

    def __call__(self, stack: ImageStack, rng: np.random.Generator) -> Reconstruction:
        """Reconstruct `stack`."""
