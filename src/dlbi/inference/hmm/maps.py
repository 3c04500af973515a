"""Maps of the posterior: what the retained sweeps agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.kernels import F32, F64, kernel

BLUR_SIGMA_PX = 1.0
"""Width of one emitter in the density image, fine pixels."""

OCCUPANCY_WINDOW_PX = 5
"""Side of the square within which an emitter counts as present, fine pixels."""

AGREEMENT_SIGMA_PX = 4.0
"""Blur at which chains are compared, fine pixels."""


class PosteriorMaps:
    """Running mean, variance and occupancy of the emitter density over the sweeps of one chain.

    Parameters
    ----------
    grid : PixelGrid
        Fine grid of the maps.
    block_px : int
        Side of the blocks of fine pixels whose light tells whether chains agree (`r_hat`).
    """

    def __init__(self, grid: PixelGrid, block_px: int = 1) -> None:
        self.grid = grid
        self.block_px = block_px
        self.n_sweeps = 0
        blocks = tuple(n // block_px for n in grid.shape)
        self._light = np.zeros(blocks, np.float64)
        self._light_squares = np.zeros(blocks, np.float64)
        self._sum = np.zeros(grid.shape, np.float64)
        self._squares = np.zeros(grid.shape, np.float64)
        self._occupied = np.zeros(grid.shape, np.int32)

    def add(
        self,
        y_px: NDArray[np.float64],
        x_px: NDArray[np.float64],
        weights: NDArray[np.floating],
    ) -> None:
        """Add the emitters of one sweep.

        Parameters
        ----------
        y_px, x_px : ndarray, (N,)
            Positions on the fine grid; integers are pixel centres.
        weights : ndarray, (N,)
            What each emitter adds to the density.
        """
        density = np.zeros(self.grid.shape, np.float32)
        present = np.zeros(self.grid.shape, np.uint8)
        deposit(y_px, x_px, np.asarray(weights, np.float64), density, present)
        blurred = gaussian_filter(density, BLUR_SIGMA_PX, mode="constant", truncate=3.0)
        accumulate(blurred, present, self._sum, self._squares, self._occupied)
        light = _block_sums(density, self.block_px)
        self._light += light
        self._light_squares += light**2
        self.n_sweeps += 1

    def mean(self) -> FloatImage:
        """Posterior mean density."""
        return (self._sum / self.n_sweeps).astype(np.float32)

    def std(self) -> FloatImage:
        """Standard deviation of the density over the sweeps."""
        return np.sqrt(self._variance()).astype(np.float32)

    def p_empty(self) -> FloatImage:
        """Share of sweeps without an emitter in the square around each pixel.

        The share is (empty + ½) / (sweeps + 1), so a finite number of sweeps never claims
        certainty.
        """
        return _share_empty(self._occupied, self.n_sweeps)

    def _variance(self) -> NDArray[np.float64]:
        mean = self._sum / self.n_sweeps
        return np.maximum(self._squares / self.n_sweeps - mean**2, 0.0)

    @staticmethod
    def joint(chains: Sequence[PosteriorMaps]) -> tuple[FloatImage, FloatImage, FloatImage]:
        """Mean, standard deviation and share of empty sweeps over chains of equal length.

        Notes
        -----
        Variance = mean within a chain + between the means of the chains. Sweeps of one chain
        resemble each other, so a single chain states too little.
        """
        means = [chain._sum / chain.n_sweeps for chain in chains]
        variance = np.mean([chain._variance() for chain in chains], axis=0)
        if len(chains) > 1:
            variance += np.var(means, axis=0, ddof=1)
        occupied = np.sum([chain._occupied for chain in chains], axis=0)
        n_sweeps = sum(chain.n_sweeps for chain in chains)
        return (
            np.mean(means, axis=0).astype(np.float32),
            np.sqrt(variance).astype(np.float32),
            _share_empty(occupied, n_sweeps),
        )

    @staticmethod
    def agreement(
        chains: Sequence[PosteriorMaps], *, each: Callable[..., Iterable[FloatImage]] = map
    ) -> float:
        """Correlation of the mean densities of chains after a blur; the least of all pairs.

        Parameters
        ----------
        chains : sequence of PosteriorMaps
        each : callable
            `map`, or that of an executor, whose threads then blur side by side.

        Notes
        -----
        If two chains of independent errors correlate by r, their mean correlates with the mean of
        infinitely many by about √((1 + r)/2): 0.995 for 0.98.
        """
        blurred = [image.ravel() for image in each(_coarse, chains)]
        centred = [image - image.mean(dtype=np.float64) for image in blurred]
        products = np.array([[np.vdot(a, b) for b in centred] for a in centred])
        norms = np.sqrt(np.diag(products))
        with np.errstate(invalid="ignore"):
            return float(np.nan_to_num(products / np.outer(norms, norms)).min())

    @staticmethod
    def r_hat(chains: Sequence[PosteriorMaps]) -> NDArray[np.float64]:
        """How much wider chains spread together than each of them; 1 if they agree.

        Parameters
        ----------
        chains : sequence of PosteriorMaps
            At least two of n ≥ 2 sweeps each.

        Returns
        -------
        ndarray, (blocks with light,)
            √(((n − 1)/n W + B/n) / W) of the light of each block that is brighter than the mean
            one, W being the variance within the chains and B/n that of their means.

        Notes
        -----
        Two chains tell B with one degree of freedom, so single values scatter: where they agree the
        95 % quantile is still about 1.2 for sweeps that resemble each other. The median is steady.

        References
        ----------
        Gelman and Rubin 1992, doi:10.1214/ss/1177011136.
        """
        n = chains[0].n_sweeps
        means = np.array([chain._light / n for chain in chains])
        squares = np.array([chain._light_squares / n for chain in chains])
        within = np.maximum(squares - means**2, 0.0).mean(axis=0) * n / (n - 1)
        between = means.var(axis=0, ddof=1)
        mean = means.mean(axis=0)
        seen = (mean > mean.mean()) & (within > 0)
        return np.asarray(np.sqrt((n - 1) / n + between[seen] / within[seen]), np.float64)


def _coarse(chain: PosteriorMaps) -> FloatImage:
    """The mean density on the scale on which chains are compared."""
    return gaussian_filter(chain.mean(), AGREEMENT_SIGMA_PX)


def _share_empty(n_occupied: NDArray[np.integer], n_sweeps: int) -> FloatImage:
    return (1.0 - (n_occupied + 0.5) / (n_sweeps + 1)).astype(np.float32)


def _block_sums(image: FloatImage, side: int) -> NDArray[np.float64]:
    h, w = (n // side for n in image.shape)
    whole = image[: h * side, : w * side].reshape(h, side, w, side)
    sums: NDArray[np.float64] = whole.sum(axis=(1, 3), dtype=np.float64)
    return sums


@kernel
def deposit(y: F64, x: F64, weights: F64, density: F32, present: NDArray[np.uint8]) -> None:
    """Add each weight bilinearly to `density` and mark the square around it in `present`."""
    h, w = density.shape
    reach = OCCUPANCY_WINDOW_PX // 2
    for e in range(y.size):
        i, j = int(np.floor(y[e])), int(np.floor(x[e]))
        fy, fx = y[e] - i, x[e] - j
        for di in range(2):
            for dj in range(2):
                if 0 <= i + di < h and 0 <= j + dj < w:
                    share = (fy if di else 1.0 - fy) * (fx if dj else 1.0 - fx)
                    density[i + di, j + dj] += weights[e] * share
        i, j = int(np.floor(y[e] + 0.5)), int(np.floor(x[e] + 0.5))
        if 0 <= i < h and 0 <= j < w:
            for row in range(max(i - reach, 0), min(i + reach + 1, h)):
                for column in range(max(j - reach, 0), min(j + reach + 1, w)):
                    present[row, column] = 1


@kernel
def accumulate(
    density: F32, present: NDArray[np.uint8], total: F64, squares: F64, occupied: NDArray[np.int32]
) -> None:
    """Add density, its square and the presence of a sweep, in one pass over the pixels."""
    h, w = density.shape
    for i in range(h):
        for j in range(w):
            value = np.float64(density[i, j])
            total[i, j] += value
            squares[i, j] += value * value
            occupied[i, j] += present[i, j]
