"""Configuration files: the shipped ones are read, wrong ones are told in one line."""

from pathlib import Path

import pytest

from dlbi.core.errors import FileFormatError, InputError
from dlbi.training.compact.config import CompactConfig, NetworkConfig
from dlbi.training.config import load_config
from dlbi.training.paper.config import PaperConfig

CONFIGS = Path(__file__).parents[2] / "configs"

GOOD = """
kind = "compact"
seed = 4
[data]
n_series = 10
n_validation = 2
field_px = 40
[network]
channels = 8
widths = [4, 3, 2]
[optimisation]
cycles = [{ steps = 100 }, { steps = 50 }]
crop_px = 20
"""


def write(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(("name", "kind"), [("compact", CompactConfig), ("paper", PaperConfig)])
def test_the_shipped_files_are_read(name, kind):
    config = load_config(CONFIGS / f"{name}.toml")
    assert isinstance(config, kind)
    assert config.kind == name


def test_what_is_given_and_what_is_default(tmp_path):
    config = load_config(write(tmp_path, GOOD))
    assert isinstance(config, CompactConfig)
    assert (config.seed, config.data.field_px, config.optimisation.crop_px) == (4, 40, 20)
    assert config.network == NetworkConfig(channels=8, widths=(4, 3, 2))
    assert config.optimisation.steps == 150
    assert config.name == "dlbi-compact"
    assert CompactConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("crop_px = 20", "crop_px = 41", "crop_px = 41 is larger than data.field_px = 40"),
        ("crop_px = 20", "crop_px = 4", "optimisation.crop_px = 4: .*greater than 4"),
        ("[4, 3, 2]", "[4, 3]", "network.widths.2 is missing"),
        ("[4, 3, 2]", "[4, 3, 2, 1]", "network.widths = .*at most 3"),
        ("[4, 3, 2]", "[4, 3, 0]", "network.widths.2 = 0: .*greater than 0"),
        ("channels = 8", "channels = 8.5", "network.channels = 8.5: .*integer"),
        ("channels = 8", "chanels = 8", "network.chanels is no setting"),
        ("channels = 8", "keep = 0.0", "network.keep = 0.0: .*greater than 0"),
        ("channels = 8", "keep = 1.1", "network.keep = 1.1: .*less than or equal to 1"),
        ("[{ steps = 100 }, { steps = 50 }]", "[]", "optimisation.cycles = .*at least 1"),
        ("steps = 50", "steps = 0", "optimisation.cycles.1.steps = 0: .*greater than 0"),
        ("steps = 50", "steps = 5, families = { er = -1 }", "cycles.1.families.er = -1: "),
        ("steps = 50", "steps = 5, families = { elf = 1 }", "no family is called 'elf'"),
        ("cycles = [{ steps = 100 }, { steps = 50 }]", "", "optimisation.cycles is missing"),
        ("cycles", 'device = "tpu"\ncycles', "optimisation.device = 'tpu': .*'cpu' or 'cuda'"),
        ("cycles", "learning_rate = 0\ncycles", "optimisation.learning_rate = 0: "),
        ("cycles", "learning_rate = inf\ncycles", "optimisation.learning_rate = inf: .*finite"),
        (
            "cycles",
            "average_decay = 1.0\ncycles",
            "optimisation.average_decay = 1.0: .*less than 1",
        ),
        ("field_px = 40", 'view = "frames"\nn_frames = [9, 9]', 'set data.view = "statistics"'),
        ("n_series = 10", "", "data.n_series is missing"),
        ("seed = 4", "seed = -1", "seed = -1: "),
        ('kind = "compact"', 'kind = "big"', 'kind must be "compact" or "paper"'),
        ('kind = "compact"', "", 'kind must be "compact" or "paper"'),
    ],
)
def test_a_wrong_value_is_told_in_one_line(tmp_path, old, new, says):
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(InputError, match=says) as caught:
        load_config(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        load_config(tmp_path / "none.toml")
    with pytest.raises(FileFormatError, match="is not a readable TOML file"):
        load_config(write(tmp_path, "kind = compact"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="is not a readable TOML file"):
        load_config(binary)
