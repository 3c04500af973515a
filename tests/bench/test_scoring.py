"""Scores of images whose scores are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dlbi.bench.scoring import score
from dlbi.bench.subjects import Subject
from dlbi.core.images import Reconstruction
from dlbi.evaluation.image import score_truth
from dlbi.evaluation.squirrel import score_movie
from dlbi.reconstruction import reconstruct
from dlbi.reconstruction.measurement import measure


@pytest.fixture(scope="module")
def subject(tiny):
    return tiny.load()


def test_the_true_fluorophores_correlate_perfectly(subject):
    counts = subject.truth.truth(8)
    scores = score(Reconstruction(counts.density, counts.grid), subject)
    assert [scores[f"corr_{b}px"] for b in (0, 2, 4)] == pytest.approx([1.0] * 3)


def test_the_true_density_is_perfect_and_the_null_row_stands_beside_it(subject):
    density = subject.truth.truth_density(8)
    image = Reconstruction(7.0 * density.density, density.grid)
    scores = score(image, subject)
    assert scores["ssim_ls"] == pytest.approx(1.0, abs=1e-6)
    null = score_truth(image, density).null
    assert scores["null_psnr_ls_db"] == null.psnr_ls_db
    assert scores["null_ssim_p999"] == null.ssim_p999


def test_the_paper_counts_rse_in_twentieths(subject):
    sr = reconstruct(subject.stack, method="mean", rng=1)
    scores = score(sr, subject)
    assert scores["rse"] == pytest.approx(score_movie(sr, subject.stack).rse)
    assert scores["rse_paper"] == pytest.approx(20 * scores["rse"])


def test_background_off_is_the_mean_frame_without_the_measured_haze(subject):
    sr = reconstruct(subject.stack, method="mean", rng=1)
    haze = measure(subject.stack).background.haze
    expected = score_movie(sr, subject.stack, background=haze)
    scores = score(sr, subject)
    assert scores["rsp_signal"] == pytest.approx(expected.rsp)
    assert scores["rse_signal"] == pytest.approx(expected.rse)
    assert scores["rsp_signal"] != pytest.approx(scores["rsp"], abs=1e-4)


def test_an_image_is_scored_with_the_background_that_it_leaves_out(subject):
    sr = reconstruct(subject.stack, method="rl", rng=1)
    other = replace(sr, background=sr.background + np.linspace(0, 300, sr.background.shape[1]))
    expected = score_movie(other, subject.stack, background=other.background)
    scores = score(other, subject)
    assert scores["rse_signal"] == pytest.approx(expected.rse)
    assert scores["rse_signal"] != pytest.approx(score(sr, subject)["rse_signal"], rel=0.05)
    bare = score(replace(sr, background=None), subject)
    assert bare["rse_signal"] == pytest.approx(score(sr, subject)["rse_signal"])


def test_chi2_is_that_of_the_true_psf_without_background_in_camera_noise(subject):
    sr = reconstruct(subject.stack, method="rl", psf=subject.psf, rng=1)
    measured = measure(subject.stack)
    expected = score_movie(
        sr,
        subject.stack,
        psf=subject.psf,
        background=measured.background.haze,
        variance_of_mean=measured.variance_of_mean,
    ).chi2_reduced
    assert score(sr, subject)["chi2"] == pytest.approx(expected)


def test_without_a_truth_only_the_movie_counts(subject):
    sr = reconstruct(subject.stack, method="mean", rng=1)
    real = Subject(subject.stack, None, subject.psf)
    assert set(score(sr, real)) == {
        "rsp", "rse", "rse_paper", "rsp_signal", "rse_signal", "chi2",
    }  # fmt: skip


def test_an_empty_image_has_no_correlation(subject):
    fine = subject.stack.grid.refine(8)
    scores = score(Reconstruction(np.zeros(fine.shape, np.float32), fine), subject)
    assert scores["corr_2px"] is None
    assert scores["rsp"] is None
    assert scores["psnr_ls_db"] == scores["null_psnr_ls_db"]
