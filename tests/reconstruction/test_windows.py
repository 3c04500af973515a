"""Windows of a movie: which frames, one microscope, one scale, numbers of their own."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbi.core.errors import DlbiWarning, InputError, ShapeError
from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack
from dlbi.core.optics import GaussianPSF
from dlbi.inference.hmm.refinement import Schedule
from dlbi.inference.measurement.noise import fit_noise
from dlbi.inference.measurement.psf import PRIOR_FWHM_NM
from dlbi.reconstruction import reconstruct, reconstruct_windows, threeb, windows
from dlbi.reconstruction.measurement import optics_of
from dlbi.reconstruction.options import QUALITIES
from dlbi.reconstruction.windows import Windows

PSF = GaussianPSF(422.0)
GRID = PixelGrid((16, 16), 160.0)


@pytest.fixture(scope="module", autouse=True)
def short_runs():
    """Few sweeps: these tests ask what is wired to what, not how good it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(QUALITIES, "preview", Schedule(n_sweeps=6, n_burn_in=3))
        yield


@pytest.fixture(scope="module")
def small(movie):
    """A corner of the movie."""
    return movie.stack.select(roi=(8, 8, 12, 12))


def bayes(stack, scope, **options):
    options = {"window": 30, "method": "bayes", "quality": "preview", "rng": 3, **options}
    return list(reconstruct_windows(stack, scope=scope, **options))


def assert_equal(one, other):
    for name in ("mean", "std", "p_value", "background"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.emitters.x_nm, other.emitters.x_nm)


@given(st.integers(2, 500), st.integers(2, 60), st.none() | st.integers(1, 80))
def test_windows_are_equally_long_and_as_many_as_fit(n_frames, window, step):
    if window > n_frames:
        with pytest.raises(InputError, match="longer than"):
            Windows(n_frames, window, step)
        return
    windows = Windows(n_frames, window, step)
    stride = step or window
    assert [w.stop - w.start for w in windows] == [window] * len(windows)
    assert [w.start for w in windows] == [n * stride for n in range(len(windows))]
    assert windows[-1].stop <= n_frames < windows[-1].stop + stride
    assert windows.n_left_out == n_frames - windows[-1].stop


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"window": 1}, InputError, "2 or more are needed"),
        ({"window": 121}, InputError, "longer than the 120 of the movie"),
        ({"window": 20.5}, InputError, "whole numbers of frames, got 20.5 and None"),
        ({"window": 20, "step": 2.5}, InputError, "whole numbers of frames, got 20 and 2.5"),
        ({"window": 20, "step": 0}, InputError, "got a step of 0; use 1 or more"),
        ({"window": 20, "method": "magic"}, InputError, "method must be one of"),
        ({"window": 20, "guide": np.ones((3, 3), "f4")}, ShapeError, "guide must be 96×96"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(small, options, error, says):
    with pytest.raises(error, match=says):
        reconstruct_windows(small, **{"method": "rl", **options})


def test_psf_and_noise_are_those_of_the_whole_movie(movie):
    results = list(reconstruct_windows(movie.stack, window=60, method="rl"))
    assert [frames for frames, _ in results] == [slice(0, 60), slice(60, 120)]
    for _, sr in results:
        assert sr.provenance["psf"] == optics_of(movie.stack).record
        assert sr.provenance["halo"] == asdict(optics_of(movie.stack).halo)
        assert sr.provenance["noise"] == fit_noise(movie.stack)._asdict()


def test_what_is_given_is_not_measured(small, scope):
    ((_, sr),) = reconstruct_windows(small, window=120, method="rl", scope=scope, psf=PSF)
    assert sr.provenance["psf"] == {"fwhm_nm": 422.0, "origin": "given"}
    assert sr.provenance["noise"]["gain"] == 2.0
    alone = reconstruct(small, method="rl", scope=scope, psf=PSF)
    np.testing.assert_array_equal(sr.mean, alone.mean)


def test_an_unknown_psf_is_told_once():
    noise = np.random.default_rng(3).normal(100, 5, (40, 16, 16)).astype(np.float32)
    with pytest.warns(DlbiWarning) as told:
        results = list(reconstruct_windows(ImageStack(noise, GRID), window=20, method="rl"))
    assert len([w for w in told if "--psf-fwhm" in str(w.message)]) == 1
    assert [sr.provenance["psf"]["fwhm_nm"] for _, sr in results] == [PRIOR_FWHM_NM] * 2


def test_what_was_done_to_the_movie_and_an_odd_psf_are_told_once():
    frames = np.random.default_rng(3).normal(100, 5, (60, 16, 16)).astype(np.float32)
    frames[:, :, 12:] = 0.0
    frames[::30] = 0.0
    stack = ImageStack(frames, GRID)
    with pytest.warns(DlbiWarning) as told:
        list(reconstruct_windows(stack, window=20, method="rl", psf=GaussianPSF(4200.0)))
    said = [str(w.message) for w in told]
    for what in ("never change", "hold one value only", "outside the plausible"):
        assert len([message for message in said if what in message]) == 1


@pytest.mark.parametrize("method", ["mean", "rl", "sofi"])
def test_brightness_is_on_one_scale(method):
    """Half the light is half the image: no window is brought to a brightness of its own."""
    y, x = np.mgrid[:16, :16] - 7.5
    spot = 60 * np.exp(-(y**2 + x**2) / (2 * 1.5**2))
    generator = np.random.default_rng(5)
    light = (
        spot * generator.choice([0.5, 1.5], (80, 1, 1)) * np.repeat([1.0, 0.5], 40)[:, None, None]
    )
    frames = (100 + light + generator.normal(0, 1, light.shape)).astype(np.float32)
    results = reconstruct_windows(ImageStack(frames, GRID), window=40, method=method, psf=PSF)
    bright, dim = (sr.mean.sum() for _, sr in results)
    truth = light[40:].mean() / light[:40].mean()
    assert dim / bright == pytest.approx(truth, rel=0.05)
    assert bright == pytest.approx(light[:40].mean(axis=0).sum(), rel=0.15)


def test_other_windows_change_nothing(small, scope):
    """The numbers of a window are keyed by its first frame."""
    every = {frames.start: sr for frames, sr in bayes(small, scope, step=15)}
    shorter = bayes(small.select(slice(0, 75)), scope)
    later = bayes(small, scope, step=15, first=5)
    assert [frames.start for frames, _ in later] == [75, 90]
    for frames, sr in [*shorter, *later]:
        assert_equal(sr, every[frames.start])
    seeds = {sr.provenance["seed"] for sr in every.values()}
    assert len(seeds) == len(every) == 7


def test_equal_frames_draw_other_numbers_elsewhere(small, scope):
    twice = np.concatenate([small.load(slice(0, 30))] * 2)
    (_, one), (_, other) = bayes(replace(small, data=twice), scope)
    assert not np.array_equal(one.mean, other.mean)


def test_workers_change_nothing(small, scope):
    short = small.select(slice(0, 60))
    results = zip(bayes(short, scope), bayes(short, scope, n_workers=2), strict=True)
    for (_, one), (_, two) in results:
        assert_equal(one, two)


def test_a_window_is_read_when_its_turn_comes(small):
    read = []

    class Watched:
        shape = small.data.shape

        def __getitem__(self, key):
            read.append((key if isinstance(key, slice) else key[0]).indices(120)[:2])
            return small.data[key]

    windows = reconstruct_windows(replace(small, data=Watched()), window=40, method="rl", psf=PSF)
    for start in (0, 40, 80):
        read.clear()
        frames, _ = next(windows)
        assert frames.start == start
        assert min(first for first, _ in read) == start
        assert max(stop for _, stop in read) == start + 40


def test_warnings_and_progress_name_their_window(small):
    frames = small.load(slice(0, 60)).copy()
    frames[30:] = np.random.default_rng(1).normal(100, 5, frames[30:].shape)
    stack, stages = replace(small, data=frames), []
    options = {"method": "bayes", "quality": "preview", "psf": PSF, "rng": 1}
    with pytest.warns(DlbiWarning) as told:
        (_, lit), (_, dark) = reconstruct_windows(
            stack, window=30, progress=lambda *step: stages.append(step), **options
        )
    (text,) = [str(w.message) for w in told if "no light" in str(w.message)]
    assert text.startswith("window 2 of 2: no light stands out")
    assert lit.mean.any()
    assert not dark.mean.any()
    assert ("window 1 of 2, sampling", 6, 6) in stages


def test_windows_that_warn_in_the_same_words_are_counted(small):
    """Three dark windows after a lit one."""
    frames = small.load(slice(0, 80)).copy()
    frames[20:] = np.random.default_rng(1).normal(100, 5, frames[20:].shape)
    options = {"method": "bayes", "quality": "preview", "psf": PSF, "rng": 1}
    with pytest.warns(DlbiWarning) as told:
        list(reconstruct_windows(replace(small, data=frames), window=20, **options))
    dark = [str(w.message) for w in told if "no light" in str(w.message)]
    assert dark == [
        "window 2 of 4: no light stands out of the background noise: the reconstruction is empty",
        "2 later windows warn like window 2 of 4: no light stands out of the background noise: the "
        "reconstruction is empty",
    ]


def test_warnings_that_differ_in_numbers_only_are_of_one_kind():
    """Others, and those of other categories, come as often as they are given."""
    texts = ["haze 2.75 (trained on 0 to 1)", "R-hat 1.3", "haze -1e-05 (trained on 0 to 1)"]

    def warn():
        told = windows._Told()
        for n, text in enumerate(texts, start=1):
            with told.by(f"window {n} of 3"):
                warnings.warn(text, DlbiWarning, stacklevel=1)
                warnings.warn("of another library", UserWarning, stacklevel=1)
        told.again()

    with pytest.warns(UserWarning, match="of another library") as caught:
        warn()
    assert [str(w.message) for w in caught if w.category is DlbiWarning] == [
        f"window 1 of 3: {texts[0]}",
        f"window 2 of 3: {texts[1]}",
        f"1 later window warns like window 1 of 3: {texts[0]}",
    ]
    assert sum(w.category is UserWarning for w in caught) == 3


def test_all_runs_of_3b_are_announced_together(small, monkeypatch):
    each = threeb.expected_minutes(144, 40, threeb.ThreeBOptions(iterations=10))
    monkeypatch.setattr(threeb, "LONG_MINUTES", 2.5 * each)
    with pytest.warns(DlbiWarning, match="3b of 12×12 px and 40 frames, 3 times, takes some"):
        reconstruct_windows(small, window=40, method="3b", psf=PSF)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DlbiWarning)
        reconstruct_windows(small, window=40, method="3b", psf=PSF, first=1)


def test_defects_are_those_of_the_whole_movie(small, scope):
    """A particle in one frame of the first window is told once and mended in all windows."""
    frames = small.load()
    frames[10, 6, 4] += 1e5
    with pytest.warns(DlbiWarning) as caught:
        found = bayes(replace(small, data=frames), scope)
    assert [str(w.message) for w in caught if "alone" in str(w.message)] == [
        "1 camera pixel stands alone, hot or dead: (4, 6) (x, y); filled in from the pixels around"
    ]
    assert [sr.provenance["defective_pixels"] for _, sr in found] == len(found) * [((4, 6),)]
    assert len(found) > 1
