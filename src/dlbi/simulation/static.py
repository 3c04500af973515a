"""Light that does not blink: labels that never switch, and smooth haze."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from dlbi.core.grid import PixelGrid
from dlbi.core.images import FloatImage, StructureImage
from dlbi.core.rng import stream
from dlbi.forward import Projection
from dlbi.simulation.placement import mirrored
from dlbi.simulation.scene import Scene


@dataclass(frozen=True, slots=True)
class StaticLight:
    """Static light of the first and the last frame; between them it drifts linearly.

    Parameters
    ----------
    first, last : ndarray, (Y, X), float32
        Expected photons.
    """

    first: FloatImage
    last: FloatImage

    def at(self, phase: float) -> FloatImage:
        """Expected photons, (Y, X), when a share `phase` of the movie has passed."""
        w = np.float32(phase)
        return (1 - w) * self.first + w * self.last


def static_light(
    density: StructureImage,
    scene: Scene,
    camera: PixelGrid,
    margin_px: int,
    n_frames: int,
    seed: int,
) -> StaticLight | None:
    """Non-blinking labels and haze of a scene, None if it has neither.

    Both are relative to the mean light of the blinking fluorophores over the movie.
    """
    if scene.non_blinking == 0 and scene.haze == 0:
        return None
    first, last = _mean_blinking(density, scene, camera, margin_px, n_frames)
    light = [np.float32(scene.non_blinking) * image for image in (first, last)]
    if scene.haze > 0 and first.any():
        mean = 0.5 * (first + last)
        haze = scene.haze * mean.mean() * _haze(mean, scene.haze_sigma_px, seed)
        light = [image + haze for image in light]
    return StaticLight(*light)


def _mean_blinking(
    density: StructureImage, scene: Scene, camera: PixelGrid, margin_px: int, n_frames: int
) -> list[FloatImage]:
    """Mean light of the blinking fluorophores at the drift of the first and the last frame."""
    scope = scene.microscope
    photons = np.float32(scope.blinking.on_fraction(n_frames).mean() * scope.photons.mean)
    wide = mirrored(density, margin_px)
    images = []
    for dy, dx in scene.drift(np.array([0, n_frames - 1]), n_frames):
        y, x = camera.origin_nm
        moved = replace(camera, origin_nm=(y - dy, x - dx))
        light = photons * Projection(wide.grid, moved, scope.psf).forward(wide.density)
        images.append(scope.halo.around(light, camera.pixel_size_nm))
    return images


def _haze(light: FloatImage, sigma_px: float, seed: int) -> FloatImage:
    """A smooth field of mean 1, brighter where there is light."""
    noise = stream(seed, "haze").standard_normal(light.shape)
    field = gaussian_filter(noise, sigma_px, mode="reflect")
    field -= field.mean()
    field /= max(float(field.std()), np.finfo(np.float64).tiny)
    haze = gaussian_filter(light, sigma_px, mode="reflect") * np.exp(0.5 * field)
    return np.asarray(haze / haze.mean(), np.float32)
