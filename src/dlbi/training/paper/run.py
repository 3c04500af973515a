"""The training of the paper: pretraining (Eq. 5), then the adversarial game (Eq. 7–9)."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dlbi.core.errors import DlbiError, DlbiWarning, InputError
from dlbi.core.rng import derived_seed
from dlbi.training.checkpoints import has_checkpoint, load_checkpoint, save_checkpoint
from dlbi.training.devices import device_of
from dlbi.training.interruption import deferred_interrupts
from dlbi.training.paper.batches import dropout_masks, read_batch, series_of_step
from dlbi.training.paper.config import OptimisationConfig, PaperConfig
from dlbi.training.paper.discriminator import Discriminator
from dlbi.training.paper.features import Features
from dlbi.training.paper.generator import Generator, initialise
from dlbi.training.paper.losses import squared_error
from dlbi.training.paper.perceptual import perceptual_features
from dlbi.training.paper.steps import (
    Losses,
    Players,
    descend_together,
    gan_losses,
    optimizers_of,
    pretraining_losses,
    set_learning_rate,
)
from dlbi.training.pool import Pool

Row = dict[str, float]


def train(
    config: PaperConfig,
    folder: Path,
    *,
    pool: Pool,
    validation: Pool,
    resume: bool = False,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[Row], None] | None = None,
) -> Generator:
    """Train generator and discriminator; checkpoints go into the folder.

    On a CPU, with one number of threads, the same settings give the same bits, interrupted or not.
    Ctrl-C and SIGTERM save a checkpoint before they stop the training.

    Parameters
    ----------
    config : PaperConfig
    folder : Path
    pool, validation : Pool
        Series to train on and to score with, of view ``frames``.
    resume : bool
        Continue from the checkpoint in the folder.
    n_threads : int, optional
        Threads of the processor; PyTorch's choice by default.
    progress : callable, optional
        Called with (done, total) steps; those of the feature network come first.
    report : callable, optional
        Called with every new row of the log: mean of each loss since the last row, and Eq. 5 at
        ×8 of the validation series.

    Returns
    -------
    Generator
        Trained, in evaluation mode, on the processor.

    Raises
    ------
    InputError, FileFormatError
        If pool, checkpoint, weights or device do not fit.
    DlbiError
        If the training diverges.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, when the checkpoint is saved.

    Warns
    -----
    DlbiWarning
        If there are no VGG19 weights, or no CUDA device where one may be used.
    """
    _check_pool(config, pool, config.data.n_series)
    _check_pool(config, validation, config.data.n_validation)
    if resume != has_checkpoint(folder):
        raise InputError(
            f"{folder}: holds no checkpoint to continue from; train without --resume"
            if resume
            else f"{folder}: holds a training; continue it with --resume or take another folder"
        )
    folder.mkdir(parents=True, exist_ok=True)
    optimisation, total = config.optimisation, n_steps(config)
    device = _device(optimisation)
    before = 0 if config.perceptual.weights else config.perceptual.steps

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, before + total)

    with _repeatable(n_threads):
        features, perceptual = perceptual_features(
            config.perceptual, folder, pool.arrays["density"], config.seed,
            device=device, resume=resume, progress=lambda done, _: tell(done),
        )  # fmt: skip
        with deferred_interrupts() as interrupted:
            training = _Training(config, folder, features, perceptual, device)
            if resume:
                training.load()
            while training.step < total:
                training.advance(pool)
                last, stopped = training.step == total, interrupted()
                if last or training.step % optimisation.validate_every == 0:
                    row = training.validate(validation)
                    if report is not None:
                        report(row)
                if last or stopped or training.step % optimisation.checkpoint_every == 0:
                    training.save()
                tell(before + training.step)
                if stopped and not last:
                    raise KeyboardInterrupt
    return training.players.generator.cpu().eval()


def load_trained(config: PaperConfig, folder: Path) -> tuple[Generator, dict[str, Any]]:
    """Generator of the checkpoint in a folder, as `train` returns it, and the record.

    The record holds ``step``, ``config``, ``cpu_s``, ``wall_s``, ``n_threads``, ``versions``, the
    rows of the ``log`` and, under ``perceptual``, whose features the perceptual loss compared.

    Raises
    ------
    InputError, FileFormatError
        If there is no checkpoint of this configuration, or it is damaged.
    """
    generator = new_generator(config)
    record = load_checkpoint(
        folder, {"generator": generator}, {}, config=config.model_dump(mode="json")
    )
    return generator.eval(), record


def new_generator(config: PaperConfig) -> Generator:
    """The untrained generator of a configuration; a pure function of its sizes and seed."""
    network = config.network
    generator = Generator(network.n_frames, network.channels, network.blocks)
    initialise(generator, torch.Generator().manual_seed(derived_seed(config.seed, "generator")))
    return generator


def new_discriminator(config: PaperConfig) -> Discriminator:
    """The untrained discriminator of a configuration."""
    discriminator = Discriminator(config.network.discriminator_channels)
    source = torch.Generator().manual_seed(derived_seed(config.seed, "discriminator"))
    initialise(discriminator, source)
    return discriminator


def steps_per_epoch(config: PaperConfig) -> int:
    """Whole batches in the training series."""
    return config.data.n_series // config.optimisation.batch


def n_steps(config: PaperConfig) -> int:
    """Steps of the whole training."""
    optimisation = config.optimisation
    return steps_per_epoch(config) * (optimisation.pretraining_epochs + optimisation.gan_epochs)


def gan_epoch(config: PaperConfig, step: int) -> int:
    """Epoch of the adversarial training that a step, from 0, lies in; negative in pretraining."""
    return step // steps_per_epoch(config) - config.optimisation.pretraining_epochs


def learning_rate(config: PaperConfig, step: int) -> float:
    """Of a step, from 0: constant in pretraining, halved every 10 epochs of the game (3.1)."""
    halvings = max(gan_epoch(config, step), 0) // config.optimisation.halving_epochs
    return config.optimisation.learning_rate * 0.5**halvings


@contextmanager
def _repeatable(n_threads: int | None) -> Iterator[None]:
    """Deterministic convolutions and a number of threads, until the block ends.

    `torch.use_deterministic_algorithms` would refuse every matrix product on CUDA unless an
    environment variable is set before the program starts.
    """
    before = torch.get_num_threads()
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)


class _Training:
    """Everything that changes from step to step."""

    def __init__(
        self,
        config: PaperConfig,
        folder: Path,
        features: Features,
        perceptual: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.config, self.folder, self.device, self.step = config, folder, device, 0
        generator, discriminator = new_generator(config), new_discriminator(config)
        self.players = Players(generator.to(device), discriminator.to(device), features)
        self.modules = {"generator": generator, "discriminator": discriminator}
        self.optimizers = optimizers_of(
            generator, discriminator, config.optimisation.learning_rate, config.optimisation.beta1
        )
        self.record: dict[str, Any] = {
            "config": config.model_dump(mode="json"),
            "perceptual": perceptual,
            "n_threads": torch.get_num_threads(),
            "cpu_s": 0.0,
            "wall_s": 0.0,
            "recent_losses": {},
            "log": [],
        }
        self._unread: list[Losses] = []
        self._since = time.process_time(), time.perf_counter()

    def load(self) -> None:
        """Continue from the checkpoint."""
        found = load_checkpoint(
            self.folder,
            self.modules,
            self.optimizers,
            config=self.record["config"],
            n_threads=self.record["n_threads"],
        )
        if found["perceptual"] != self.record["perceptual"]:
            raise InputError(
                f"{self.folder}: was trained with the features of {found['perceptual']['file']} "
                f"(SHA-256 {found['perceptual']['sha256']}), not with these; bring that file back"
            )
        self.step = found["step"]
        self.record |= {k: found[k] for k in ("cpu_s", "wall_s", "recent_losses", "log")}

    def advance(self, pool: Pool) -> None:
        """One step."""
        config, step = self.config, self.step
        set_learning_rate(self.optimizers.values(), learning_rate(config, step))
        series = series_of_step(len(pool), config.optimisation.batch, config.seed, step)
        batch = read_batch(pool.arrays, series, self.device)
        masks = self._masks(batch.frames, config.seed, step)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            losses = (
                pretraining_losses(self.players, batch, masks)
                if gan_epoch(config, step) < 0
                else gan_losses(self.players, batch, masks, config.optimisation.discriminator_loss)
            )
        descend_together(losses, self.optimizers)
        self._unread.append({name: loss.detach() for name, loss in losses.items()})
        self.step += 1

    def validate(self, validation: Pool) -> Row:
        """Score the generator; a new row of the log."""
        self._read_losses()
        recent = self.record["recent_losses"]
        row: Row = {
            "step": self.step,
            "learning_rate": learning_rate(self.config, self.step - 1),
            **{f"loss_{name}": total / n for name, (total, n) in sorted(recent.items())},
            "validation_x8": self._validation_error(validation),
        }
        self.record["recent_losses"] = {}
        self.record["log"] = [*self.record["log"], row]
        return row

    def save(self) -> None:
        """Replace the checkpoint."""
        self._read_losses()
        now = time.process_time(), time.perf_counter()
        for key, start, end in zip(("cpu_s", "wall_s"), self._since, now, strict=True):
            self.record[key] += end - start
        self._since = now
        save_checkpoint(self.folder, self.step, self.modules, self.optimizers, self.record)

    def _read_losses(self) -> None:
        """Fetch the losses from the device, which would have to be waited for in every step."""
        recent = self.record["recent_losses"]
        for losses in self._unread:
            for name, loss in losses.items():
                value = loss.item()
                if not math.isfinite(value):
                    raise DlbiError(
                        f"{self.folder}: the training diverged before step {self.step} (loss "
                        f"{name}, seed {self.config.seed}); lower optimisation.learning_rate and "
                        "train anew"
                    )
                total, n = recent.get(name, (0.0, 0))
                recent[name] = [total + value, n + 1]
        self._unread = []

    @torch.no_grad()
    def _validation_error(self, pool: Pool) -> float:
        """Mean of Eq. 5 at ×8 over the series of a pool, as a user would run the generator."""
        generator, seed = self.players.generator.eval(), derived_seed(self.config.seed, "validate")
        errors = []
        for i in range(len(pool)):
            batch = read_batch(pool.arrays, np.array([i]), self.device)
            image = generator(batch.frames, self._masks(batch.frames, seed, i))[-1]
            errors.append(squared_error(image, batch.truths[-1]).item())
        generator.train()
        return math.fsum(errors) / len(errors)

    def _masks(self, frames: Tensor, seed: int, step: int) -> Tensor:
        network = self.config.network
        shape = (len(frames), network.channels, *frames.shape[-2:])
        return dropout_masks(shape, network.keep, seed, step, self.device)


def _device(config: OptimisationConfig) -> torch.device:
    device = device_of(config.device)
    if config.device == "auto" and device.type == "cpu":
        warnings.warn(
            "there is no CUDA device, so the paper's network is trained on the processor, where "
            "at full size one step takes minutes",
            DlbiWarning,
            stacklevel=3,
        )
    return device


def _check_pool(config: PaperConfig, pool: Pool, n_series: int) -> None:
    for name, (shape, _) in config.data.layout().items():
        held = pool.arrays[name].shape if name in pool.arrays else None
        if held != (n_series, *shape):
            raise InputError(
                f"the paper's network needs {name} of shape {(n_series, *shape)}, but the pool "
                f"holds {'none' if held is None else held}; make a pool of this configuration"
            )
