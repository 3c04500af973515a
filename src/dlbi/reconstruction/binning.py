"""Movies of fine camera pixels, shown to the network in the pixels that it was trained on.

A network knows PSFs of so many pixels. Where a PSF covers more, as on a camera with small pixels
behind a strong objective, blocks of pixels are summed: the PSF then covers fewer, and nothing that
it lets through is lost. All other stages keep the camera's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.ndimage import zoom

from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import FRAMES_AT_ONCE, ChangedFrames, FloatImage, as_slice
from dlbi.core.optics import GaussianPSF, Halo
from dlbi.forward import Projection
from dlbi.inference.measurement.background import estimate_background
from dlbi.learning.network import UPSCALING, ModelMetadata, Network
from dlbi.learning.passes import MIN_SIDE_PX
from dlbi.learning.prediction import Prediction
from dlbi.reconstruction.measurement import Movie, deconvolve, projection_of, without_halo
from dlbi.reconstruction.prior import look

BEYOND = 1.085
"""PSF ÷ the widest of the training up to which a network does better on the camera's own pixels
than on twice as large ones (docs/training.md)."""


def show(
    network: Network,
    movie: Movie,
    density: FloatImage,
    projection: Projection,
    *,
    whole: Movie,
    halo: Halo,
    seed: int,
    n_workers: int,
    progress: Callable[[int, int], None],
) -> tuple[Prediction, dict[str, Any]]:
    """`look` at a movie, or at blocks of its pixels where the PSF covers too many of them.

    Parameters
    ----------
    network, movie, density, projection, seed, n_workers, progress
        As `look`.
    whole : Movie
        The same movie with the halo of its PSF.
    halo : Halo

    Returns
    -------
    prediction : Prediction
        On the fine grid of the camera's pixels.
    record : dict
        With the ``binning``: camera pixels along one side of a block.
    """
    factor = binning_for(network.metadata, projection.psf, movie.stack.grid)
    scene = movie, density, projection
    if factor > 1:
        coarse = binned(whole, factor, halo)
        onto = projection_of(coarse.stack, projection.psf, UPSCALING)
        scene = coarse, deconvolve(coarse, onto, n_workers=n_workers), onto
    prediction, record = look(network, *scene, seed=seed, n_workers=n_workers, progress=progress)
    if factor > 1:
        prediction = unbinned(prediction, factor, movie.stack.grid.refine(UPSCALING).shape)
    return prediction, record | {"binning": factor}


def binning_for(metadata: ModelMetadata, psf: GaussianPSF, grid: PixelGrid) -> int:
    """Camera pixels along one side of a block so that the PSF covers as many as in the training.

    Parameters
    ----------
    metadata : ModelMetadata
        Of the network; 1 if it does not tell its range of PSFs.
    psf : GaussianPSF
    grid : PixelGrid
        Camera pixels; smaller blocks where too few of them would be left.
    """
    _, widest_px = metadata.ranges.get("psf_sigma_px", (0.0, math.inf))
    factor = math.ceil(psf.sigma_px(grid.pixel_size_nm) / (BEYOND * widest_px))
    return max(min(factor, min(grid.shape) // MIN_SIDE_PX), 1)


def binned(movie: Movie, factor: int, halo: Halo) -> Movie:
    """A measured movie in blocks of factor × factor camera pixels.

    Parameters
    ----------
    movie : Movie
        With the halo of its PSF.
    factor : int
        Rows and columns that do not fill a block are left out.
    halo : Halo
        Taken off the blocks.

    Notes
    -----
    Noise adds up, with that which neighbours in a row share. The background is measured in the
    blocks: what is smooth is told from what is structure on the scale of a PSF.
    """
    grid = movie.stack.grid
    height, width = (factor * (n // factor) for n in grid.shape)
    coarse = grid.crop(0, 0, height, width).coarsen(factor)
    stack = replace(movie.stack, data=_Blocks(movie.stack.data, factor), grid=coarse)
    mean = block_sum(movie.mean[:height, :width], factor).astype(np.float32)
    noise = movie.noise.binned(factor)
    variance_of_mean = noise.variance(mean) / np.float32(movie.frames_worth)
    background = estimate_background(stack, mean, variance_of_mean)
    return without_halo(Movie(stack, mean, noise, background, movie.fading), halo)


def unbinned(prediction: Prediction, factor: int, shape: tuple[int, int]) -> Prediction:
    """What a network says of blocks, on the fine grid of the camera's own pixels.

    Parameters
    ----------
    prediction : Prediction
    factor : int
    shape : tuple of int
        Of that grid; what no block covers is like the pixel beside it.
    """

    def refined(image: FloatImage, order: Literal[1, 3]) -> FloatImage:
        finer = zoom(image, factor, order=order, mode="nearest", grid_mode=True)
        missing = [(0, n - have) for n, have in zip(shape, finer.shape, strict=True)]
        return np.pad(np.maximum(finer, np.float32(0.0)), missing, mode="edge")

    share = np.float32(factor**-2)
    p_value = prediction.p_value
    return Prediction(
        share * refined(prediction.mean, 3),
        share * refined(prediction.std, 1),
        None if p_value is None else refined(p_value, 1),
    )


@dataclass(frozen=True, slots=True)
class _Blocks(ChangedFrames):
    """Sums over blocks of factor × factor pixels; those that are not whole are left out."""

    factor: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, Y, X) in blocks."""
        n_frames, height, width = self.source.shape
        return n_frames, height // self.factor, width // self.factor

    def read(self, frames: range, rows: range, columns: range) -> FloatImage:
        """Summed, a few frames at a time."""
        k = self.factor
        field = tuple(slice(k * part.start, k * part.stop) for part in (rows, columns))
        out = np.empty((len(frames), len(rows), len(columns)), np.float32)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            run = frames[start : start + FRAMES_AT_ONCE]
            pixels = np.asarray(self.source[(as_slice(run), *field)], np.float32)
            sides = (pixels.shape[1] // k, k, pixels.shape[2] // k, k)
            sums = pixels.reshape(len(run), *sides).sum(axis=(2, 4))
            out[start : start + len(run)] = sums[:, :: rows.step, :: columns.step]
        return out
