"""Settings: the paper's figures by default, impossible ones refused with a sentence."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from dlbi.training.paper.config import NetworkConfig, OptimisationConfig, PaperConfig

FILE = Path(__file__).parents[3] / "configs" / "paper.toml"


@pytest.fixture
def settings():
    return tomllib.loads(FILE.read_text("utf-8"))


def test_the_shipped_file_is_the_paper(settings):
    config = PaperConfig.model_validate(settings)
    assert config.kind == "paper"
    assert config.data.n_series == 12_000
    assert (config.data.field_px, config.data.n_frames) == (60, (200, 200))
    network = config.network
    assert (network.n_frames, network.channels, network.blocks, network.keep) == (200, 256, 16, 0.8)
    assert 32 * network.discriminator_channels == 2048
    optimisation = config.optimisation
    assert (optimisation.pretraining_epochs, optimisation.gan_epochs) == (2, 40)
    assert (optimisation.batch, optimisation.halving_epochs) == (8, 10)
    assert (optimisation.learning_rate, optimisation.beta1) == (1e-4, 0.9)
    assert config.perceptual.image_px == 224


def test_defaults_are_those_of_the_shipped_file(settings):
    config = PaperConfig.model_validate(settings)
    assert config.network == NetworkConfig()
    assert config.optimisation == OptimisationConfig()


def test_a_dump_gives_the_same_settings(settings):
    config = PaperConfig.model_validate(settings)
    assert PaperConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("data", {"view": "statistics"}),
        ("data", {"n_frames": [100, 100]}),
        ("data", {"n_series": 7}),
        ("network", {"channels": 10}),
        ("network", {"keep": 0.0}),
        ("network", {"keep": 1.1}),
        ("network", {"depth": 3}),
        ("optimisation", {"batch": 1}),
        ("optimisation", {"discriminator_loss": "wasserstein"}),
        ("optimisation", {"device": "tpu"}),
        ("perceptual", {"sha256": "abc"}),
        ("perceptual", {"image_px": 100}),
    ],
)
def test_impossible_settings_are_refused(settings, section, change):
    settings.setdefault(section, {}).update(change)
    with pytest.raises(ValidationError, match=next(iter(change))):
        PaperConfig.model_validate(settings)


def test_settings_cannot_be_changed(settings):
    config = PaperConfig.model_validate(settings)
    with pytest.raises(ValidationError):
        config.seed = 1
