"""A whole run: image in its place, emitters, progress, seeds and bad input."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.errors import InputError
from dlbi.core.grid import PixelGrid
from dlbi.core.optics import FWHM_PER_SIGMA, GaussianPSF
from dlbi.inference.threeb import ThreeBOptions, threeb
from dlbi.inference.threeb.image import SpotMaps
from dlbi.inference.threeb.options import CHAIN

PSF = GaussianPSF(422.0)
QUICK = {
    "iterations": 2, "passes": 2, "tries": 1, "samples": 4, "size_samples": 4,
    "hessian_samples": 5, "growth_steps": 50, "size_searches": 40,
}  # fmt: skip
Y_PX, X_PX = np.array([4.3, 9.6]), np.array([9.1, 3.4])


@pytest.fixture(scope="module")
def movie(known_movie):
    return known_movie(
        Y_PX, X_PX, (14, 13), 40, chain=CHAIN, flux=400.0, cv=0.05, noise=4.0, seed=3
    )


def run(movie, seed=0, progress=None, **options):
    options = ThreeBOptions(**QUICK | {"pixels_per_spot": 60.0} | options)
    return threeb(movie.frames, movie.grid, PSF, options=options, seed=seed, progress=progress)


def test_the_image_lies_where_the_emitter_is(known_movie):
    y_px, x_px = Y_PX[:1], X_PX[:1]
    one = known_movie(y_px, x_px, (14, 13), 40, chain=CHAIN, flux=400.0, noise=4.0, seed=3)
    result = run(one, iterations=3, tries=0, pixels_per_spot=182)
    assert result.mean.shape == result.std.shape == (112, 104)
    (y_nm,), (x_nm,) = one.grid.to_nm(y_px, x_px)
    e = result.emitters
    assert len(e) == 1
    assert np.hypot(e.x_nm - x_nm, e.y_nm - y_nm) < 5
    # The first of seven passes was elsewhere.
    fine_y, fine_x = one.grid.refine(8).centres_nm()
    peak = np.unravel_index(result.mean.argmax(), result.mean.shape)
    assert abs(fine_y[peak[0]] - y_nm) <= 12
    assert abs(fine_x[peak[1]] - x_nm) <= 12
    assert result.mean.sum() == pytest.approx(1, rel=1e-3)
    # The trough that the high-pass digs around a spot takes about a fifth of its light.
    assert e.photons[0] == pytest.approx(325, rel=0.08)
    lit = one.light[0] > 0
    assert e.frames_on[0] == pytest.approx(lit.sum(), abs=1.5)


def test_maps_are_mean_and_deviation_of_blurred_counts():
    grid = PixelGrid((40, 50), 20.0, (100.0, 300.0))
    maps = SpotMaps(grid, 100.0)
    y_nm, x_nm = grid.to_nm(np.array([20, 20, -3]), np.array([25, 10, 5]))
    maps.add(x_nm, y_nm)
    maps.add(x_nm[:1], y_nm[:1])
    mean, std = maps.mean(), maps.std()
    sigma = 100.0 / FWHM_PER_SIGMA / 20.0
    r2 = (np.arange(40)[:, None] - 20.0) ** 2 + (np.arange(50) - 25.0) ** 2
    spot = np.exp(-0.5 * r2 / sigma**2)
    spot /= spot.sum()
    np.testing.assert_allclose(mean[:, 18:33], spot[:, 18:33], atol=3e-5)
    assert mean.sum() == pytest.approx(1.5, rel=1e-4)  # two spots, then one; one is outside
    # Present in one of two passes: as much deviation as mean.
    np.testing.assert_allclose(std[20, 10], mean[20, 10], rtol=1e-3)
    assert std[20, 25] < 1e-3 * mean[20, 25]


def test_every_pass_counts_the_first_and_the_end_included(movie):
    result = run(movie)
    assert len(result.n_spots) == 2 * 2 + 1
    assert result.n_spots[0] == 3
    record = result.diagnostics()
    assert record["options"]["iterations"] == 2
    assert record["n_spots"] == result.n_spots
    assert record["visits"] >= 4
    assert len(result.emitters) == result.n_spots[-1]


def test_progress_counts_to_its_end_and_can_stop_the_run(movie):
    seen = []
    run(movie, progress=lambda *step: seen.append(step))
    assert seen == [(n, 6) for n in range(1, 7)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(movie, progress=stop)


def test_same_seed_same_bits(movie):
    one, two, other = run(movie, 1), run(movie, 1), run(movie, 2)
    np.testing.assert_array_equal(one.mean, two.mean)
    np.testing.assert_array_equal(one.std, two.std)
    assert one.diagnostics() == two.diagnostics()
    assert not np.array_equal(one.mean, other.mean)


def test_options_change_what_they_name(movie):
    base = run(movie, iterations=1)
    for options in ({"noise": "median"}, {"normalised_dimensions": 2}, {"burn_in": 3}):
        changed = run(movie, iterations=1, **options)
        assert not np.array_equal(changed.emitters.x_nm, base.emitters.x_nm)
    two = run(movie, iterations=3, normalised_dimensions=2).emitters
    assert two.photons.max() == pytest.approx(325, rel=0.1)


def test_a_movie_of_noise_runs_to_its_end():
    frames = np.random.default_rng(0).normal(100, 3, (6, 8, 8))
    result = threeb(frames, PixelGrid((8, 8), 160.0), PSF, options=ThreeBOptions(**QUICK))
    assert np.isfinite(result.mean).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"burn_in": -1}, "burn_in must be at least 0"),
        ({"pixels_per_spot": 0.0}, "pixels_per_spot must be positive"),
        ({"image_fwhm_nm": float("nan")}, "image_fwhm_nm must be positive"),
        ({"noise": "camera"}, "noise must be movie or median"),
        ({"normalised_dimensions": 3}, "in 1 or 2 dimensions, got 3"),
    ],
)
def test_options_that_make_no_sense(options, says):
    with pytest.raises(InputError, match=says):
        ThreeBOptions(**options)
