from __future__ import annotations

from dataclasses import replace

from dlbi.learning.confidence import Confidence
from dlbi.learning.network import ModelMetadata
from dlbi.training.card import model_card

FULL = ModelMetadata(
    "dlbi-compact", "compact", mask_channels=64, keep=0.8, halo_px=23,
    channels=("signal", "noise"), ranges={"haze": (0.0, 2.5), "n_frames": (20.0, 400.0)},
    confidence=Confidence(5.25),
    training={
        "steps": 9000, "seed": 7, "n_series": 1200, "cpu_hours": 1.234567,
        "scores": {"filaments": {"PSNR, dB": 23.456, "r": 0.81}, "rings": {"r": 0.5}},
        "calibration": [{"stated": 0.05, "observed": 0.048, "n_pixels": 12000}],
        "discovery": [{"stated": 0.01, "observed": 0.0125, "n_pixels": 3400}],
        "within_one_std": 0.67892, "perceptual": "VGG19 (vgg19.pth, SHA-256 12ab)",
        "config": {"optimisation": {"steps": 9000}},
    },
    dlbi_version="1.2.3",
)  # fmt: skip
BARE = ModelMetadata("frames", "paper", mask_channels=256, keep=0.8, halo_px=38, n_frames=200)


def test_a_full_card_tells_what_was_trained_on_and_reached():
    lines = model_card(FULL, sha256="abc").splitlines()
    assert lines[0] == "# dlbi-compact"
    assert [line for line in lines if line.startswith("## ")] == [
        "## Training", "## Scores", "## Uncertainty", "## Limits", "## Reproduce",
    ]  # fmt: skip
    for line in (
        "- SHA-256: `abc`",
        "- Statistics read: signal, noise",
        "- Simulated movies: 1200",
        "- CPU hours: 1.235",
        "| haze | 0 | 2.5 |",
        "|  | PSNR, dB | r |",
        "| filaments | 23.46 | 0.81 |",
        "| rings | – | 0.5 |",
        "| 0.05 | 0.048 | 12000 |",
        "| p up to | empty | pixels |",
        "| 0.01 | 0.0125 | 3400 |",
        "- Features of the perceptual loss: VGG19 (vgg19.pth, SHA-256 12ab)",
        '    "steps": 9000',
    ):
        assert line in lines
    text = "\n".join(lines)
    assert "multiplied by 5.25" in text
    assert "0.6789 of the errors lay within it" in text
    assert "Install dlbi 1.2.3" in text
    assert "divided by 8 along" in text


def test_a_card_says_what_is_not_known():
    text = model_card(BARE)
    assert "200 frames" in text
    assert "Not measured." in text
    assert "Never compared with known truth" in text
    assert "were not recorded" in text
    for absent in ("None", "SHA-256", "Ranges", "{", "Statistics read", "p up to", "perceptual"):
        assert absent not in text


def test_a_correction_that_was_not_tested_says_so():
    text = model_card(replace(FULL, training={}))
    assert "an unknown share of the errors lay within it" in text
    assert "|---|" not in text.partition("## Uncertainty")[2]


def test_equal_descriptions_have_equal_cards():
    assert model_card(FULL) == model_card(ModelMetadata.from_json(FULL.to_json()))
