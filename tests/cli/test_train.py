"""`dlbi train`: from a configuration to a model file, in pieces if need be."""

from __future__ import annotations

import builtins
import json
import os
import shutil
import signal
import sys
from hashlib import sha256

import numpy as np
import pytest
import torch

from dlbi.cli import main
from dlbi.io.images import load_grid_image
from dlbi.learning.network import load_network
from dlbi.training.checkpoints import read_record
from dlbi.training.compact import run

CONFIG = """
kind = "compact"
name = "tiny"
seed = 5
[data]
n_series = 2
n_validation = 2
field_px = 16
n_frames = [20, 24]
[network]
channels = 4
blocks = 1
widths = [3, 2, 2]
[optimisation]
cycles = [{ steps = 4 }]
batch = 2
crop_px = 8
warmup_steps = 1
validate_every = 2
checkpoint_every = 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Configuration and folder of a finished training."""
    place = tmp_path_factory.mktemp("train")
    config, out = place / "tiny.toml", place / "tiny"
    config.write_text(CONFIG, "utf-8")
    assert main(["train", str(config), "--out", str(out), "--workers", "1"]) == 0
    return config, out


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(CONFIG, "utf-8")
    return file


def test_help(dlbi):
    code, out, _ = dlbi("train", "--help")
    assert code == 0
    for word in ("CONFIG.toml", "--out", "--resume", "--workers"):
        assert f"  {word} " in out


def test_it_leaves_a_model_that_can_be_used(finished):
    _, out = finished
    assert {p.name for p in out.iterdir()} == {
        "checkpoint", "log.csv", "model.md", "model.onnx", "pool",
    }  # fmt: skip
    metadata = load_network(out / "model.onnx").metadata
    assert metadata.training["steps"] == 4
    assert metadata.ranges["n_frames"][0] >= 20
    assert metadata.confidence is not None
    assert read_record(out)["n_threads"] == 1
    card = (out / "model.md").read_text("utf-8")
    assert card.startswith("# tiny\n")
    assert f"{metadata.training['within_one_std']:.4g} of the errors lay within it" in card


@pytest.mark.parametrize("method", ["network", "dlbi"])
def test_its_model_reconstructs(finished, tmp_path, capsys, method):
    model = finished[1] / "model.onnx"
    movie, out = tmp_path / "movie.ome.tif", tmp_path / "sr.ome.tif"
    scene = ["--size", "128", "--frames", "20", "--emitters", "300", "--seed", "1"]
    assert main(["simulate", "bundles", "--out", str(movie), *scene]) == 0
    options = ["--method", method, "--model", str(model), "--psf-fwhm", "422", "--seed", "2"]
    quick = ["--quality", "preview", "--workers", "1"]
    assert main(["reconstruct", str(movie), "--out", str(out), *options, *quick]) == 0
    assert "network: 8 of 8" in capsys.readouterr().out
    image, std, p_value = (
        load_grid_image(tmp_path / f"sr{part}.ome.tif")[0] for part in ("", ".std", ".p_value")
    )
    assert image.shape == (128, 128)
    assert np.isfinite(image).all()
    assert image.min() >= 0 < image.max()
    assert std.min() >= 0 < std.max()
    assert 0 < p_value.min() <= p_value.max() <= 1
    record = json.loads((tmp_path / "sr.provenance.json").read_text("utf-8"))
    digest = sha256(model.read_bytes()).hexdigest()
    assert record["config"]["model"] == "model.onnx"
    assert {i["name"]: i["sha256"] for i in record["inputs"]}["model.onnx"] == digest
    assert record["reconstruction"]["network"]["sha256"] == digest
    assert record["reconstruction"]["network"]["name"] == "tiny"


def test_a_finished_training_is_only_exported_again(finished, dlbi):
    file, out = finished
    model, weights = out / "model.onnx", out / "checkpoint" / "average.safetensors"
    before, when = model.read_bytes(), weights.stat().st_mtime_ns
    model.unlink()
    code, text, _ = dlbi("train", file, "--out", out, "--resume", "--workers", 1)
    assert code == 0
    assert "training steps" not in text
    assert model.read_bytes() == before
    assert weights.stat().st_mtime_ns == when


def test_ctrl_c_saves_what_goes_on_to_the_same_bits(finished, tmp_path, dlbi, monkeypatch):
    file, straight = finished
    out = tmp_path / "stopped"
    shutil.copytree(straight / "pool", out / "pool")  # as if killed before the first checkpoint
    measured, sent = run.objective, []

    def interrupted(*arguments):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))
        return measured(*arguments)

    monkeypatch.setattr(run, "objective", interrupted)
    code, text, err = dlbi("train", file, "--out", out, "--workers", 1, "--resume")
    assert code == 1
    assert "go on with --resume" in text
    assert err.startswith("error: interrupted")
    assert read_record(out)["step"] == 1
    assert not (out / "model.onnx").exists()

    code, text, _ = dlbi("train", file, "--out", out, "--workers", 1, "--resume")
    assert code == 0
    assert "training steps: 4 of 4" in text
    assert f"wrote {out / 'model.onnx'}" in text
    name = "checkpoint/average.safetensors"
    assert (out / name).read_bytes() == (straight / name).read_bytes()


def test_a_folder_that_exists_needs_resume(finished, refused):
    file, out = finished
    assert "exists already; continue with --resume" in refused("train", file, "--out", out)


def test_resume_needs_a_folder(config, tmp_path, refused):
    line = refused("train", config, "--out", tmp_path / "none", "--resume")
    assert "train without --resume" in line
    line = refused("train", config, "--out", tmp_path / "no" / "where")
    assert "create it first" in line


def test_another_configuration_does_not_go_on(finished, tmp_path, refused):
    file = tmp_path / "other.toml"
    for old, new, says in (
        ("seed = 5", "seed = 6", "series of other settings"),
        ("batch = 2", "batch = 1", "optimisation.batch differs"),
    ):
        file.write_text(CONFIG.replace(old, new), "utf-8")
        assert says in refused("train", file, "--out", finished[1], "--resume", "--workers", 1)


def test_bad_configurations_make_no_folder(tmp_path, config, refused):
    config.write_text(CONFIG.replace("crop_px = 8", "crop_px = 80"), "utf-8")
    out = tmp_path / "out"
    assert f"{config}: optimisation.crop_px = 80" in refused("train", config, "--out", out)
    assert "cannot be read" in refused("train", tmp_path / "none.toml", "--out", out)
    config.write_text(CONFIG.replace("cycles", 'device = "cuda"\ncycles'), "utf-8")
    if not torch.cuda.is_available():
        assert "no CUDA device" in refused("train", config, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("missing", ["torch", "safetensors", "onnx"])
def test_what_is_missing_is_told_with_the_cure(config, tmp_path, refused, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest)

    for name in list(sys.modules):
        if name.startswith("dlbi.training"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    line = refused("train", config, "--out", tmp_path / "out")
    assert (
        line
        == f"error: training needs {missing}, which is not installed; pip install 'dlbi[train]'\n"
    )
    assert not (tmp_path / "out").exists()
