from dataclasses import replace

import numpy as np
import pytest

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid, block_sum
from dlbi.core.images import StructureImage
from dlbi.core.microscope import Camera
from dlbi.core.optics import FwhmLaw, Halo
from dlbi.forward import Projection, expected_image
from dlbi.simulation.movie import Simulation, frame_chunks, simulate
from dlbi.simulation.placement import mirrored
from dlbi.simulation.presets import PRESETS, custom, preset
from dlbi.simulation.scene import Labelling
from dlbi.simulation.structures import draw

PERFECT = Camera(shot_noise=False)
CAMERA_PX = 16
GRID = PixelGrid((8 * CAMERA_PX, 8 * CAMERA_PX), 20.0)


def cross(grid=GRID):
    """Lines that leave the field, one of them near a border."""
    density = np.zeros(grid.shape, np.float32)
    density[6:9] = 1
    density[:, 70:72] = 2
    return StructureImage(density, grid)


def perfect_scene(**changes):
    scene = custom(camera=PERFECT, n_emitters=800, photons=50.0, background_factor=0.0)
    return replace(scene, **changes)


def test_mean_image_is_on_fraction_times_projected_density():
    """E[frame] = p_on(t) · photons · (density ⊗ PSF ⊗ pixel), margin included; |z| ≤ 4.5."""
    scene = perfect_scene(labelling=Labelling(max_per_pixel=4.0))
    scope = replace(scene.microscope, fwhm=FwhmLaw(422.0))
    scene = replace(scene, microscope=scope)
    movies = [simulate(cross(), scene, n_frames=12, rng=seed) for seed in range(60)]
    means = np.array([m.stack.data.mean(axis=0) for m in movies], dtype=float)
    wide = mirrored(movies[0].density, 32)
    on = scope.blinking.on_fraction(12).mean() * scope.photons.mean
    expected = on * Projection(wide.grid, movies[0].stack.grid, scope.psf).forward(wide.density)
    lit = expected > 0.02 * expected.max()
    z = (means.mean(axis=0) - expected)[lit] / (means.std(axis=0, ddof=1)[lit] / np.sqrt(60))
    assert np.abs(z).max() < 5.0
    assert np.mean(z**2) < 1.6


def test_movie_is_the_light_of_its_emitters():
    """Without margin light, the mean frame is the projected emitter table."""
    density = np.zeros(GRID.shape, np.float32)
    density[50:80, 50:80] = 1
    scene = perfect_scene()
    scene = replace(scene, microscope=replace(scene.microscope, fwhm=FwhmLaw(422.0)))
    movie = simulate(StructureImage(density, GRID), scene, n_frames=50, rng=3)
    emitters = movie.emitters
    weights = emitters.photons * emitters.frames_on / 50
    expected = expected_image(emitters, weights, movie.stack.grid, scene.microscope.psf)
    np.testing.assert_allclose(movie.stack.mean(), expected, atol=2e-4 * expected.max())


@pytest.mark.parametrize("name", ["paper", "camera", "scmos", "bleaching"])
@pytest.mark.parametrize("chunk", [1, 7, 30])
def test_chunks_do_not_change_a_bit(name, chunk):
    scene = preset(name, 2)
    whole = simulate(cross(), scene, n_frames=30, rng=9).stack.data
    parts = np.zeros_like(whole)
    for frames, data in frame_chunks(cross(), scene, n_frames=30, rng=9, chunk_frames=chunk):
        assert frames.stop - frames.start <= chunk
        parts[frames] = data
    np.testing.assert_array_equal(parts, whole)


def test_seeds_repeat_movies():
    scene = preset("camera", 4)
    first = simulate(cross(), scene, n_frames=10, rng=1)
    again = simulate(cross(), scene, n_frames=10, rng=first.seed)
    other = simulate(cross(), scene, n_frames=10, rng=2)
    np.testing.assert_array_equal(first.stack.data, again.stack.data)
    np.testing.assert_array_equal(first.emitters.x_nm, again.emitters.x_nm)
    assert not np.array_equal(first.stack.data, other.stack.data)
    drawn = simulate(cross(), scene, n_frames=10, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(
        drawn.stack.data, simulate(cross(), scene, n_frames=10, rng=drawn.seed).stack.data
    )


@pytest.mark.parametrize(
    "camera",
    [
        Camera(offset_adu=50, read_noise_e=7.0, shot_noise=False),
        Camera(offset_adu=100, adu_per_electron=2.0, quantum_efficiency=0.8, read_noise_e=1.5),
        Camera(offset_adu=200, adu_per_electron=0.1, read_noise_e=30.0, em_gain=100.0),
    ],
)
def test_noise_follows_the_camera(camera):
    """Residuals against the noise-free movie of the same seed have the camera's variance."""
    scene = perfect_scene(background_photons=20.0)
    light = simulate(cross(), scene, n_frames=80, rng=5).stack.data.astype(float)
    noisy = replace(scene, microscope=replace(scene.microscope, camera=camera))
    counts = simulate(cross(), noisy, n_frames=80, rng=5).stack.data.astype(float)
    z2 = (counts - camera.expected_adu(light)) ** 2 / camera.variance_adu(light)
    # The variance of z² is 2 for Gaussian noise and up to 8 for a multiplied Poisson number.
    assert abs(z2.mean() - 1) < 4.5 * np.sqrt(8 / z2.size)


def test_background_follows_the_intensity_of_each_frame():
    plain = simulate(cross(), perfect_scene(), n_frames=40, rng=6).stack.data
    scene = perfect_scene(background_factor=0.4, background_photons=3.0)
    lifted = simulate(cross(), scene, n_frames=40, rng=6).stack.data
    offset = (lifted - plain).mean(axis=(1, 2))
    np.testing.assert_allclose(lifted - plain, offset[:, None, None] + 0 * plain, atol=1e-3)
    np.testing.assert_allclose(offset, 3.0 + 0.4 * plain.mean(axis=(1, 2)), rtol=1e-4)
    assert np.ptp(offset) > 0.5


def test_trend_dims_all_light():
    plain = simulate(cross(), perfect_scene(), n_frames=11, rng=6).stack.data
    dimmed = simulate(cross(), perfect_scene(intensity_trend=-0.5), n_frames=11, rng=6).stack.data
    np.testing.assert_allclose(
        dimmed, np.linspace(1, 0.5, 11)[:, None, None] * plain, rtol=1e-5, atol=1e-5
    )


def test_non_blinking_labels_add_their_share():
    scene = perfect_scene(labelling=Labelling(n_emitters=6000))
    plain = simulate(cross(), scene, n_frames=60, rng=1).stack.data
    more = simulate(cross(), replace(scene, non_blinking=1.5), n_frames=60, rng=1).stack.data
    static = more - plain
    np.testing.assert_allclose(static, static[:1] + 0 * static, atol=1e-3 * static.max())
    assert static.mean() == pytest.approx(1.5 * plain.mean(), rel=0.03)
    assert np.corrcoef(static[0].ravel(), plain.mean(axis=0).ravel())[0, 1] > 0.98


def test_haze_is_smooth_static_and_as_strong_as_asked():
    scene = perfect_scene(labelling=Labelling(n_emitters=6000))
    plain = simulate(cross(), scene, n_frames=60, rng=1).stack.data
    more = simulate(cross(), replace(scene, haze=0.8), n_frames=60, rng=1).stack.data
    haze = (more - plain)[0]
    assert haze.mean() == pytest.approx(0.8 * plain.mean(), rel=0.03)
    assert haze.min() > 0
    steps = np.abs(np.diff(haze, axis=0)).max()
    assert steps < 0.3 * np.abs(np.diff(plain.mean(axis=0), axis=0)).max()


def test_out_of_focus_emitters_add_wide_blinking_light():
    scene = perfect_scene(labelling=Labelling(n_emitters=6000))
    plain = simulate(cross(), scene, n_frames=60, rng=1).stack.data
    more = simulate(cross(), replace(scene, out_of_focus=0.1), n_frames=60, rng=1).stack.data
    extra = more - plain
    assert extra.min() > -1e-3
    assert extra.mean() == pytest.approx(0.1 * 3.0 * plain.mean(), rel=0.25)
    assert extra.std(axis=0).mean() > 0.02 * plain.std(axis=0).mean()


def test_a_halo_spreads_blinking_and_static_light():
    scene = perfect_scene(labelling=Labelling(n_emitters=6000), non_blinking=1.5)
    halo = Halo(0.4, 300.0)
    wide = replace(scene, microscope=replace(scene.microscope, halo=halo))
    plain, spread = (simulate(cross(), s, n_frames=20, rng=1) for s in (scene, wide))
    np.testing.assert_array_equal(plain.emitters.x_nm, spread.emitters.x_nm)
    inner = np.s_[:, 6:-6, 6:-6]
    expected = halo.around(plain.stack.load(), 160.0)[inner]
    np.testing.assert_allclose(spread.stack.load()[inner], expected, atol=0.01 * expected.max())
    assert np.abs(spread.stack.load() - plain.stack.load()).max() > 0.1 * expected.max()


def test_drift_moves_blinking_and_static_light():
    density = np.zeros(GRID.shape, np.float32)
    density[60:68, 60:68] = 1
    scene = perfect_scene(
        labelling=Labelling(n_emitters=20_000), non_blinking=1.0, drift_nm=(80.0, -40.0)
    )
    data = simulate(StructureImage(density, GRID), scene, n_frames=21, rng=1).stack.data
    pixels = np.arange(CAMERA_PX) * 160.0
    light = data.sum(axis=(1, 2))
    path = np.stack([data.sum(axis=2) @ pixels, data.sum(axis=1) @ pixels], 1) / light[:, None]
    np.testing.assert_allclose(path[-3:].mean(0) - path[:3].mean(0), [72.0, -36.0], atol=4.0)


def test_borders_receive_light_from_outside():
    flat = StructureImage(np.ones(GRID.shape, np.float32), GRID)
    scene = perfect_scene(labelling=Labelling(max_per_pixel=1.0))
    mean = simulate(flat, scene, n_frames=100, rng=2).stack.mean()
    rim = np.concatenate([mean[0], mean[-1], mean[:, 0], mean[:, -1]]).mean()
    assert rim == pytest.approx(mean[5:-5, 5:-5].mean(), rel=0.02)


def test_truths_are_area_aligned():
    movie = simulate(cross(), perfect_scene(), n_frames=2, rng=1)
    for factor in (1, 2, 4, 8):
        counts, density = movie.truth(factor), movie.truth_density(factor)
        assert counts.grid == density.grid == movie.stack.grid.refine(factor)
        assert counts.density.sum() == len(movie.emitters)
        assert density.density.sum(dtype=float) == pytest.approx(800, rel=1e-5)
        np.testing.assert_array_equal(
            counts.density, block_sum(movie.truth(8).density, 8 // factor)
        )
        assert (density.density[counts.density > 0] > 0).all()


def test_emitters_table():
    scene = custom(camera=replace(PERFECT, adu_per_electron=2.0), photons=50.0, bleaching=0.05)
    movie = simulate(cross(), scene, n_frames=60, rng=1)
    table = movie.emitters
    assert abs(len(table) - 5000) < 4.5 * np.sqrt(5000)
    for position in (table.y_nm, table.x_nm):
        assert position.min() >= 0
        assert position.max() < 16 * 160
    assert (table.frames_on <= table.bleach_frame).all()
    assert table.bleach_frame.max() == 60
    survivors = np.linalg.matrix_power(scene.microscope.blinking.matrix, 60)[1, :2].sum()
    n = len(table)
    assert abs((table.bleach_frame == 60).sum() - n * survivors) < 4.5 * np.sqrt(
        n * survivors * (1 - survivors)
    )
    never = table.frames_on == 0
    assert (table.photons[never] == 100.0).all()
    mean = np.average(table.photons, weights=table.frames_on)
    assert mean == pytest.approx(100.0, rel=4.5 * 0.2 / np.sqrt(table.frames_on.sum()))


def test_data_type_follows_the_camera():
    for bits, dtype in ((8, np.uint8), (12, np.uint16), (16, np.uint16), (None, np.float32)):
        camera = Camera(offset_adu=20, read_noise_e=5, shot_noise=False, bits=bits)
        scene = perfect_scene()
        scene = replace(scene, microscope=replace(scene.microscope, camera=camera))
        assert simulate(cross(), scene, n_frames=2, rng=1).stack.data.dtype == dtype


def test_eight_bits_saturate():
    camera = Camera(offset_adu=200, read_noise_e=40, shot_noise=False, bits=8)
    scene = perfect_scene(background_photons=40.0)
    scene = replace(scene, microscope=replace(scene.microscope, camera=camera))
    data = simulate(cross(), scene, n_frames=10, rng=1).stack.data
    assert data.max() == 255
    assert (data == 255).mean() > 0.2


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize(("upscaling", "shape"), [(8, (64, 96)), (5, (40, 25)), (4, (4, 4))])
def test_every_preset_on_other_grids(name, upscaling, shape):
    grid = PixelGrid(shape, 160.0 / upscaling)
    movie = simulate(draw("mesh", grid, 1), preset(name, 1), n_frames=3, upscaling=upscaling, rng=1)
    assert movie.stack.grid.shape == (shape[0] // upscaling, shape[1] // upscaling)
    assert np.isfinite(movie.stack.load()).all()


def test_field_may_lie_anywhere():
    here = simulate(cross(), perfect_scene(), n_frames=5, rng=1)
    grid = replace(GRID, origin_nm=(3200.0, -480.0))
    there = simulate(cross(grid), perfect_scene(), n_frames=5, rng=1)
    np.testing.assert_allclose(there.stack.data, here.stack.data, atol=1e-3)
    assert there.truth(8).density.sum() == len(there.emitters)
    np.testing.assert_allclose(there.emitters.y_nm - here.emitters.y_nm, 3200.0)


def test_hardly_labelled_fields_give_dark_movies():
    scene = perfect_scene(labelling=Labelling(n_emitters=1e-6), haze=1.0, out_of_focus=0.5)
    movie = simulate(cross(), scene, n_frames=3, rng=1)
    assert len(movie.emitters) == 0
    assert movie.truth(8).density.sum() == 0
    assert movie.stack.load().max() < 1e-3


def test_ground_truth_waits_for_the_last_chunk():
    simulation = Simulation(cross(), perfect_scene(), n_frames=6, rng=1)
    chunks = simulation.chunks(3)
    next(chunks)
    with pytest.raises(InputError, match="last chunk"):
        simulation.ground_truth()
    assert len(list(chunks)) == 1
    assert len(simulation.ground_truth().emitters) > 0


def test_misfits_are_refused():
    scene = perfect_scene()
    with pytest.raises(InputError, match="camera pixels of 80 nm"):
        simulate(cross(), scene, upscaling=4, rng=1)
    with pytest.raises(ShapeError, match="does not divide"):
        simulate(cross(PixelGrid((100, 100), 20.0)), scene, rng=1)
    with pytest.raises(InputError, match="at least 2 frames"):
        simulate(cross(), scene, n_frames=1, rng=1)
    with pytest.raises(InputError, match="upscaling"):
        simulate(cross(), scene, upscaling=0, rng=1)
    with pytest.raises(InputError, match="at least one frame"):
        next(frame_chunks(cross(), scene, chunk_frames=0, rng=1))
    with pytest.raises(InputError, match="divides the upscaling"):
        simulate(cross(), scene, n_frames=2, rng=1).truth(3)


def test_photons_may_be_a_whole_number():
    whole, real = (
        simulate(cross(), perfect_scene(microscope=custom(photons=p).microscope), n_frames=4, rng=3)
        for p in (50, 50.0)
    )
    np.testing.assert_array_equal(whole.emitters.photons, real.emitters.photons)
