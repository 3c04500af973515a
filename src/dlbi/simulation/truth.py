"""Ground truth of a simulated movie on every area-aligned grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dlbi.core.emitters import Emitters
from dlbi.core.errors import InputError
from dlbi.core.grid import block_sum
from dlbi.core.images import StructureImage


class TruthViews:
    """Truth of a simulated movie on every grid that divides its fine one."""

    __slots__ = ()

    density: StructureImage
    emitters: Emitters
    upscaling: int

    def truth_density(self, factor: int) -> StructureImage:
        """Expected fluorophores per pixel of the ×`factor` grid; sums of fine pixels.

        Raises
        ------
        InputError
            If `factor` does not divide the upscaling.
        """
        block = self._block(factor)
        density = np.asarray(block_sum(self.density.density, block), np.float32)
        return StructureImage(density, self.density.grid.coarsen(block))

    def truth(self, factor: int) -> StructureImage:
        """Number of placed fluorophores per pixel of the ×`factor` grid.

        Raises
        ------
        InputError
            If `factor` does not divide the upscaling.
        """
        grid = self.density.grid.coarsen(self._block(factor))
        y, x = grid.to_px(self.emitters.y_nm, self.emitters.x_nm)
        index = np.floor([y + 0.5, x + 0.5]).astype(np.int64)
        flat = np.ravel_multi_index((index[0], index[1]), grid.shape, mode="clip")
        counts = np.bincount(flat, minlength=grid.shape[0] * grid.shape[1])
        return StructureImage(counts.reshape(grid.shape).astype(np.float32), grid)

    def _block(self, factor: int) -> int:
        if factor < 1 or self.upscaling % factor:
            raise InputError(
                f"truth at ×{factor} needs a factor that divides the upscaling {self.upscaling}"
            )
        return self.upscaling // factor


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth(TruthViews):
    """What a simulated movie shows.

    Parameters
    ----------
    density : StructureImage
        Expected fluorophores per fine pixel.
    emitters : Emitters
        The blinking fluorophores in focus and in the field, without the mirrored margin.
        `photons` is the mean signal of an emitter's emitting frames in counts of the movie; the
        mean of the law where it never emitted.
    upscaling : int
        Fine pixels per camera pixel along one axis.
    """

    density: StructureImage
    emitters: Emitters
    upscaling: int
