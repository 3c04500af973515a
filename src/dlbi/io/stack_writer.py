"""Writing movies as OME-TIFF, chunk by chunk."""

from __future__ import annotations

import math
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import tifffile
from numpy.typing import DTypeLike, NDArray

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.io.files import TIFF_SUFFIXES, PathLike, check_writable, pending_outputs, writing
from dlbi.io.ome import CREATOR, ome_xml

_BIG_TIFF_BYTES = 3.5e9
_COPY_BYTES = 2**26


class StackWriter:
    """Write a movie of known length in bounded memory; it appears when complete.

    Frames are stored uncompressed in one run, so `load_stack` memory-maps the file. Files beyond
    3.5 GB are BigTIFF. Equal content gives equal bytes.

    Parameters
    ----------
    path : path
        Output, named as a TIFF.
    grid : PixelGrid
        Camera pixels.
    n_frames : int
        Frames that will be written.
    dtype : dtype
        Stored pixel type. Floating-point frames are rounded to an integer type and must fit it.
    frame_interval_s : float, optional
    unit : {"adu", "photon"}
        What one count stands for.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputError
        If the file cannot be written (`check_writable`) or OME-TIFF has no such pixel type.
    ShapeError
        If there are fewer than 2 frames.

    Examples
    --------
    >>> with StackWriter("movie.ome.tif", grid, n_frames=200) as writer:  # doctest: +SKIP
    ...     for frames in chunks:
    ...         writer.write(frames)
    """

    def __init__(
        self,
        path: PathLike,
        grid: PixelGrid,
        *,
        n_frames: int,
        dtype: DTypeLike = np.uint16,
        frame_interval_s: float | None = None,
        unit: Literal["adu", "photon"] = "adu",
        overwrite: bool = False,
    ) -> None:
        if n_frames < 2:
            raise ShapeError(f"a movie needs at least 2 frames, got {n_frames}")
        self.path = Path(path)
        self.grid = grid
        self.n_frames = n_frames
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._overwrite = overwrite
        self._xml = ome_xml(
            grid,
            self.dtype,
            n_frames=n_frames,
            frame_interval_s=frame_interval_s,
            channel=unit,
        )
        self._n_written = 0
        self._exits = ExitStack()
        check_writable(self.path, overwrite=overwrite, suffixes=TIFF_SUFFIXES)

    def __enter__(self) -> Self:
        """Create the file under its temporary name."""
        with ExitStack() as exits:
            parts = exits.enter_context(pending_outputs(self.path, overwrite=self._overwrite))
            part = parts[self.path]
            with writing(self.path):
                offset = self._create(part)
                self._file = exits.enter_context(part.open("r+b"))
                self._file.seek(offset)
            exits.push(self._check_complete)
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the file its name, or remove it after an error."""
        self._exits.__exit__(kind, error, trace)

    def write(self, frames: NDArray[Any]) -> None:
        """Append frames.

        Parameters
        ----------
        frames : ndarray, (n, Y, X) or (Y, X)

        Raises
        ------
        ShapeError
            If they do not fit the grid or are more than `n_frames` in all.
        InputError
            If a value does not fit the stored pixel type.
        OutputError
            If the disk refuses them.
        """
        frames = np.asarray(frames)
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.ndim != 3 or frames.shape[1:] != self.grid.shape:
            raise ShapeError(f"frames {frames.shape} do not fit the grid {self.grid.shape}")
        if self._n_written + len(frames) > self.n_frames:
            raise ShapeError(
                f"{self._n_written} + {len(frames)} frames do not fit the {self.n_frames} that "
                f"{self.path} was opened for"
            )
        stored = self._to_stored(frames)
        with writing(self.path):
            self._file.write(stored.data.cast("B"))
            self._file.flush()
        self._n_written += len(frames)

    def _create(self, part: Path) -> int:
        """Headers of all frames with empty pixels; returns where the pixels begin."""
        shape = (self.n_frames, *self.grid.shape)
        per_cm = 1e7 / self.grid.pixel_size_nm
        place: Any = tifffile.imwrite(
            part,
            shape=shape,
            dtype=self.dtype,
            byteorder="<",
            ome=False,  # the OME-XML is our own
            bigtiff=math.prod(shape) * self.dtype.itemsize > _BIG_TIFF_BYTES,
            photometric="minisblack",
            description=self._xml,
            metadata=None,
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
            software=CREATOR,
            returnoffset=True,
        )
        return int(place[0])

    def _to_stored(self, frames: NDArray[Any]) -> NDArray[Any]:
        if frames.dtype != self.dtype and self.dtype.kind in "ui":
            limits = np.iinfo(self.dtype)
            frames = np.rint(frames) if frames.dtype.kind == "f" else frames
            low, high = frames.min(initial=0), frames.max(initial=0)
            if not (limits.min <= low and high <= limits.max):
                raise InputError(
                    f"{self.path}: values from {low:g} to {high:g} do not fit "
                    f"{self.dtype.name}; write float32 or a wider type"
                )
        return np.ascontiguousarray(frames, dtype=self.dtype)

    def _check_complete(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and self._n_written != self.n_frames:
            raise ShapeError(
                f"{self.path}: {self._n_written} of {self.n_frames} frames were written; the "
                "incomplete file was removed"
            )


def save_stack(path: PathLike, stack: ImageStack, *, overwrite: bool = False) -> Path:
    """Write a movie as OME-TIFF in its own pixel type, in bounded memory.

    Parameters
    ----------
    path : path
        Output, named as a TIFF.
    stack : ImageStack
        Movie.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    OutputError
        If the file cannot be written or OME-TIFF has no such pixel type.
    """
    writer = StackWriter(
        path,
        stack.grid,
        n_frames=stack.n_frames,
        dtype=np.asarray(stack.data[0:1]).dtype,
        frame_interval_s=stack.frame_interval_s,
        unit=stack.unit,
        overwrite=overwrite,
    )
    n_chunk = max(1, _COPY_BYTES // (writer.dtype.itemsize * math.prod(stack.grid.shape)))
    with writer:
        for start in range(0, stack.n_frames, n_chunk):
            writer.write(np.asarray(stack.data[start : min(start + n_chunk, stack.n_frames)]))
    return writer.path
