"""What an image is scored against: the mean frame as it was made from it."""

import numpy as np

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.inference.measurement.bleaching import time_average
from dlbi.report.scores import movie_scores


def test_an_image_is_scored_against_the_mean_that_it_was_made_from(sr):
    grid = PixelGrid((24, 20), 160.0)
    light = 400.0 * np.exp(-np.arange(80) / 30.0)[:, None, None]
    square = np.zeros(grid.shape)
    square[8:14, 5:15] = 1.0
    frames = 100.0 + light * square + np.random.default_rng(3).normal(0.0, 3.0, (80, *grid.shape))
    frames[60:, 16:18, 6:8] += 20.0
    movie = ImageStack(frames.astype(np.float32), grid)
    fading = time_average(movie, lambda mean: np.full_like(mean, 9.0)).mean
    weighted = movie_scores(sr, movie, by_light=True).scores
    alike = movie_scores(sr, movie, by_light=False).scores
    np.testing.assert_allclose(alike.mean, movie.mean() - background(sr), rtol=1e-5)
    np.testing.assert_allclose(weighted.mean, fading - background(sr), atol=0.2)
    survivor = (alike.mean - weighted.mean)[16:18, 6:8].mean()
    assert 3.0 < survivor < 5.0


def background(sr):
    return 0.0 if sr.background is None else sr.background
