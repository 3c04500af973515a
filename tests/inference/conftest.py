"""Movies whose fluorophores are known one by one, drawn in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF, integrated_profile
from dlbi.core.photophysics import EMITTING, BlinkingChain
from dlbi.forward import Projection

PIXEL_SIZE_NM = 160.0
PSF = GaussianPSF(422.0)


def draw_paths(
    chain: BlinkingChain, n: int, n_frames: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """States of n fluorophores, (N, T)."""
    steps = chain.matrix.cumsum(axis=1)
    paths = np.empty((n, n_frames), np.int64)
    state = rng.choice(3, size=n, p=chain.start)
    for t in range(n_frames):
        paths[:, t] = state
        state = np.minimum((rng.random(n)[:, None] >= steps[state]).sum(axis=1), 2)
    return paths


@dataclass(frozen=True)
class KnownMovie:
    """A movie without background, and what it shows; positions in camera pixels."""

    frames: NDArray[np.float32]
    y_px: NDArray[np.float64]
    x_px: NDArray[np.float64]
    paths: NDArray[np.int64]
    light: NDArray[np.float64]
    grid: PixelGrid

    @property
    def stack(self) -> ImageStack:
        return ImageStack(self.frames, self.grid)

    def projection(self, *, margin_px: int = 4, factor: int = 8) -> Projection:
        return Projection(self.grid.pad(margin_px).refine(factor), self.grid, PSF)

    def density(self, projection: Projection) -> NDArray[np.float32]:
        """Mean light in the fine pixel of each fluorophore."""
        y, x = projection.fine.to_px(*self.grid.to_nm(self.y_px, self.x_px))
        density = np.zeros(projection.fine.shape, np.float32)
        np.add.at(
            density,
            (np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)),
            self.light.mean(axis=1),
        )
        return density


def make_movie(
    y_px: NDArray[np.float64],
    x_px: NDArray[np.float64],
    shape: tuple[int, int],
    n_frames: int,
    *,
    chain: BlinkingChain | None = None,
    paths: NDArray[np.int64] | None = None,
    flux: float = 100.0,
    cv: float = 0.2,
    noise: float = 10.0,
    seed: int = 0,
) -> KnownMovie:
    """Blinking fluorophores with log-normal light and Gaussian camera noise."""
    # Not the numbers that a test with the same seed takes for positions.
    rng = np.random.default_rng([seed, 20])
    if paths is None:
        assert chain is not None
        paths = draw_paths(chain, len(y_px), n_frames, rng)
    spread = np.sqrt(np.log1p(cv**2))
    brightness = np.exp(spread * rng.standard_normal(paths.shape) - 0.5 * spread**2)
    light = flux * brightness * (paths == EMITTING)
    sigma = PSF.sigma_px(PIXEL_SIZE_NM)
    rows = integrated_profile(np.arange(shape[0]), y_px[:, None], sigma)
    columns = integrated_profile(np.arange(shape[1]), x_px[:, None], sigma)
    frames = np.einsum("nt,ny,nx->tyx", light, rows, columns, optimize=True)
    frames += noise * rng.standard_normal(frames.shape)
    grid = PixelGrid(shape, PIXEL_SIZE_NM)
    return KnownMovie(frames.astype(np.float32), y_px, x_px, paths, light, grid)


@pytest.fixture(scope="session")
def known_movie():
    """The function `make_movie`."""
    return make_movie


@pytest.fixture(scope="session")
def blinking_paths():
    """The function `draw_paths`."""
    return draw_paths
