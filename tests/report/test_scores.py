"""What an image is scored against: the mean frame as it was made from it."""

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.inference.measurement.bleaching import time_average
from dlbi.report.scores import movie_scores


def test_windows_are_scored_against_all_frames_alike_and_one_image_against_those_that_shine(sr):
    grid = PixelGrid((24, 20), 160.0)
    light = 400.0 * np.exp(-np.arange(80) / 30.0)[:, None, None]
    square = np.zeros(grid.shape)
    square[8:14, 5:15] = 1.0
    frames = 100.0 + light * square + np.random.default_rng(3).normal(0.0, 3.0, (80, *grid.shape))
    frames[60:, 16:18, 6:8] += 20.0
    movie = ImageStack(frames.astype(np.float32), grid)
    fading = time_average(movie, lambda mean: np.full_like(mean, 9.0)).mean
    one = movie_scores(sr, movie).scores
    several = movie_scores(sr, movie, of_windows=True).scores
    np.testing.assert_allclose(several.mean, movie.mean() - background(sr), rtol=1e-5)
    np.testing.assert_allclose(one.mean, fading - background(sr), atol=0.2)
    survivor = (several.mean - one.mean)[16:18, 6:8].mean()
    assert 3.0 < survivor < 5.0


def background(sr):
    return 0.0 if sr.background is None else sr.background
