"""The model file of a finished training tells the truth about it and gives what was trained."""

from hashlib import sha256

import numpy as np
import pytest
import torch

from dlbi import __version__
from dlbi.core.errors import InputError
from dlbi.core.rng import derived_seed
from dlbi.learning.network import load_network
from dlbi.learning.observation import CHANNELS
from dlbi.training import model_file
from dlbi.training.compact import run as compact
from dlbi.training.compact.config import CompactConfig
from dlbi.training.honesty import measure_honesty
from dlbi.training.model_file import summary_ranges, training_facts, write_model
from dlbi.training.paper import run as paper
from dlbi.training.paper.config import PaperConfig
from dlbi.training.pool import Pool

SIDE, T = 16, 2
FEATURES = "features.safetensors"
RNG = np.random.default_rng(0)
RECORDS = [{"summary": {"n_frames": 20.0, "haze": 0.5}}, {"summary": {"n_frames": 60.0}}]


def half(*shape):
    return RNG.random((2, *shape)).astype(np.float16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    torch.set_num_threads(1)
    config = CompactConfig.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "data": {"n_series": 2, "n_validation": 2, "field_px": SIDE},
            "network": {"channels": 4, "blocks": 1, "widths": [3, 2, 2], "keep": 0.7},
            "optimisation": {"cycles": [{"steps": 2}], "batch": 2, "crop_px": 8, "warmup_steps": 0},
        }
    )
    fine = (8 * SIDE,) * 2
    arrays = {
        "statistics": half(len(CHANNELS), SIDE, SIDE), "guide": half(*fine),
        "target": half(*fine), "structure": (half(*fine) > 0.5).astype(np.uint8),
    }  # fmt: skip
    data = Pool(arrays, RECORDS), Pool(arrays | {"target": half(*fine)}, RECORDS[:1] * 2)
    network = compact.train(config, folder, {"training": data[0]}, data[1])
    return config, folder, data, network, *write_model(config, folder, *data)


def test_it_gives_what_was_trained(trained):
    _, _, _, network, model, _ = trained
    file = load_network(model)
    statistics = RNG.normal(size=(1, len(CHANNELS), 9, 11)).astype(np.float32)
    guide = RNG.random((1, 1, 72, 88)).astype(np.float32)
    mask = np.ones((1, 4, 9, 11), np.float32)
    with torch.no_grad():
        expected = network(*map(torch.from_numpy, (statistics, guide, mask)))[-1].numpy()
    np.testing.assert_allclose(file.run(statistics, guide, mask), expected, atol=1e-5)


def test_it_tells_of_its_training(trained):
    config, folder, _, network, model, card = trained
    metadata = load_network(model).metadata
    assert (metadata.name, metadata.kind, metadata.channels) == ("tiny", "compact", CHANNELS)
    assert (metadata.mask_channels, metadata.keep) == (4, 0.7)
    assert metadata.halo_px == network.halo_px
    assert {name: tuple(r) for name, r in metadata.ranges.items()} == {
        "n_frames": (20.0, 400.0), "haze": (0.5, 0.5),
    }  # fmt: skip
    assert metadata.dlbi_version == __version__
    facts = metadata.training
    assert (facts["steps"], facts["seed"], facts["n_series"]) == (2, 3, 2)
    assert CompactConfig.model_validate(facts["config"]) == config
    record = compact.load_trained(config, folder)[1]
    assert facts["cpu_hours"] == pytest.approx(record["cpu_s"] / 3600)
    (row,) = record["log"]
    assert facts["scores"]["network"]["psnr_db"] == row["psnr_db"]
    assert facts["scores"]["Richardson–Lucy"]["corr_2px"] == row["guide_corr_2px"]
    text = card.read_text("utf-8")
    assert sha256(model.read_bytes()).hexdigest() in text
    assert "Richardson–Lucy" in text
    assert f"made with dlbi {__version__}" in text
    assert f"multiplied by {metadata.confidence.std_scale:.3g}" in text


def test_its_uncertainty_was_measured_on_series_it_was_not_trained_on(trained):
    config, _, (pool, validation), _, model, _ = trained
    network = load_network(model)
    seed = derived_seed(config.seed, "honesty")
    confidence, tested = measure_honesty(network, validation, seed=seed)
    assert network.metadata.confidence == confidence
    assert {name: network.metadata.training[name] for name in tested} == tested
    assert measure_honesty(network, pool, seed=seed)[0] != confidence


def test_it_can_be_written_again(trained):
    config, folder, data, _, model, card = trained
    before = model.read_bytes(), card.read_bytes()
    steps = []
    written = write_model(
        config, folder, *data, n_workers=2, progress=lambda *step: steps.append(step)
    )
    assert written == (model, card)
    assert (model.read_bytes(), card.read_bytes()) == before
    assert steps == [(1, 2), (2, 2)]


def test_no_file_without_its_correction_bears_the_name(trained, monkeypatch):
    config, folder, data, _, model, _ = trained
    whole = model.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    def interrupt(*_):
        raise KeyboardInterrupt

    def exported(network, path, metadata):
        path.write_bytes(whole)

    monkeypatch.setattr(model_file, "export_model", exported)
    with pytest.raises(KeyboardInterrupt):
        write_model(config, folder, *data, progress=interrupt)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_without_a_training_there_is_none(trained, tmp_path):
    config, _, data, *_ = trained
    with pytest.raises(InputError, match="holds no checkpoint"):
        write_model(config, tmp_path, *data)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:no VGG19 weights")
def test_the_network_of_the_paper(tmp_path):
    config = PaperConfig.model_validate(
        {
            "name": "old",
            "data": {
                "n_series": 2, "n_validation": 2, "field_px": SIDE, "view": "frames",
                "n_frames": [T, T],
            },
            "network": {"n_frames": T, "channels": 4, "blocks": 1, "discriminator_channels": 4},
            "optimisation": {
                "pretraining_epochs": 1, "gan_epochs": 0, "batch": 2, "device": "cpu",
            },
            "perceptual": {"image_px": 16, "channels": 2, "steps": 2, "batch": 2},
        }
    )  # fmt: skip
    pool = Pool(
        {"frames": half(T, SIDE, SIDE), "density": half(8 * SIDE, 8 * SIDE)}, [{"summary": {}}] * 2
    )
    torch.set_num_threads(1)
    paper.train(config, tmp_path, pool=pool, validation=pool)
    model, card = write_model(config, tmp_path, pool, pool)
    metadata = load_network(model).metadata
    assert (metadata.name, metadata.kind, metadata.n_frames) == ("old", "paper", T)
    assert metadata.mask_channels == 4
    assert metadata.ranges == {}
    assert metadata.confidence is None
    assert metadata.training["steps"] == 1
    digest = sha256((tmp_path / FEATURES).read_bytes()).hexdigest()
    told = f"a small network, trained on simulated structures ({FEATURES}, SHA-256 {digest})"
    assert metadata.training["perceptual"] == told
    assert f"- Features of the perceptual loss: {told}\n" in card.read_text("utf-8")


def test_vgg19_is_named_with_its_file():
    given = {"kind": "vgg19", "file": "weights.pth", "sha256": "12ab"}
    record = {"step": 1, "cpu_s": 7200.0, "versions": {}, "log": [], "perceptual": given}
    frames = {"view": "frames", "n_frames": [200, 200]}
    config = PaperConfig.model_validate({"data": {"n_series": 8, "n_validation": 2} | frames})
    facts = training_facts(config, record)
    assert facts["perceptual"] == "VGG19 (weights.pth, SHA-256 12ab)"
    assert facts["cpu_hours"] == 2.0
    assert "scores" not in facts


def test_ranges_cover_all_series_but_the_rarest():
    records = [{"summary": {"a": 2.0}}, {"summary": {"a": -1.0}}, {"summary": {}}]
    assert summary_ranges(records) == {"a": (-1.0, 2.0)}
    many = [{"summary": {"a": float(k)}} for k in [-1e9, *range(1, 1000), 1e9]]
    assert summary_ranges(many) == {"a": (2.0, 998.0)}
