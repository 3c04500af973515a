"""A run of the 3B baseline on a movie."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlbi.core.emitters import Emitters
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage
from dlbi.core.optics import GaussianPSF
from dlbi.inference.threeb.image import SpotMaps
from dlbi.inference.threeb.model import Counts, Model
from dlbi.inference.threeb.options import ThreeBOptions
from dlbi.inference.threeb.preprocessing import preprocess
from dlbi.inference.threeb.spots import BRIGHTNESS, RADIUS, X, Y, priors_of

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreeBResult:
    """What a run of 3B found.

    Parameters
    ----------
    mean, std : ndarray, (Y · upscaling, X · upscaling), float32
        Spots per fine pixel after the blur, and their deviation over the passes.
    emitters : Emitters
        The spots at the end; `photons` is the light of an emitting frame in counts.
    n_spots : list of int
        Number of spots at the start of each pass and at the end.
    counts : Counts
    options : ThreeBOptions
    """

    mean: FloatImage
    std: FloatImage
    emitters: Emitters
    n_spots: list[int]
    counts: Counts
    options: ThreeBOptions

    def diagnostics(self) -> dict[str, Any]:
        """What was done, as plain values."""
        return {"options": asdict(self.options), "n_spots": self.n_spots} | asdict(self.counts)


def threeb(
    frames: NDArray[np.floating],
    grid: PixelGrid,
    psf: GaussianPSF,
    *,
    options: ThreeBOptions | None = None,
    upscaling: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> ThreeBResult:
    """Explain a movie by spots of unknown number that blink and bleach (3B).

    Parameters
    ----------
    frames : ndarray, (T, Y, X), counts
    grid : PixelGrid
        Camera pixels.
    psf : GaussianPSF
        Its width is the most likely width of a spot.
    options : ThreeBOptions, optional
        The program's defaults if not given.
    upscaling : int
        Fine pixels per camera pixel along one axis of the image.
    seed : int
        The same seed gives the same result.
    progress : callable, optional
        Called with (done, total) after every pass and every try; what it raises ends the run.

    Raises
    ------
    InputError, ShapeError
        If the field is smaller than 8×8 pixels or shows nothing.

    Notes
    -----
    An outer iteration optimises every spot `passes` times in turn and then tries `tries` times to
    add or remove one. The image holds every spot at the start of every pass, the first included,
    and at the end, equally weighted: 3B is no sampler of positions, and the spread between passes
    stands for their uncertainty. Every visit of a spot draws the states of all, so the time grows
    up to the square of the number of spots: on one core 4.6 s an iteration for 30×30×200 pixels
    with 90 spots, 28 s for 60×60×200 with 360.

    References
    ----------
    Cox et al. 2012, doi:10.1038/nmeth.1812; its released program, after which it is built anew.
    """
    chosen = options or ThreeBOptions()
    movie = preprocess(frames, noise=chosen.noise)
    priors = priors_of(psf.sigma_px(grid.pixel_size_nm), dimensions=chosen.normalised_dimensions)
    model = Model(movie, priors, chosen, seed)
    maps = SpotMaps(grid.refine(upscaling), chosen.image_fwhm_nm)
    n_spots: list[int] = []
    steps = chosen.passes + chosen.tries
    total = chosen.iterations * steps

    def report(done: int) -> None:
        if progress is not None:
            progress(done, total)

    def record() -> None:
        y_nm, x_nm = grid.to_nm(model.spots[:, Y], model.spots[:, X])
        maps.add(x_nm, y_nm)
        n_spots.append(len(model.spots))

    for iteration in range(chosen.iterations):
        for n in range(chosen.passes):
            record()
            model.optimise(iteration, n)
            report(iteration * steps + n + 1)
        for n in range(chosen.tries):
            model.try_size(iteration, n)
            report(iteration * steps + chosen.passes + n + 1)
        logger.info("iteration %d of %d: %d spots", iteration + 1, chosen.iterations,
                    len(model.spots))  # fmt: skip
    record()
    spots = model.spots
    y_nm, x_nm = grid.to_nm(spots[:, Y], spots[:, X])
    # The sum of a spot over all pixels: B s √2π, or B if normalised in two dimensions.
    norm = spots[:, RADIUS] * math.sqrt(2 * math.pi)
    light = spots[:, BRIGHTNESS] * norm ** (2 - chosen.normalised_dimensions) * movie.scale
    emitters = Emitters(x_nm, y_nm, photons=light, frames_on=model.frames_on())
    return ThreeBResult(maps.mean(), maps.std(), emitters, n_spots, model.counts, chosen)
