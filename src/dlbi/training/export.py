"""Trained networks as model files: a checked, self-contained ONNX graph with its description."""

from __future__ import annotations

import copy
import logging
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from dlbi import __version__
from dlbi.core.errors import InputError, OutputError
from dlbi.core.kernels import F32
from dlbi.core.rng import stream
from dlbi.io.files import reading, writing
from dlbi.learning.network import (
    METADATA_KEY,
    OUTPUT,
    UPSCALING,
    ModelMetadata,
    Network,
    load_network,
)

TOLERANCE = 1e-4
"""Largest difference of exported and trained network, relative to the largest value."""

_TRACED_SHAPE = (2, 18, 20)
"""Batch, rows and columns of the example that is traced; 1 would be taken for a constant."""

_CHECKED_SHAPE = (1, 23, 16)


def export_model(
    module: nn.Module, path: str | Path, metadata: ModelMetadata, *, overwrite: bool = False
) -> float:
    """Write a network as a model file for `dlbi.learning.network.load_network`.

    The file appears under its name only after ONNX Runtime has run it and agreed with the module.
    The same weights and description give the same bytes.

    Parameters
    ----------
    module : nn.Module
        Called with (statistics, guide, mask) if `metadata` is of kind `compact`, with
        (frames, mask) if `paper`; of several outputs the last is exported. It is not changed.
    path : path
    metadata : ModelMetadata
        Its `dlbi_version` becomes that of this package.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    float
        Largest absolute difference between ONNX Runtime and the module on random input.

    Raises
    ------
    InputError
        If the weights are not finite, or something farther away than the halo has influence.
    OutputError
        If the file cannot be written or does not give what the module gives.
    """
    path = Path(path)
    metadata = replace(metadata, dlbi_version=__version__)
    for name, weight in module.state_dict().items():
        if not torch.isfinite(weight).all():
            raise InputError(
                f"{path}: the weights are not finite ({name}); the training diverged, so export an "
                "earlier checkpoint"
            )
    shipped = _LastOutput(copy.deepcopy(module).cpu().float()).eval()
    for parameter in shipped.parameters():
        parameter.data = parameter.data.contiguous()  # bytes do not depend on the memory format
    with _appearing(path, overwrite=overwrite) as part:
        model = _traced(shipped, metadata)
        _describe(model, metadata)
        _write(model, part)
        network = load_network(part)
        difference = _difference(shipped, network, metadata)
        _check_halo(network)
    return difference


def replace_metadata(path: str | Path, metadata: ModelMetadata) -> None:
    """Give a model file another description, e.g. with the confidence measured on it.

    Raises
    ------
    InputError
        If the file cannot be read or the description does not fit the network.
    OutputError
        If the file cannot be written.
    """
    path = Path(path)
    with reading(path, "ONNX model"):
        model = onnx.load_model(path)
    _describe(model, metadata)
    with _appearing(path, overwrite=True) as part:
        _write(model, part)
        load_network(part)


class _LastOutput(nn.Module):
    """The network reduced to the image that is shipped."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Tensor:
        outputs = self.module(*inputs)
        image: Tensor = outputs if isinstance(outputs, Tensor) else outputs[-1]
        return image


def _traced(shipped: nn.Module, metadata: ModelMetadata) -> onnx.ModelProto:
    examples = _examples(metadata, *_TRACED_SHAPE)
    batch, rows, columns = (torch.export.Dim(name) for name in ("N", "Y", "X"))
    fine = {0: batch, 2: UPSCALING * rows, 3: UPSCALING * columns}
    coarse = {0: batch, 2: rows, 3: columns}
    with _quiet():
        program = torch.onnx.export(
            shipped,
            tuple(torch.from_numpy(values) for values in examples.values()),
            dynamo=True,
            verbose=False,
            input_names=list(examples),
            output_names=[OUTPUT],
            dynamic_shapes=(tuple(fine if name == "guide" else coarse for name in examples),),
        )
    assert program is not None  # only without dynamo
    return program.model_proto


def _examples(metadata: ModelMetadata, n: int, y: int, x: int) -> dict[str, F32]:
    """Random input by name, in the order of the module's arguments."""
    rng = stream(0, "export", n, y, x)
    mask = rng.random((n, metadata.mask_channels, y, x)) < metadata.keep
    if metadata.n_frames is None:
        inputs = {
            "statistics": rng.standard_normal((n, len(metadata.channels), y, x)),
            "guide": rng.random((n, 1, UPSCALING * y, UPSCALING * x)),
        }
    else:
        inputs = {"frames": rng.uniform(-1.0, 1.0, (n, metadata.n_frames, y, x))}
    inputs["mask"] = mask / metadata.keep
    return {name: values.astype(np.float32) for name, values in inputs.items()}


def _describe(model: onnx.ModelProto, metadata: ModelMetadata) -> None:
    """Set the description and drop whatever tells of the place of the export."""
    graph = model.graph
    for part in (
        graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output
    ):  # fmt: skip
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    model.producer_name, model.producer_version = "dlbi", __version__
    onnx.helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})


def _write(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))


def _run(network: Network, inputs: dict[str, F32]) -> F32:
    return network.run(**inputs) if "guide" in inputs else network.run_frames(**inputs)


def _difference(shipped: nn.Module, network: Network, metadata: ModelMetadata) -> float:
    inputs = _examples(metadata, *_CHECKED_SHAPE)
    with torch.no_grad():
        expected = shipped(*(torch.from_numpy(values) for values in inputs.values())).numpy()
    difference = float(np.abs(_run(network, inputs) - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise OutputError(
            f"the exported network differs from the trained one by {difference:.2g}; nothing was "
            "written, so export with the versions of torch and onnxscript this was tested with"
        )
    return difference


def _check_halo(network: Network) -> None:
    """Change everything just beyond the halo of one pixel, which must not notice."""
    halo = network.metadata.halo_px
    side = 2 * halo + 3
    inputs = _examples(network.metadata, 1, side, side)
    changed = {name: values.copy() for name, values in inputs.items()}
    for values in changed.values():
        factor = values.shape[-1] // side
        inside = slice(factor, -factor)
        inner = values[..., inside, inside].copy()
        values += 1.0
        values[..., inside, inside] = inner
    pixel = slice(UPSCALING * (halo + 1), UPSCALING * (halo + 2))
    before, after = (_run(network, each)[..., pixel, pixel] for each in (inputs, changed))
    if np.abs(after - before).max() > TOLERANCE * max(1.0, float(np.abs(before).max())):
        raise InputError(
            f"pixels farther away than the halo of {halo} camera pixels have influence; state the "
            "true reach of the network"
        )


@contextmanager
def _appearing(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A temporary sibling that gets its final name when the block ends without an error."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; choose another name")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with writing(path):
            yield part
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about its own parts and packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
