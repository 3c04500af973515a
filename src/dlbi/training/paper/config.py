"""Settings of the paper's network and training; every default is the paper's figure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from dlbi.training.pool import DataConfig

_Share = Annotated[float, Field(gt=0.0, le=1.0)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkConfig(_Settings):
    """Sizes of generator and discriminator (2.2.2).

    Attributes
    ----------
    n_frames : int
        Frames of a movie; they are the input channels of the generator.
    channels : int
        Feature maps of the generator, a multiple of 4.
    blocks : int
        Residual blocks of the generator.
    keep : float
        Share of features that Monte-Carlo dropout keeps.
    discriminator_channels : int
        Feature maps of the discriminator's first layer; its widest layer has 32 times as many.
    """

    n_frames: Annotated[int, Field(ge=2)] = 200
    channels: Annotated[int, Field(ge=4, multiple_of=4)] = 256
    blocks: PositiveInt = 16
    keep: _Share = 0.8
    discriminator_channels: Annotated[int, Field(ge=4, multiple_of=4)] = 64


class OptimisationConfig(_Settings):
    """Length and speed of the training (3.1).

    Attributes
    ----------
    pretraining_epochs, gan_epochs : int
        Passes over all series with Eq. 5, then with Eq. 7, 8 and the discriminator.
    batch : int
        Series of one step.
    learning_rate, beta1 : float
        Of Adam.
    halving_epochs : int
        Epochs of the adversarial training after which the learning rate halves.
    discriminator_loss : {"minimax", "eq9"}
        Whether the discriminator maximises Eq. 4 or minimises Eq. 9 as it is printed.
    device : {"auto", "cpu", "cuda"}
        "auto" takes a CUDA device where there is one.
    checkpoint_every, validate_every : int
        Steps between two checkpoints and two rows of the log.
    """

    pretraining_epochs: Annotated[int, Field(ge=0)] = 2
    gan_epochs: Annotated[int, Field(ge=0)] = 40
    batch: Annotated[int, Field(ge=2)] = 8
    learning_rate: PositiveFloat = 1e-4
    beta1: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.9
    halving_epochs: PositiveInt = 10
    discriminator_loss: Literal["minimax", "eq9"] = "minimax"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_every: PositiveInt = 1500
    validate_every: PositiveInt = 1500


class PerceptualConfig(_Settings):
    """Features of the perceptual loss (Eq. 6).

    Attributes
    ----------
    weights : path, optional
        A VGG19 state dict as torchvision names it (.pth or .safetensors). Without it, a small
        network learns features from the structures of the training set.
    sha256 : str, optional
        Checksum that the file must have.
    image_px : int
        Side to which images are resized, a multiple of 16.
    channels, steps, batch, learning_rate
        Size and training of the small network.
    """

    weights: Path | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    image_px: Annotated[int, Field(ge=16, multiple_of=16)] = 224
    channels: PositiveInt = 16
    steps: PositiveInt = 2000
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3


class PaperConfig(_Settings):
    """Everything that a training of the paper's network depends on."""

    kind: Literal["paper"] = "paper"
    name: Annotated[str, Field(min_length=1)] = "dlbi-paper"
    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig
    network: NetworkConfig = NetworkConfig()
    optimisation: OptimisationConfig = OptimisationConfig()
    perceptual: PerceptualConfig = PerceptualConfig()

    @model_validator(mode="after")
    def _movies_fit_the_network(self) -> Self:
        n_frames = self.network.n_frames
        if self.data.view != "frames" or tuple(self.data.n_frames) != (n_frames, n_frames):
            raise ValueError(
                f"the paper's network reads movies of {n_frames} frames: "
                f'set data.view = "frames" and data.n_frames = [{n_frames}, {n_frames}]'
            )
        if self.data.n_series < self.optimisation.batch:
            raise ValueError(
                f"data.n_series = {self.data.n_series} is less than one batch of "
                f"{self.optimisation.batch}: simulate more series or take a smaller batch"
            )
        return self

    def training_parts(self) -> list[tuple[str, DataConfig]]:
        """Name and settings of the series."""
        return [("training", self.data)]
