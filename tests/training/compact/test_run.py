"""Whole trainings of a tiny network: bits do not depend on interruptions, and it learns."""

import csv
import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch

from dlbi.core.errors import DlbiError, DlbiWarning, InputError
from dlbi.training.checkpoints import has_checkpoint, read_record
from dlbi.training.compact.config import CompactConfig
from dlbi.training.compact.run import (
    average_decay,
    learning_rate,
    load_trained,
    new_network,
    reproducible,
    train,
)
from dlbi.training.pool import Pool

STEPS = 6


class Killed(Exception):
    pass


def at(step, action):
    """A progress callback that does something when a step is done."""

    def progress(done, total):
        assert total >= done
        if done == step:
            action()

    return progress


def die():
    raise Killed


def weights(folder, config):
    return load_trained(config, folder)[0].state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def pools(make_fake_pool):
    return {"training": make_fake_pool()}, make_fake_pool(n=3, seed=1)


@pytest.fixture
def straight(tmp_path, make_config, pools):
    """Folder of an uninterrupted training."""
    train(make_config(), tmp_path / "straight", *pools)
    return tmp_path / "straight"


# Continuing


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path, make_config, pools, straight, step):
    config = make_config()
    with pytest.raises(Killed):
        train(config, tmp_path, *pools, progress=at(step, die))
    train(config, tmp_path, *pools, resume=has_checkpoint(tmp_path))
    assert same(weights(tmp_path, config), weights(straight, config))
    logs = [load_trained(config, folder)[1]["log"] for folder in (tmp_path, straight)]
    for row in (row for log in logs for row in log):
        del row["cpu_s"], row["wall_s"]
    assert logs[0] == logs[1]


def test_a_process_killed_hard_goes_on_to_the_same_bits(tmp_path, make_config, pools, straight):
    config, folder = make_config(), tmp_path / "killed"
    for name, pool in zip(("training", "validation"), (*pools[0].values(), pools[1]), strict=True):
        np.savez(tmp_path / f"{name}.npz", **pool.arrays)
    (tmp_path / "config.json").write_text(config.model_dump_json())
    code = f"""
        import time
        from pathlib import Path
        import numpy as np
        from dlbi.training.compact.config import CompactConfig
        from dlbi.training.compact.run import train
        from dlbi.training.pool import Pool
        place = Path({str(tmp_path)!r})
        pools = [dict(np.load(place / f"{{n}}.npz")) for n in ("training", "validation")]
        pool, validation = (Pool(arrays, [{{}}] * len(arrays["guide"])) for arrays in pools)
        config = CompactConfig.model_validate_json((place / "config.json").read_text())
        train(config, Path({str(folder)!r}), {{"training": pool}}, validation, n_threads=1,
              progress=lambda done, total: done == 5 and time.sleep(600))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    try:
        while process.poll() is None and not (has_checkpoint(folder) and _step(folder) == 4):
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    train(config, folder, *pools, resume=True)
    assert same(weights(folder, config), weights(straight, config))


def _step(folder):
    try:
        return read_record(folder)["step"]
    except DlbiError:  # read while it is being replaced
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_saves_the_step_it_came_in(tmp_path, make_config, pools, straight, number):
    config = make_config(checkpoint_every=100)
    usual = signal.getsignal(number)
    # The progress of step 3 is told after the checkpoint of step 3, so step 4 is saved.
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path, *pools, progress=at(3, lambda: os.kill(os.getpid(), number)))
    assert signal.getsignal(number) is usual
    assert load_trained(config, tmp_path)[1]["step"] == 4
    train(config, tmp_path, *pools, resume=True)
    assert same(weights(tmp_path, config), weights(straight, make_config()))


def test_an_interrupt_in_the_last_step_is_no_failure(tmp_path, make_config, pools):
    kill = at(STEPS - 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    train(make_config(), tmp_path, *pools, progress=kill)
    assert load_trained(make_config(), tmp_path)[1]["step"] == STEPS


def test_a_finished_training_is_left_as_it_is(make_config, pools, straight):
    before = weights(straight, make_config())
    network = train(make_config(), straight, *pools, resume=True, progress=at(1, die))
    assert same(network.state_dict(), before)


def test_a_training_can_be_prolonged(tmp_path, make_config, pools, straight):
    first = make_config(cycles=[4])
    train(first, tmp_path, *pools)
    train(make_config(), tmp_path, *pools, resume=True)
    assert same(weights(tmp_path, make_config()), weights(straight, make_config()))


def test_a_cycle_trains_on_series_of_its_own(tmp_path, make_config, make_fake_pool, pools):
    """A second cycle on other series ends elsewhere, the first stays as it is."""
    cycles = [{"steps": 4}, {"steps": 2, "families": {"rings": 1.0}}]
    config = CompactConfig.model_validate(
        make_config().model_dump()
        | {"optimisation": make_config().optimisation.model_dump() | {"cycles": cycles}}
    )
    assert [name for name, _ in config.training_parts()] == ["training", "training-2"]
    assert [data.families == {"rings": 1.0} for _, data in config.training_parts()] == [False, True]
    training, validation = pools
    both = training | {"training-2": make_fake_pool(seed=9)}
    ended = []
    for place, series in (("same", training | {"training-2": training["training"]}), ("own", both)):
        train(config, tmp_path / place, series, validation)
        ended.append(weights(tmp_path / place, config))
    train(make_config(), tmp_path / "common", training, validation)
    assert same(ended[0], weights(tmp_path / "common", make_config()))
    assert not same(*ended)


def test_a_cycle_starts_from_the_mean_with_a_fresh_adam(tmp_path, make_config, pools):
    config = make_config(cycles=[4, 1], learning_rate=1e-3, warmup_steps=0)
    train(make_config(cycles=[4], warmup_steps=0), tmp_path, *pools)
    before = weights(tmp_path, make_config(cycles=[4], warmup_steps=0))
    train(config, tmp_path, *pools, resume=True)
    after = weights(tmp_path, config)
    # The first step of Adam moves a weight by the learning rate; the mean takes 9/10 of it.
    moved = [(after[n] - before[n]).abs().max().item() for n in before]
    assert max(moved) == pytest.approx(0.9e-3, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"cycles": [5, 2]}, "optimisation.cycles"),
        ({"learning_rate": 2e-3}, "optimisation.learning_rate"),
        ({"validate_every": 2}, "optimisation.validate_every"),
    ],
)
def test_another_configuration_does_not_go_on(make_config, pools, straight, change, key):
    with pytest.raises(InputError, match=f"{key} differs"):
        train(make_config(**change), straight, *pools, resume=True)


def test_what_is_there_or_not_there_to_continue(tmp_path, make_config, pools, straight):
    with pytest.raises(InputError, match="continue it with --resume"):
        train(make_config(), straight, *pools)
    with pytest.raises(InputError, match="holds no checkpoint"):
        train(make_config(), tmp_path / "new", *pools, resume=True)
    assert not (tmp_path / "new").exists()


def test_another_number_of_threads_is_told(make_config, pools, straight):
    file = straight / "checkpoint" / "record.json"
    file.write_text(file.read_text().replace('"n_threads": 1', '"n_threads": 7'))
    with pytest.warns(DlbiWarning, match="7 threads so far and goes on with 1"):
        train(make_config(), straight, *pools, n_threads=1, resume=True)


# Learning


def test_it_learns_that_the_truth_is_half_the_guide(tmp_path, make_config, make_fake_pool):
    config = make_config(cycles=[120], validate_every=120, learning_rate=2e-2, robust_from=200)
    pools = {"training": make_fake_pool(empty=False)}, make_fake_pool(n=3, seed=1, empty=False)
    rows = []
    train(config, tmp_path, *pools, report=rows.append)
    (row,) = rows
    target = pools[1].arrays["target"].astype(np.float64)
    silent = np.mean([10 * math.log10(t.max() ** 2 / (t**2).mean()) for t in target])
    assert row["psnr_db"] > silent + 6
    assert row["psnr_db"] > row["guide_psnr_db"] + 6


def test_bfloat16_learns_much_the_same(tmp_path, make_config, pools):
    whole, half = make_config(validate_every=1), make_config(validate_every=1, bfloat16_from=3)
    losses = {}
    for name, config in {"whole": whole, "half": half}.items():
        train(config, tmp_path / name, *pools)
        found, record = load_trained(config, tmp_path / name)
        losses[name] = [row["loss"] for row in record["log"]]
        assert {weight.dtype for weight in found.state_dict().values()} == {torch.float32}
    assert losses["half"][:3] == losses["whole"][:3]
    assert losses["half"][3] != losses["whole"][3]
    assert losses["half"] == pytest.approx(losses["whole"], rel=0.01)


def test_a_killed_training_in_bfloat16_goes_on_to_the_same_bits(tmp_path, make_config, pools):
    config = make_config(bfloat16_from=3)
    train(config, tmp_path / "straight", *pools)
    with pytest.raises(Killed):
        train(config, tmp_path / "killed", *pools, progress=at(5, die))
    train(config, tmp_path / "killed", *pools, resume=True)
    assert same(weights(tmp_path / "killed", config), weights(tmp_path / "straight", config))


def test_seeds_give_other_networks(tmp_path, make_config, pools):
    config = make_config()
    other = config.model_copy(update={"seed": 4})
    assert same(new_network(config).state_dict(), new_network(config).state_dict())
    assert not same(new_network(config).state_dict(), new_network(other).state_dict())


def test_a_training_that_diverges_stops_with_the_checkpoint_before(tmp_path, make_config, pools):
    config = make_config(learning_rate=1e30, clip=1e30, warmup_steps=0)
    with pytest.raises(DlbiError, match=r"diverged at step \d.*learning_rate"):
        train(config, tmp_path, *pools)


def test_a_pool_of_other_sizes_is_refused(tmp_path, make_config, pools):
    training, validation = pools
    cut = Pool({n: a[..., :8] for n, a in validation.arrays.items()}, validation.records)
    with pytest.raises(InputError, match=r"statistics of shape \(20, 16, 16\).*\(20, 16, 8\)"):
        train(make_config(), tmp_path, training, cut)
    del training["training"].arrays["guide"]
    with pytest.raises(InputError, match=r"guide.*holds none"):
        train(make_config(), tmp_path, training, validation)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused(tmp_path, make_config, pools):
    with pytest.raises(InputError, match=r'optimisation\.device = "cpu"'):
        train(make_config(device="cuda"), tmp_path, *pools)


# Schedules


def test_the_learning_rate_of_two_cycles(make_config):
    optimisation = make_config(cycles=[6, 4], warmup_steps=2, learning_rate=1.0).optimisation
    rates = [learning_rate(optimisation, step) for step in range(10)]
    falling = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 3)) / 2 for k in range(4)]
    assert rates[:6] == pytest.approx([0.5, 1.0, *falling])
    assert rates[6:] == pytest.approx([0.5, 1.0, 1.0, 0.01])


def test_the_mean_forgets_the_start_of_a_cycle(make_config):
    optimisation = make_config(cycles=[20000, 5], average_decay=0.99).optimisation
    decays = [average_decay(optimisation, step) for step in (0, 8, 19999, 20000)]
    assert decays == pytest.approx([0.1, 0.5, 0.99, 0.1])


# Records


def test_the_log_and_the_record(make_config, pools, straight):
    record = load_trained(make_config(), straight)[1]
    rows = record["log"]
    assert [row["step"] for row in rows] == [3, 6]
    with (straight / "log.csv").open() as file:
        written = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert written == rows
    assert {"loss", "psnr_db", "corr_2px", "false_light", "guide_psnr_db"} <= rows[0].keys()
    assert rows[0]["guide_corr_2px"] == rows[1]["guide_corr_2px"] == pytest.approx(1.0, abs=1e-3)
    assert 0 < rows[0]["cpu_s"] < rows[1]["cpu_s"] <= record["cpu_s"]
    assert record["n_threads"] == 1
    assert record["versions"]["torch"] == torch.__version__
    assert CompactConfig.model_validate(record["config"]) == make_config()


def test_time_adds_up_over_the_parts_of_a_training(tmp_path, make_config, pools):
    with pytest.raises(Killed):
        train(make_config(), tmp_path, *pools, progress=at(2, die))
    before = read_record(tmp_path)
    train(make_config(), tmp_path, *pools, resume=True)
    after = read_record(tmp_path)
    assert 0 < before["cpu_s"] < after["cpu_s"] < 60
    assert 0 < before["wall_s"] < after["wall_s"] < 60


def test_fields_without_structure_are_no_number_that_is_missing(
    tmp_path, make_config, make_fake_pool
):
    pools = {"training": make_fake_pool()}, make_fake_pool(n=3, empty=False)
    rows = []
    train(make_config(), tmp_path, *pools, report=rows.append)
    assert all("false_light" not in row for row in rows)


def test_settings_of_the_process_come_back():
    torch.set_num_threads(1)
    with reproducible(2):
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert not torch.are_deterministic_algorithms_enabled()
