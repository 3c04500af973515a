"""From a structure and a scene to a movie with its ground truth (paper 2.1, Fig. 2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dlbi.core.emitters import Emitters
from dlbi.core.errors import InputError, expect
from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, ImageStack, StructureImage
from dlbi.core.rng import RngLike, root_seed, stream
from dlbi.simulation.placement import MARGIN_PX, inside
from dlbi.simulation.population import BlinkingLight, in_focus, out_of_focus
from dlbi.simulation.scene import Scene
from dlbi.simulation.static import static_light
from dlbi.simulation.truth import GroundTruth, TruthViews

_CHUNK_BYTES = 2**27
_MAX_CHUNK_FRAMES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMovie(ImageStack, TruthViews):
    """A movie with its ground truth and origin; takes the place of any movie.

    Parameters
    ----------
    data, grid, frame_interval_s, unit
        As in `ImageStack`; uint8 or uint16 where the camera has bits, else float32.
    density, emitters, upscaling
        As in `GroundTruth`.
    scene : Scene
    seed : int
        ``simulate(structure, scene, rng=seed)`` repeats the movie.
    """

    density: StructureImage
    emitters: Emitters
    upscaling: int
    scene: Scene
    seed: int

    @property
    def stack(self) -> ImageStack:
        """The movie without its truth."""
        return ImageStack(self.data, self.grid, self.frame_interval_s, self.unit)

    def select(
        self, frames: slice = slice(None), roi: tuple[int, int, int, int] | None = None
    ) -> ImageStack:
        """Part of the movie, without its truth."""
        return self.stack.select(frames, roi)


def simulate(
    structure: StructureImage,
    scene: Scene,
    *,
    n_frames: int = 200,
    upscaling: int = 8,
    rng: RngLike = None,
) -> SimulatedMovie:
    """Simulate a movie of a structure (paper 2.1).

    Parameters
    ----------
    structure : StructureImage
        Density on the fine grid, the camera grid refined by `upscaling`.
    scene : Scene
        Fluorophores, optics, camera and background, such as ``dlbi.presets.meos32()``.
    n_frames : int
        Frames T of the movie, at least 2.
    upscaling : int
        Fine pixels per camera pixel along one axis.
    rng : int, Generator or None
        The same seed gives the same movie, bit by bit.

    Returns
    -------
    SimulatedMovie
        Frames (T, Y, X) in camera counts, with the true density and the fluorophores.

    Raises
    ------
    ShapeError
        If the structure does not divide into camera pixels.
    InputError
        If it is empty, its camera pixels are not of the scene's size, or there are fewer than
        2 frames.

    References
    ----------
    Li et al. 2018, doi:10.1093/bioinformatics/bty241, section 2.1.
    """
    simulation = Simulation(structure, scene, n_frames=n_frames, upscaling=upscaling, rng=rng)
    data = np.empty((n_frames, *simulation.camera.shape), simulation.dtype)
    for frames, chunk in simulation.chunks():
        data[frames] = chunk
    truth = simulation.ground_truth()
    return SimulatedMovie(
        density=truth.density,
        emitters=truth.emitters,
        upscaling=upscaling,
        data=data,
        grid=simulation.camera,
        frame_interval_s=scene.microscope.frame_interval_s,
        scene=scene,
        seed=simulation.seed,
    )


def frame_chunks(
    structure: StructureImage,
    scene: Scene,
    *,
    n_frames: int = 200,
    upscaling: int = 8,
    rng: RngLike = None,
    chunk_frames: int | None = None,
) -> Iterator[tuple[slice, NDArray[np.number]]]:
    """The frames of `simulate` in runs of bounded memory; bit-identical for any run length."""
    simulation = Simulation(structure, scene, n_frames=n_frames, upscaling=upscaling, rng=rng)
    return simulation.chunks(chunk_frames)


class Simulation:
    """A movie that is simulated run by run of frames, for movies larger than memory.

    Parameters
    ----------
    structure, scene, n_frames, upscaling, rng
        As in `simulate`.

    Attributes
    ----------
    camera : PixelGrid
        Camera pixels.
    density : StructureImage
        Expected fluorophores per fine pixel.
    seed : int
        Root of every random number of this movie.
    """

    def __init__(
        self,
        structure: StructureImage,
        scene: Scene,
        *,
        n_frames: int = 200,
        upscaling: int = 8,
        rng: RngLike = None,
    ) -> None:
        how = "dlbi.draw_structure draws one, dlbi.load_structure reads one"
        expect("a structure", structure, StructureImage, how)
        expect("a scene", scene, Scene, "dlbi.presets makes one, such as presets.meos32()")
        if n_frames < 2:
            raise InputError(f"a movie needs at least 2 frames, got {n_frames}")
        if upscaling < 1:
            raise InputError(f"upscaling must be at least 1, got {upscaling}")
        self.camera = structure.grid.coarsen(upscaling)
        _expect_pixel_size(self.camera, scene)
        self.density = scene.labelling.expected(structure)
        self.seed = root_seed(rng)
        self.scene = scene
        self.n_frames = n_frames
        self.upscaling = upscaling
        margin = MARGIN_PX * upscaling
        self._focus = in_focus(self.density, scene, margin, self.seed)
        self._populations = [self._focus]
        if scene.out_of_focus > 0:
            self._populations.append(out_of_focus(self._focus, scene, self.camera, self.seed))
        self._static = static_light(self.density, scene, self.camera, margin, n_frames, self.seed)
        self._truth: GroundTruth | None = None

    @property
    def dtype(self) -> DTypeLike:
        """Data type of the frames."""
        bits = self.scene.microscope.camera.bits
        if bits is None or bits > 16:
            return np.float32
        return np.uint8 if bits <= 8 else np.uint16

    def chunks(self, chunk_frames: int | None = None) -> Iterator[tuple[slice, NDArray[np.number]]]:
        """Simulate from the first frame on.

        Parameters
        ----------
        chunk_frames : int, optional
            Frames per run; by default at most 64 frames and about 128 MB.

        Yields
        ------
        frames : slice
        data : ndarray, (T, Y, X)
            Camera counts.

        Raises
        ------
        InputError
            If `chunk_frames` is below 1.
        """
        if chunk_frames is not None and chunk_frames < 1:
            raise InputError(f"a run needs at least one frame, got chunk_frames={chunk_frames}")
        margin = self._canvas_margin()
        canvas_grid = self.camera.pad(margin)
        scope = self.scene.microscope
        lights = [
            BlinkingLight(p, scope.blinking, canvas_grid, self.seed) for p in self._populations
        ]
        step = chunk_frames or _chunk_length(canvas_grid)
        for start in range(0, self.n_frames, step):
            frames = np.arange(start, min(start + step, self.n_frames))
            canvas = np.zeros((frames.size, *canvas_grid.shape), np.float32)
            drift_px = self.scene.drift(frames, self.n_frames) / self.camera.pixel_size_nm
            for light in lights:
                light.add(start, drift_px, canvas)
            canvas = scope.halo.around(canvas, self.camera.pixel_size_nm)
            field = canvas[:, margin:-margin, margin:-margin]
            yield slice(start, start + frames.size), self._expose(field, frames)
        self._truth = self._make_truth(lights[0])

    def ground_truth(self) -> GroundTruth:
        """Density and emitters table.

        Raises
        ------
        InputError
            If the last chunk has not been taken yet: blinking is not known before.
        """
        if self._truth is None:
            raise InputError("the ground truth is complete after the last chunk; take all chunks")
        return self._truth

    def _canvas_margin(self) -> int:
        """Camera pixels around the field on which every splat fits."""
        splat = max(p.table.profiles.shape[2] - p.table.reach_px for p in self._populations)
        drift = max(abs(d) for d in self.scene.drift_nm) / (2 * self.camera.pixel_size_nm)
        return int(MARGIN_PX + splat + np.ceil(drift))

    def _expose(self, light: FloatImage, frames: NDArray[np.int64]) -> NDArray[np.number]:
        """Static light, illumination, background and camera noise of a run of frames."""
        scene, camera = self.scene, self.scene.microscope.camera
        counts = np.empty(light.shape, self.dtype)
        trend = scene.trend(frames, self.n_frames)
        for k, frame in enumerate(frames.tolist()):
            photons = light[k]
            if self._static is not None:
                photons = photons + self._static.at(frame / (self.n_frames - 1))
            photons = np.float32(trend[k]) * photons
            photons += scene.background_factor * photons.mean() + scene.background_photons
            counts[k] = camera.expose(photons, stream(self.seed, "camera", frame))
        return counts

    def _make_truth(self, light: BlinkingLight) -> GroundTruth:
        scope, focus = self.scene.microscope, self._focus
        keep = inside(self.camera, focus.y_nm, focus.x_nm)
        frames_on = light.states.frames_on[keep]
        photons = np.full(frames_on.size, scope.photons.mean, np.float64)
        np.divide(light.signal[keep], frames_on, out=photons, where=frames_on > 0)
        emitters = Emitters(
            x_nm=focus.x_nm[keep],
            y_nm=focus.y_nm[keep],
            photons=photons * scope.camera.adu_per_photon,
            frames_on=frames_on.astype(np.float64),
            bleach_frame=np.minimum(light.states.bleach_frame[keep], float(self.n_frames)),
        )
        return GroundTruth(density=self.density, emitters=emitters, upscaling=self.upscaling)


def _expect_pixel_size(camera: PixelGrid, scene: Scene) -> None:
    expected = scene.microscope.pixel_size_nm
    if not np.isclose(camera.pixel_size_nm, expected, rtol=1e-6):
        raise InputError(
            f"the structure makes camera pixels of {camera.pixel_size_nm:g} nm but the scene has "
            f"{expected:g} nm; give the structure a grid of {expected:g} nm ÷ upscaling"
        )


def _chunk_length(canvas: PixelGrid) -> int:
    frame_bytes = 4 * canvas.shape[0] * canvas.shape[1]
    return max(1, min(_MAX_CHUNK_FRAMES, _CHUNK_BYTES // frame_bytes))
