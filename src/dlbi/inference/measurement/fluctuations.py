"""Second and third cumulants of a movie at several lags, in independent units of time and space.

Light from a density ρ (mean signal per fine pixel) fluctuates together in all pixels that share
emitters. In units of the templates Σ_g ρ_g h_g(p) h_g(p′) and Σ_g ρ_g h_g(p) h_g(p′) h_g(p″) the
cumulants of the movie are those of one fluorophore ÷ its mean light, whatever the structure is.

Only different pixels are combined, or different frames, so camera noise drops out. Neighbours in
a row are left out of the pairs, because the register of an EMCCD smears charge between them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dlbi.core.images import FloatImage, ImageStack
from dlbi.forward import Projection
from dlbi.inference.measurement.roughness import light_roughness, rough
from dlbi.inference.measurement.units import Tiles, block_plan, detrended

MIN_FRAMES = 4
"""A trend takes two of them."""
MAX_LAG = 6
"""Lags 0 … 6 of the second cumulant."""
THIRD_LAGS = (0, 1)
"""Lags between the first two factors of a third cumulant and the last."""


class Fluctuations(NamedTuple):
    """Sums over units: tiles of the field within blocks of frames.

    Parameters
    ----------
    second : ndarray, (B, S, MAX_LAG + 1), counts²
        Sums of products × template; ÷ `second_norm` they are cumulants.
    third : ndarray, (B, S, len(THIRD_LAGS)), counts³
    light : ndarray, (B, S), counts
        Sums of block mean × contrast of the expected mean.
    grain : ndarray, (S,), counts
        Sums of products of the roughness of two block means × template, averaged over all pairs of
        blocks, so free of noise: what the structure and the discreteness of its fluorophores leave.
        Zero where there is one block only.
    second_norm, third_norm, light_norm, grain_norm : ndarray, (S,)
        Sums of the squared templates.
    centre : ndarray, (B,)
        Middle of each block, frames.
    n_frames : int
        Frames per block.
    """

    second: NDArray[np.float64]
    third: NDArray[np.float64]
    light: NDArray[np.float64]
    grain: NDArray[np.float64]
    second_norm: NDArray[np.float64]
    third_norm: NDArray[np.float64]
    light_norm: NDArray[np.float64]
    grain_norm: NDArray[np.float64]
    centre: NDArray[np.float64]
    n_frames: int


def measure_fluctuations(
    stack: ImageStack, density: FloatImage, projection: Projection
) -> Fluctuations | None:
    """Cumulants of a movie under a density; None if it is too short.

    Parameters
    ----------
    stack : ImageStack
    density : ndarray, fine grid of the projection, counts
        Mean signal per fine pixel, background removed.
    projection : Projection
    """
    starts, length = block_plan(stack.n_frames)
    if length < MIN_FRAMES or min(stack.grid.shape) < 4:
        return None
    tiles = Tiles.of(stack.grid.shape)
    second, third = _templates(density, projection)
    expected = projection.forward(density)
    contrast = expected - expected.mean(dtype=np.float64).astype(np.float32)
    mean = stack.mean()
    second_sums, third_sums, light_sums, block_roughness = [], [], [], []
    for start in starts:
        frames = stack.load(slice(start, start + length))
        d = detrended(frames)
        # A change common to the whole field is illumination, not blinking.
        d -= d.mean(axis=(1, 2), keepdims=True)
        second_sums.append(_second_sums(d, second, tiles))
        third_sums.append(_third_sums(d, third, tiles))
        # What the density does not explain of the mean is no change, and a constant no structure.
        block_mean = frames.mean(axis=0)
        block_roughness.append(rough(block_mean))
        image = block_mean - mean + expected
        light_sums.append(tiles.sum((image - image.mean(dtype=np.float64)) * contrast))
    grain, grain_norm = _grain_sums(
        np.array(block_roughness), light_roughness(density, projection), tiles
    )
    return Fluctuations(
        second=np.array(second_sums),
        third=np.array(third_sums),
        light=np.array(light_sums),
        grain=grain,
        second_norm=_norm(second, tiles),
        third_norm=_norm(third, tiles),
        light_norm=tiles.sum(contrast.astype(np.float64) ** 2),
        grain_norm=grain_norm,
        centre=np.array(starts) + 0.5 * (length - 1),
        n_frames=length,
    )


PAIRS = ((1, 0), (1, 1), (1, -1))
"""Offsets (y, x) of the pixels that the second cumulant combines."""
CORNERS = (((0, 0), (0, 1), (1, 0)), ((1, 1), (1, 0), (0, 1)),
           ((0, 1), (0, 0), (1, 1)), ((1, 0), (1, 1), (0, 0)))  # fmt: skip
"""Three pixels of a square of four, the corner first."""


def _part(image: NDArray[np.float32], y: int, x: int) -> NDArray[np.float32]:
    """The image moved by (y, x) ∈ {0, 1} × {−1, 0, 1}, cut to what a 2×2 square leaves."""
    h, w = image.shape[-2:]
    return image[..., y : h - 1 + y, x : w - 1 + x]


def _pair(
    image: NDArray[np.float32], offset: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    y, x = offset
    if x >= 0:
        return _part(image, 0, 0), _part(image, y, x)
    return _part(image, 0, 1), _part(image, y, 0)


def _templates(
    density: FloatImage, projection: Projection
) -> tuple[list[FloatImage], list[FloatImage]]:
    rows, columns = projection.rows.sparse(), projection.columns.sparse()
    up_down, left_right = (rows[:-1], rows[1:]), (columns[:-1], columns[1:])

    def seen(pixels: tuple[tuple[int, int], ...]) -> FloatImage:
        y = _product([up_down[p[0]] for p in pixels])
        x = _product([left_right[p[1]] for p in pixels])
        return np.asarray(y @ density @ x.T, np.float32)

    pairs = [((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 1), (1, 0))]
    return [seen(pair) for pair in pairs], [seen(corner) for corner in CORNERS]


def _product(factors: list[csr_array]) -> csr_array:
    """Entry by entry product of sparse matrices."""
    out = factors[0]
    for factor in factors[1:]:
        out = out.multiply(factor).tocsr()
    return out


def _norm(templates: list[FloatImage], tiles: Tiles) -> NDArray[np.float64]:
    squares = [tiles.sum(s.astype(np.float64) ** 2) for s in templates]
    return np.asarray(np.sum(squares, axis=0), np.float64)


def _second_sums(
    d: NDArray[np.float32], templates: list[FloatImage], tiles: Tiles
) -> NDArray[np.float64]:
    """(S, MAX_LAG + 1)."""
    n = len(d)
    out = []
    for lag in range(MAX_LAG + 1):
        total = np.zeros(templates[0].shape, np.float64)
        for offset, template in zip(PAIRS, templates, strict=True):
            a, b = _pair(d, offset)
            product = np.einsum("tyx,tyx->yx", a[: max(n - lag, 0)], b[lag:])
            if lag:
                product += np.einsum("tyx,tyx->yx", b[: max(n - lag, 0)], a[lag:])
                product *= np.float32(0.5)
            total += product * template
        out.append(tiles.sum(total))
    return np.stack(out, axis=1)


def _third_sums(
    d: NDArray[np.float32], templates: list[FloatImage], tiles: Tiles
) -> NDArray[np.float64]:
    """(S, len(THIRD_LAGS))."""
    n = len(d)
    out = []
    for lag in THIRD_LAGS:
        total = np.zeros(templates[0].shape, np.float64)
        for corner, template in zip(CORNERS, templates, strict=True):
            c, s1, s2 = (_part(d, *p) for p in corner)
            # The sides are diagonal neighbours, so they may share a frame.
            sides = s1 * s2
            product = np.einsum("tyx,tyx->yx", sides[: n - lag], c[lag:])
            if lag:
                product += np.einsum("tyx,tyx->yx", sides[lag:], c[: n - lag])
                product *= np.float32(0.5)
            total += product * template
        out.append(tiles.sum(total))
    return np.stack(out, axis=1)


def _grain_sums(
    roughness: NDArray[np.float64], template: NDArray[np.float64], tiles: Tiles
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Roughness that all blocks share × template, and the squared template, each (S,)."""
    n_blocks = len(roughness)
    shared = roughness.sum(axis=0) ** 2 - (roughness**2).sum(axis=0)
    shared /= max(n_blocks * (n_blocks - 1), 1)
    return tiles.sum(shared * template), tiles.sum(template**2)
