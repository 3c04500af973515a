"""Scores as text."""

from __future__ import annotations

import numpy as np
import pytest

from dlbi.core.grid import PixelGrid
from dlbi.core.images import ImageStack, Reconstruction, StructureImage
from dlbi.core.optics import GaussianPSF
from dlbi.evaluation.image import NORMALISATIONS, score_truth
from dlbi.evaluation.squirrel import score_movie
from dlbi.evaluation.tables import cell, score_table

GRID = PixelGrid((32, 40), 20.0)


def picture(seed):
    return np.random.default_rng(seed).random(GRID.shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (None, "–"), (float("inf"), "–"), (float("nan"), "–"), ("rl", "rl")],
)
def test_cells(value, text):
    assert cell(value, places=3) == text


def test_columns_are_aligned_and_hold_the_scores():
    scores = score_truth(Reconstruction(picture(1), GRID), StructureImage(picture(2), GRID))
    lines = score_table([row | {"name": "a longer name"} for row in scores.rows()]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "PSNR ls" in lines[0]
    assert f"{scores.image.psnr_ls_db:.2f}" in lines[1]
    assert f"{scores.image.ssim_p999:.3f}" in lines[1]
    assert lines[2].count("–") == 3


def test_truth_scores_print_both_rows_and_every_normalisation():
    scores = score_truth(Reconstruction(picture(1), GRID), StructureImage(picture(2), GRID))
    lines = str(scores).splitlines()
    assert "40×32 px of 20 nm" in lines[0]
    assert [line.split()[0] for line in lines[2:4]] == ["image", "null"]
    for name, meaning in NORMALISATIONS.items():
        assert f"{name}: {meaning}" in lines


def test_movie_scores_print_their_numbers_without_arrays():
    camera = GRID.coarsen(4)
    frames = np.random.default_rng(3).random((5, *camera.shape))
    image = Reconstruction(picture(1), GRID)
    scores = score_movie(image, ImageStack(frames, camera), psf=GaussianPSF(100.0))
    text = str(scores)
    assert f"RSP {scores.rsp:.4f}" in text
    assert "100 nm FWHM (given)" in text
    assert "array" not in text
