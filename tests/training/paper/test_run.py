"""Whole trainings of a tiny network: schedule, bit-exact resumption, what is recorded."""

import os
import signal

import numpy as np
import pytest
import torch

from dlbi.core.errors import DlbiError, DlbiWarning, InputError
from dlbi.learning.network import ModelMetadata
from dlbi.training.export import export_model
from dlbi.training.paper.config import PaperConfig
from dlbi.training.paper.generator import SCALES
from dlbi.training.paper.run import (
    gan_epoch,
    learning_rate,
    load_trained,
    n_steps,
    steps_per_epoch,
    train,
)
from dlbi.training.pool import Pool

pytestmark = pytest.mark.filterwarnings("ignore:no VGG19 weights")

T, SIDE, N = 2, 16, 6


def config(**optimisation):
    return PaperConfig.model_validate(
        {
            "name": "tiny",
            "seed": 3,
            "data": {
                "n_series": N, "n_validation": 2, "field_px": SIDE, "view": "frames",
                "n_frames": [T, T],
            },
            "network": {"n_frames": T, "channels": 4, "blocks": 1, "discriminator_channels": 4},
            "optimisation": {
                "pretraining_epochs": 1, "gan_epochs": 2, "batch": 2, "device": "cpu",
                "checkpoint_every": 4, "validate_every": 4, "learning_rate": 1e-3,
                "halving_epochs": 1,
            } | optimisation,
            "perceptual": {"image_px": 16, "channels": 2, "steps": 2, "batch": 2},
        }
    )  # fmt: skip


def pool(seed, n=N):
    rng = np.random.default_rng(seed)
    return Pool(
        {
            "frames": rng.uniform(-1, 1, (n, T, SIDE, SIDE)).astype(np.float16),
            "density": rng.random((n, 8 * SIDE, 8 * SIDE)).astype(np.float16),
        },
        [{} for _ in range(n)],
    )


POOL, VALIDATION = pool(0), pool(1, 2)


class Killed(Exception):
    pass


def killed_after(step):
    """A progress callback that ends the training when a step of the networks is done."""

    def progress(done, total):
        if done == step + 2:  # after the steps of the feature network
            raise Killed

    return progress


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(config(), folder, pool=POOL, validation=VALIDATION)


def test_schedule_of_the_paper():
    settings = PaperConfig.model_validate(
        {"data": {"n_series": 12000, "n_validation": 1, "view": "frames", "n_frames": [200, 200]}}
    )
    epoch = steps_per_epoch(settings)
    assert epoch == 1500
    assert n_steps(settings) == 42 * epoch
    assert [gan_epoch(settings, e * epoch) for e in (0, 1, 2, 41)] == [-2, -1, 0, 39]
    assert gan_epoch(settings, 2 * epoch - 1) == -1
    first_steps = {0: 1e-4, 2: 1e-4, 11: 1e-4, 12: 5e-5, 21: 5e-5, 22: 2.5e-5, 32: 1.25e-5}
    for start, rate in first_steps.items():
        assert learning_rate(settings, start * epoch) == pytest.approx(rate)
    assert learning_rate(settings, 12 * epoch - 1) == pytest.approx(1e-4)


def test_training_repeats_bit_for_bit(finished, tmp_path):
    _, first = finished
    again = train(config(), tmp_path, pool=POOL, validation=VALIDATION)
    assert all(torch.equal(weights(again)[n], v) for n, v in weights(first).items())


@pytest.mark.parametrize(
    ("killed", "checkpoint"), [(3, 2), (5, 4)], ids=["in pretraining", "in the game"]
)
def test_an_interrupted_training_ends_with_the_same_bits(finished, tmp_path, killed, checkpoint):
    folder, expected = finished
    settings = config(checkpoint_every=checkpoint)
    with pytest.raises(Killed):
        train(settings, tmp_path, pool=POOL, validation=VALIDATION, progress=killed_after(killed))
    assert load_trained(settings, tmp_path)[1]["step"] == checkpoint
    resumed = train(settings, tmp_path, pool=POOL, validation=VALIDATION, resume=True)
    assert all(torch.equal(weights(resumed)[n], v) for n, v in weights(expected).items())
    record, whole = load_trained(settings, tmp_path)[1], load_trained(config(), folder)[1]
    assert record["log"] == whole["log"]
    assert record["files"] == whole["files"]  # checksums of networks and optimisers


def test_an_interrupt_saves_a_checkpoint_first(finished, tmp_path):
    folder, expected = finished

    def interrupt(done, total):
        if done == 7:  # the fifth step of the networks
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config(), tmp_path, pool=POOL, validation=VALIDATION, progress=interrupt)
    assert load_trained(config(), tmp_path)[1]["step"] == 6
    resumed = train(config(), tmp_path, pool=POOL, validation=VALIDATION, resume=True)
    assert all(torch.equal(weights(resumed)[n], v) for n, v in weights(expected).items())
    assert load_trained(config(), tmp_path)[1]["log"] == load_trained(config(), folder)[1]["log"]


def test_the_trained_generator_is_the_one_in_the_checkpoint(finished):
    folder, trained = finished
    loaded, record = load_trained(config(), folder)
    assert record["step"] == n_steps(config()) == 9
    assert not loaded.training
    assert all(torch.equal(weights(loaded)[n], v) for n, v in weights(trained).items())


def test_the_trained_generator_becomes_a_model_file(finished, tmp_path):
    generator = finished[1]
    metadata = ModelMetadata(
        "tiny", "paper", mask_channels=4, keep=0.8, halo_px=generator.halo_px, n_frames=T
    )
    assert export_model(generator, tmp_path / "tiny.onnx", metadata) < 1e-4


def test_the_log_tells_losses_of_both_phases_and_the_validation_error(finished):
    folder, trained = finished
    log = load_trained(config(), folder)[1]["log"]
    assert [row["step"] for row in log] == [4, 8, 9]
    assert [row["learning_rate"] for row in log] == [1e-3, 5e-4, 5e-4]
    names = {"step", "learning_rate", "validation_x8", "loss_discriminator"}
    names |= {f"loss_x{s}" for s in SCALES}
    assert all(row.keys() == names for row in log)
    assert all(0 < row["validation_x8"] < 4 for row in log)
    assert trained(torch.zeros(1, T, SIDE, SIDE), torch.ones(1, 4, SIDE, SIDE))[2].shape[-1] == 128


def test_the_choice_of_features_is_announced_and_recorded(tmp_path):
    with pytest.warns(DlbiWarning, match="no VGG19 weights"):
        train(config(gan_epochs=0), tmp_path, pool=POOL, validation=VALIDATION)
    perceptual = load_trained(config(gan_epochs=0), tmp_path)[1]["perceptual"]
    assert perceptual["kind"] == "structures"
    assert (tmp_path / perceptual["file"]).is_file()


def test_other_features_cannot_continue_a_training(tmp_path):
    settings = config(checkpoint_every=1)
    with pytest.raises(Killed):
        train(settings, tmp_path, pool=POOL, validation=VALIDATION, progress=killed_after(2))
    (tmp_path / "features.safetensors").unlink()
    with pytest.raises(InputError, match=r"features\.safetensors"):
        train(settings, tmp_path, pool=pool(9), validation=VALIDATION, resume=True)


def test_a_folder_with_a_training_is_only_continued(finished, tmp_path):
    with pytest.raises(InputError, match="--resume"):
        train(config(), finished[0], pool=POOL, validation=VALIDATION)
    with pytest.raises(InputError, match="without --resume"):
        train(config(), tmp_path, pool=POOL, validation=VALIDATION, resume=True)


def test_a_finished_training_has_nothing_left_to_do(finished):
    folder, expected = finished
    again = train(config(), folder, pool=POOL, validation=VALIDATION, resume=True)
    assert all(torch.equal(weights(again)[n], v) for n, v in weights(expected).items())


def test_progress_counts_to_its_end_and_rows_are_reported(tmp_path):
    seen, rows = [], []
    train(
        config(),
        tmp_path,
        pool=POOL,
        validation=VALIDATION,
        progress=lambda *step: seen.append(step),
        report=rows.append,
    )
    assert rows == load_trained(config(), tmp_path)[1]["log"]
    assert seen == [(i + 1, 11) for i in range(11)]


def test_a_diverging_training_keeps_its_last_checkpoint(tmp_path):
    broken = pool(0)
    broken.arrays["frames"][:] = np.nan
    with pytest.raises(DlbiError, match="diverged before step 4"):
        train(config(), tmp_path, pool=broken, validation=VALIDATION)
    with pytest.raises(InputError):
        load_trained(config(), tmp_path)


def test_pools_of_other_movies_are_refused(tmp_path):
    few = Pool({name: a[:4] for name, a in POOL.arrays.items()}, POOL.records[:4])
    with pytest.raises(
        InputError, match=r"frames of shape \(6, 2, 16, 16\).*holds \(4, 2, 16, 16\)"
    ):
        train(config(), tmp_path, pool=few, validation=VALIDATION)
    other = Pool({"statistics": np.zeros((N, 1))}, POOL.records)
    with pytest.raises(InputError, match="holds none"):
        train(config(), tmp_path, pool=other, validation=VALIDATION)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_device_is_told(tmp_path):
    with pytest.raises(InputError, match="no CUDA device"):
        train(config(device="cuda"), tmp_path, pool=POOL, validation=VALIDATION)
    with pytest.warns(DlbiWarning, match="no CUDA device"):
        train(config(device="auto", gan_epochs=0), tmp_path, pool=POOL, validation=VALIDATION)
