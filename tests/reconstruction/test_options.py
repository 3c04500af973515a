"""Options that are impossible, or do not go together, are refused before any work."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.errors import InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.reconstruction import reconstruct


@pytest.fixture(scope="module")
def copying(compact):
    """A network whose image is the deconvolution that it sees."""
    return compact(lambda guide: guide)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "srrf"}, InputError, "dlbi, network, bayes, 3b, rl, sofi, mean"),
        ({"quality": "ultra"}, InputError, "preview, standard, best"),
        ({"start": "random"}, InputError, "guide, resampled"),
        ({"upscaling": 0}, InputError, "fine pixels per camera pixel .* 1 to 16, got 0"),
        ({"upscaling": 17}, InputError, "1 to 16, got 17"),
        ({"upscaling": 2.5}, InputError, "whole, 1 to 16, got 2.5"),
        ({"n_workers": 0}, InputError, "number of workers must be .* at least 1, got 0"),
        ({"n_workers": 1.5}, InputError, "number of workers must be whole, .* got 1.5"),
        ({"n_chains": 0}, InputError, "number of chains must be .* at least 1, got 0"),
        ({"guide_iterations": -1}, InputError, "guide iterations must be .* at least 0, got -1"),
        ({"psf": 422.0}, InputError, r"a PSF must be of type GaussianPSF, got float; .*\(fwhm_nm"),
        ({"scope": "scope.toml"}, InputError, "a scope must be of type Scope, got str; .*load_sc"),
        ({"model": "m.onnx"}, InputError, "a model must be of type Network, got str; .*load_net"),
        ({"guide": [[1.0]]}, InputError, "a guide must be of type ndarray, got list"),
        ({"rng": -1}, InputError, "a seed is 0 or larger, got -1"),
        ({"guide": np.ones((3, 3), np.float32)}, ShapeError, "256×256"),
        ({"guide": -np.ones((256, 256), np.float32)}, InputError, "non-negative"),
        ({"guide": np.zeros((256, 256), np.float32)}, InputError, "not all zero"),
        ({"guide": np.full((256, 256), np.nan, np.float32)}, InputError, "finite"),
        ({"method": "dlbi", "upscaling": 4}, InputError, "refines 8 times, not 4.*bayes"),
        ({"method": "network", "upscaling": 4}, InputError, "refines 8 times, not 4.*bayes"),
        ({"method": "dlbi", "guide": np.ones((256, 256), np.float32)}, InputError, "bayes or rl"),
        ({"method": "network", "guide": np.ones((256, 256), np.float32)}, InputError, "bayes or"),
        ({"method": "3b", "guide": np.ones((256, 256), np.float32)}, InputError, "3b has no use"),
        ({"method": "sofi", "guide": np.ones((256, 256), np.float32)}, InputError, "bayes or rl"),
    ],
)
def test_wrong_options_are_one_clear_line(movie, options, error, message, copying):
    with pytest.raises(error, match=message) as caught:
        reconstruct(movie.stack, **{"method": "bayes", "model": copying, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "side", "message"),
    [("bayes", 7, "8×8"), ("dlbi", 15, "16×16.*30×15.*bayes"), ("network", 15, "16×16")],
)
def test_a_field_smaller_than_the_method_needs_is_refused(method, side, message, copying):
    data = np.random.default_rng(0).normal(100, 5, (20, side, 30)).astype(np.float32)
    stack = ImageStack(data, PixelGrid((side, 30), 160.0))
    with pytest.raises(ShapeError, match=message):
        reconstruct(stack, method=method, model=copying)
