"""Checkpoints: what was saved comes back, and at every moment there is one that can be loaded."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn

from dlbi.core.errors import DlbiWarning, FileFormatError, InputError, OutputError
from dlbi.training.checkpoints import (
    has_checkpoint,
    load_checkpoint,
    read_record,
    save_checkpoint,
)

CONFIG = {"kind": "test", "size": {"width": 2, "depth": 3}, "list": (1, 2)}


def make(seed):
    """A module with buffers, one step after its start, and its optimiser."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    module = module.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 1, 5, 5)).square().sum().backward()
    adam.step()
    return module, adam


def save(folder, step=1, seed=1):
    module, adam = make(seed)
    save_checkpoint(folder, step, {"net": module}, {"adam": adam}, {"config": CONFIG, "cpu_s": 2.5})
    return module, adam


def load(folder, config=CONFIG):
    module, adam = make(99)
    record = load_checkpoint(folder, {"net": module}, {"adam": adam}, config=config)
    return module, adam, record


def flat(state):
    return [v for k in sorted(state, key=str) for v in (
        flat(state[k]) if isinstance(state[k], dict) else [state[k]]
    )]  # fmt: skip


def test_everything_comes_back(tmp_path):
    module, adam = save(tmp_path, step=7)
    found, found_adam, record = load(tmp_path)
    for a, b in ((module, found), (adam, found_adam)):
        assert a.state_dict().keys() == b.state_dict().keys()
    assert all(torch.equal(v, found.state_dict()[k]) for k, v in module.state_dict().items())
    a, b = (flat(o.state_dict()["state"]) for o in (adam, found_adam))
    assert len(a) == len(b) > 0
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    assert (record["step"], record["cpu_s"]) == (7, 2.5)
    assert record["versions"]["torch"] == torch.__version__
    assert read_record(tmp_path) == record


def test_a_part_can_be_loaded(tmp_path):
    module, _ = save(tmp_path)
    found, _ = make(5)
    load_checkpoint(tmp_path, {"net": found}, {})
    assert torch.equal(found[0].weight, module[0].weight)


def test_only_the_last_one_stays(tmp_path):
    save(tmp_path, step=1)
    save(tmp_path, step=2, seed=2)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    assert load(tmp_path)[2]["step"] == 2


class Crash(BaseException):
    pass


@pytest.mark.parametrize("fatal", [0, 1, 2, 3])
def test_a_crash_at_any_moment_leaves_a_checkpoint(tmp_path, monkeypatch, fatal):
    """Die at each change of a name: before it, and after the last one."""
    save(tmp_path, step=1)
    left = [fatal]
    with monkeypatch.context() as patch:
        for owner, name in ((Path, "rename"), ("shutil", "rmtree")):
            target = f"{owner}.{name}" if isinstance(owner, str) else None
            original = getattr(__import__("shutil"), name) if target else getattr(owner, name)

            def dying(*args, _original=original, **kwargs):
                if left[0] == 0:
                    raise Crash
                left[0] -= 1
                return _original(*args, **kwargs)

            if target:
                patch.setattr(target, dying)
            else:
                patch.setattr(owner, name, dying)
        with pytest.raises(Crash):
            save(tmp_path, step=2, seed=2)
    assert has_checkpoint(tmp_path)
    assert load(tmp_path)[2]["step"] in (1, 2)
    save(tmp_path, step=3, seed=3)
    assert load(tmp_path)[2]["step"] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_a_first_one_that_was_not_finished_is_none(tmp_path):
    (tmp_path / "checkpoint.new").mkdir()
    assert not has_checkpoint(tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["net.safetensors", "adam.optimizer.pt"])
def test_damage_is_found(tmp_path, name):
    save(tmp_path)
    file = tmp_path / "checkpoint" / name
    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"{name}: is damaged"):
        load(tmp_path)
    file.write_bytes(content[:50])
    with pytest.raises(FileFormatError, match=f"{name}: is damaged"):
        load(tmp_path)
    file.unlink()
    with pytest.raises(FileFormatError, match=f"{name}: is missing"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "is not a readable JSON"), ("[]", "not an object"), ('{"step": 1}', "is no record")],
)
def test_a_damaged_record(tmp_path, text, says):
    save(tmp_path)
    (tmp_path / "checkpoint" / "record.json").write_text(text)
    with pytest.raises(FileFormatError, match=says):
        load(tmp_path)


def rewrite_record(folder, change):
    file = folder / "checkpoint" / "record.json"
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def test_another_format_is_refused(tmp_path):
    save(tmp_path)
    rewrite_record(tmp_path, lambda record: record.update(format=2))
    with pytest.raises(FileFormatError, match="of this version"):
        load(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    module, adam = make(1)
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] = float("nan")
    save_checkpoint(tmp_path, 1, {"net": module}, {"adam": adam}, {"config": CONFIG})
    with pytest.raises(FileFormatError, match=r"0\.weight are not finite"):
        load(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path):
    save(tmp_path)
    for other in (nn.Conv2d(1, 2, 3), nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3))):
        with pytest.raises(FileFormatError, match="does not hold the weights of this network"):
            load_checkpoint(tmp_path, {"net": other}, {})


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (CONFIG | {"kind": "other"}, "kind"),
        (CONFIG | {"size": {"width": 2, "depth": 4}}, "size.depth"),
        (CONFIG | {"list": (1, 3)}, "list"),
        (CONFIG | {"extra": None}, "extra"),
        ({k: v for k, v in CONFIG.items() if k != "list"}, "list"),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, config, key):
    save(tmp_path)
    with pytest.raises(InputError, match=rf"\({key} differs\)"):
        load(tmp_path, config)


def test_the_optimiser_state_may_not_run_code(tmp_path):
    save(tmp_path)
    file = tmp_path / "checkpoint" / "adam.optimizer.pt"
    torch.save({"state": Path("x")}, file)
    digest = sha256(file.read_bytes()).hexdigest()
    rewrite_record(tmp_path, lambda record: record["files"].update({file.name: digest}))
    with pytest.raises(FileFormatError, match=r"adam\.optimizer\.pt: is not a readable"):
        load(tmp_path)


def test_another_pytorch_is_told(tmp_path):
    save(tmp_path)
    rewrite_record(tmp_path, lambda record: record["versions"].update(torch="1.0"))
    with pytest.warns(DlbiWarning, match="was written by PyTorch 1.0"):
        load(tmp_path)


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save(tmp_path / "file")
