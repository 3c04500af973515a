"""The training of the compact network, which can be stopped and continued at any step."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from dlbi.core.errors import DlbiError, InputError
from dlbi.core.rng import derived_seed
from dlbi.io.files import writing
from dlbi.learning.observation import CHANNELS
from dlbi.training.checkpoints import has_checkpoint, load_checkpoint, read_record, save_checkpoint
from dlbi.training.compact.batches import crops_of_step, dropout_masks, read_batch
from dlbi.training.compact.config import CompactConfig, OptimisationConfig
from dlbi.training.compact.network import CompactNetwork, initialise
from dlbi.training.compact.objective import objective
from dlbi.training.compact.validation import score_guide, score_network
from dlbi.training.devices import device_of
from dlbi.training.interruption import deferred_interrupts
from dlbi.training.pool import Pool

LOG = "log.csv"

FINAL_SHARE = 0.01
"""Share of the learning rate that is left at the last step."""

Row = dict[str, float]


def train(
    config: CompactConfig,
    folder: Path,
    pools: Mapping[str, Pool],
    validation: Pool,
    *,
    resume: bool = False,
    n_threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[Row], None] | None = None,
) -> CompactNetwork:
    """Train the network; checkpoints and the log go into the folder.

    With one number of threads the same settings give the same bits, interrupted or not. Ctrl-C and
    SIGTERM save a checkpoint before they stop the training.

    Parameters
    ----------
    config : CompactConfig
    folder : Path
    pools : mapping of str to Pool
        Series to train on, of view ``statistics``, by the name of their part
        (`CompactConfig.training_parts`).
    validation : Pool
        Series to score with.
    resume : bool
        Continue from the checkpoint in the folder. Cycles not yet begun may differ from those of
        the first call, so a training can be prolonged.
    n_threads : int, optional
        Threads of the processor; PyTorch's choice by default.
    progress : callable, optional
        Called with (done, total) steps.
    report : callable, optional
        Called with every new row of the log: mean loss since the last row, and the scores of
        network and guide.

    Returns
    -------
    CompactNetwork
        With the running mean of the weights, in evaluation mode, on the processor.

    Raises
    ------
    InputError, FileFormatError
        If pool, checkpoint or device do not fit.
    DlbiError
        If the training diverges.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, when the checkpoint is saved.
    """
    series = [pools[name] for name, _ in config.training_parts()]
    for pool in (*series, validation):
        _check_pool(config, pool)
    if resume != has_checkpoint(folder):
        raise InputError(
            f"{folder}: holds no checkpoint to continue from; train without --resume"
            if resume
            else f"{folder}: holds a training; continue it with --resume or take another folder"
        )
    optimisation = config.optimisation
    folder.mkdir(parents=True, exist_ok=True)
    with reproducible(n_threads), deferred_interrupts() as interrupted:
        training = _Training(config, folder)
        if resume:
            training.load()
        guide = {f"guide_{k}": v for k, v in asdict(score_guide(validation.arrays)).items()}
        while training.step < optimisation.steps:
            training.advance(series[cycle_of(optimisation, training.step).number])
            last = training.step == optimisation.steps
            if last or training.step % optimisation.validate_every == 0:
                row = training.validate(validation, guide)
                if report is not None:
                    report(row)
            stopped = interrupted()
            if last or stopped or training.step % optimisation.checkpoint_every == 0:
                training.save()
            if progress is not None:
                progress(training.step, optimisation.steps)
            if stopped and not last:
                raise KeyboardInterrupt
    return training.average.cpu().eval()


def load_trained(config: CompactConfig, folder: Path) -> tuple[CompactNetwork, dict[str, Any]]:
    """Network of the checkpoint in a folder, as `train` returns it, and the record.

    The record holds ``step``, ``config``, ``cpu_s``, ``wall_s``, ``n_threads``, ``versions`` and
    the rows of the ``log``.

    Raises
    ------
    InputError, FileFormatError
        If there is no checkpoint of this configuration, or it is damaged.
    """
    network = new_network(config)
    record = load_checkpoint(folder, {"average": network}, {}, config=_recorded(config, folder))
    return network.eval(), record


def new_network(config: CompactConfig) -> CompactNetwork:
    """The untrained network of a configuration; a pure function of its sizes and seed."""
    sizes = config.network
    network = CompactNetwork(len(CHANNELS), sizes.channels, sizes.blocks, sizes.widths)
    initialise(network, torch.Generator().manual_seed(derived_seed(config.seed, "weights")))
    return network


class CyclePlace(NamedTuple):
    """Where in a training a step lies: number of its cycle, steps done in it, steps of it."""

    number: int
    done: int
    steps: int


def cycle_of(optimisation: OptimisationConfig, step: int) -> CyclePlace:
    """The place of a step, counted from 0."""
    for number, cycle in enumerate(optimisation.cycles):
        if step < cycle.steps:
            return CyclePlace(number, step, cycle.steps)
        step -= cycle.steps
    raise ValueError(f"the training ends {step + 1} steps before this one")


def learning_rate(optimisation: OptimisationConfig, step: int) -> float:
    """Of a step, from 0: in each cycle a linear rise, then a cosine to 1 % at its last step.

    References
    ----------
    Loshchilov and Hutter 2017, arXiv:1608.03983.
    """
    peak, warmup = optimisation.learning_rate, optimisation.warmup_steps
    _, into, length = cycle_of(optimisation, step)
    if into < warmup:
        return peak * (into + 1) / warmup
    way = (into - warmup) / max(length - 1 - warmup, 1)
    return peak * (FINAL_SHARE + (1.0 - FINAL_SHARE) * 0.5 * (1.0 + math.cos(math.pi * way)))


def average_decay(optimisation: OptimisationConfig, step: int) -> float:
    """Weight of the past in the running mean; small at first, when the past is worth little."""
    into = cycle_of(optimisation, step).done
    return min(optimisation.average_decay, (1 + into) / (10 + into))


@contextmanager
def reproducible(n_threads: int | None) -> Iterator[None]:
    """Deterministic algorithms and a number of threads, until the block ends."""
    before, was = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    if n_threads is not None:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(was)


class _Training:
    """Everything that changes from step to step."""

    def __init__(self, config: CompactConfig, folder: Path) -> None:
        self.config, self.folder, self.step = config, folder, 0
        self.device = device_of(config.optimisation.device)
        # Channels last is a fifth faster on a CPU.
        self.network = new_network(config).to(self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimizer = self._new_optimizer()
        self.record: dict[str, Any] = {
            "n_threads": torch.get_num_threads(),
            "cpu_s": 0.0,
            "wall_s": 0.0,
            "recent_loss": [0.0, 0],
            "log": [],
        }
        self._since = time.process_time(), time.perf_counter()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds."""
        return {"network": self.network, "average": self.average}

    def load(self) -> None:
        """Continue from the checkpoint."""
        found = load_checkpoint(
            self.folder,
            self.modules,
            {"adam": self.optimizer},
            config=_recorded(self.config, self.folder),
            n_threads=self.record["n_threads"],
        )
        self.step = found["step"]
        self.record |= {k: found[k] for k in ("cpu_s", "wall_s", "recent_loss", "log")}

    def advance(self, pool: Pool) -> None:
        """One step."""
        optimisation, step, seed = self.config.optimisation, self.step, self.config.seed
        if step > 0 and cycle_of(optimisation, step).done == 0:
            self._restart()
        loss = self._loss(pool, step)
        value = loss.item()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_grad_norm_(self.network.parameters(), optimisation.clip).item()
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise DlbiError(
                f"{self.folder}: the training diverged at step {step + 1} (loss {value:g}, seed "
                f"{seed}); lower optimisation.learning_rate and train anew"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(optimisation, step)
        self.optimizer.step()
        new = 1.0 - average_decay(optimisation, step)
        for mean, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weight.detach(), new)
        self.step += 1
        total, n = self.record["recent_loss"]
        self.record["recent_loss"] = [total + value, n + 1]

    def _restart(self) -> None:
        """Begin a cycle: from the running mean, with a fresh state of Adam."""
        self.network.load_state_dict(self.average.state_dict())
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.network.parameters(), self.config.optimisation.learning_rate)

    def _loss(self, pool: Pool, step: int) -> torch.Tensor:
        optimisation, keep = self.config.optimisation, self.config.network.keep
        crops = crops_of_step(
            len(pool), self.config.data.field_px,
            n_crops=optimisation.batch, crop_px=optimisation.crop_px,
            seed=self.config.seed, step=step,
        )  # fmt: skip
        batch = read_batch(pool.arrays, crops)
        n, _, height, width = batch.statistics.shape
        mask = dropout_masks(
            (n, self.network.channels, height, width), keep=keep, seed=self.config.seed, step=step
        )
        statistics, guide, mask = (
            x.to(self.device, memory_format=torch.channels_last)
            for x in (batch.statistics, batch.guide, mask)
        )
        target, structure, counted = (
            x.to(self.device) for x in (batch.target, batch.structure, batch.counted)
        )
        robust = step >= optimisation.robust_from
        halved = optimisation.bfloat16_from is not None and step >= optimisation.bfloat16_from
        with torch.autocast(self.device.type, torch.bfloat16, enabled=halved):
            coarse, middle, fine = self.network(statistics, guide, mask)
        images = coarse.float(), middle.float(), fine.float()
        return objective(images, target, structure, counted, "robust" if robust else "square")

    def validate(self, validation: Pool, guide: Mapping[str, float]) -> Row:
        """Score the averaged network; a new row of the log, where what is undefined is absent."""
        scores = asdict(score_network(self.average, validation.arrays))
        self._count_time()
        total, n = self.record["recent_loss"]
        row: Row = {
            "step": self.step,
            "learning_rate": learning_rate(self.config.optimisation, self.step - 1),
            "loss": total / n,
            **scores,
            **guide,
            "cpu_s": self.record["cpu_s"],
            "wall_s": self.record["wall_s"],
        }
        self.record["recent_loss"] = [0.0, 0]
        known = {key: value for key, value in row.items() if math.isfinite(value)}
        self.record["log"] = [*self.record["log"], known]
        _write_log(self.folder / LOG, self.record["log"])
        return known

    def save(self) -> None:
        """Replace the checkpoint."""
        self._count_time()
        save_checkpoint(
            self.folder, self.step, self.modules, {"adam": self.optimizer},
            self.record | {"config": _plain(self.config, self.step)},
        )  # fmt: skip

    def _count_time(self) -> None:
        now = time.process_time(), time.perf_counter()
        for key, start, end in zip(("cpu_s", "wall_s"), self._since, now, strict=True):
            self.record[key] += end - start
        self._since = now


def _write_log(path: Path, rows: list[Row]) -> None:
    """The whole log anew, because rows after the checkpoint of a killed training come again."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        part.write_text(text.getvalue(), encoding="utf-8")
        part.replace(path)


def _recorded(config: CompactConfig, folder: Path) -> dict[str, Any]:
    """What the checkpoint must say of the configuration."""
    return _plain(config, read_record(folder)["step"])


def _plain(config: CompactConfig, step: int) -> dict[str, Any]:
    """All that has mattered after some steps: the configuration without the cycles to come."""
    n_begun = 1 if step == 0 else cycle_of(config.optimisation, step - 1).number + 1
    plain = config.model_dump(mode="json")
    del plain["optimisation"]["cycles"][n_begun:]
    return plain


def _check_pool(config: CompactConfig, pool: Pool) -> None:
    for name, (shape, _) in config.data.layout().items():
        held = pool.arrays[name].shape[1:] if name in pool.arrays else None
        if held != shape:
            raise InputError(
                f"the network trains on {name} of shape {shape}, but the pool holds "
                f"{'none' if held is None else held}; make a pool of this configuration"
            )
