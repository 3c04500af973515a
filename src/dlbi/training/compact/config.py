"""Settings of the compact network and its training."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from dlbi.training.pool import DataConfig, Shares

BORDER_PX = 2
"""Camera pixels along a cut that do not count, because their surroundings are missing."""


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class NetworkConfig(_Settings):
    """Sizes of the network.

    Attributes
    ----------
    channels : int
        Feature maps at the camera's resolution.
    blocks : int
        Residual blocks.
    widths : tuple of int
        Feature maps at ×2, ×4 and ×8.
    keep : float
        Share of features that Monte-Carlo dropout keeps (paper 2.2.2).
    """

    channels: PositiveInt = 48
    blocks: Annotated[int, Field(ge=0)] = 8
    widths: tuple[PositiveInt, PositiveInt, PositiveInt] = (32, 16, 8)
    keep: Annotated[float, Field(gt=0.0, le=1.0)] = 0.8


class CycleConfig(_Settings):
    """One cycle of the training.

    Attributes
    ----------
    steps : int
        Batches seen.
    n_series, families, regimes : optional
        Where its series differ from those of the ``[data]`` table.
    """

    steps: PositiveInt
    n_series: PositiveInt | None = None
    families: Shares | None = None
    regimes: Shares | None = None

    def data(self, common: DataConfig) -> DataConfig:
        """The series of this cycle."""
        own = self.model_dump(exclude={"steps"}, exclude_none=True)
        return DataConfig.model_validate(common.model_dump() | own)


class OptimisationConfig(_Settings):
    """Length and speed of the training.

    Attributes
    ----------
    cycles : tuple of CycleConfig
        A cycle starts from the running mean of the one before with a fresh state of Adam (warm
        restart), so that a training can be prolonged by another cycle, on other series.
    batch : int
        Series of one step.
    crop_px : int
        Side in camera pixels of what is seen of a series.
    learning_rate : float
        Of Adam, after the warm-up of a cycle; it falls to 1 % along a cosine.
    warmup_steps : int
        Steps over which the learning rate rises.
    robust_from : int
        Step at which the squared error gives way to the robust one.
    clip : float
        Greatest norm of the gradient.
    average_decay : float
        Of the running mean of the weights, which is what is validated and exported.
    checkpoint_every, validate_every : int
        Steps between two checkpoints and two rows of the log.
    bfloat16_from : int, optional
        Step from which on the convolutions are computed in bfloat16; weights, loss and validation
        stay float32. It saves up to half of the time where the processor multiplies such numbers
        itself (AVX512-BF16, AMX, CUDA), and costs time elsewhere. Never by default.
    device : {"cpu", "cuda"}
    """

    cycles: Annotated[tuple[CycleConfig, ...], Field(min_length=1)]
    batch: PositiveInt = 8
    crop_px: Annotated[int, Field(gt=2 * BORDER_PX)] = 28
    learning_rate: PositiveFloat = 1e-3
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    robust_from: Annotated[int, Field(ge=0)] = 5000
    clip: PositiveFloat = 1.0
    average_decay: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.999
    checkpoint_every: PositiveInt = 500
    validate_every: PositiveInt = 1000
    bfloat16_from: Annotated[int, Field(ge=0)] | None = None
    device: Literal["cpu", "cuda"] = "cpu"

    @property
    def steps(self) -> int:
        """Batches in all."""
        return sum(cycle.steps for cycle in self.cycles)


class CompactConfig(_Settings):
    """Everything that a training of the compact network depends on."""

    kind: Literal["compact"] = "compact"
    name: Annotated[str, Field(min_length=1)] = "dlbi-compact"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    optimisation: OptimisationConfig

    @model_validator(mode="after")
    def _data_fit_the_network(self) -> Self:
        if self.data.view != "statistics":
            raise ValueError(
                f'the compact network reads statistics: set data.view = "statistics", '
                f'not "{self.data.view}"'
            )
        if self.data.n_validation < 2:
            raise ValueError(
                f"data.n_validation = {self.data.n_validation}: at least 2 are needed, to measure "
                "the uncertainty on one half and to test it on the other"
            )
        if self.optimisation.crop_px > self.data.field_px:
            raise ValueError(
                f"optimisation.crop_px = {self.optimisation.crop_px} is larger than "
                f"data.field_px = {self.data.field_px}: take smaller crops or larger fields"
            )
        for cycle in self.optimisation.cycles:
            cycle.data(self.data)
        return self

    def training_parts(self) -> list[tuple[str, DataConfig]]:
        """Name and settings of the series of each cycle; cycles without own ones share a part."""
        own = [cycle.data(self.data) for cycle in self.optimisation.cycles]
        return [
            ("training" if data == self.data else f"training-{number}", data)
            for number, data in enumerate(own, 1)
        ]
