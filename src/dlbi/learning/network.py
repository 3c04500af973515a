"""Model files: an ONNX graph with a description of what it was trained for, and how to run it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlbi.core.errors import FileFormatError, InputError
from dlbi.core.kernels import F32
from dlbi.learning.confidence import Confidence
from dlbi.learning.observation import CHANNELS
from dlbi.learning.weights import weights

UPSCALING = 8
"""Fine pixels per camera pixel along one axis; the networks are built for this."""

MODEL_FORMAT = 1
METADATA_KEY = "dlbi"
OUTPUT = "image"
N_MAPS = {"compact": 3, "paper": 1}
"""Maps in the output: amplitude, log of its standard deviation, logit of "structure"; or the
image."""

_SHIPPED = "models/compact.onnx"
_PROBE_SHAPE = (16, 24)


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a model file tells of itself.

    Parameters
    ----------
    name : str
    kind : {"compact", "paper"}
        `compact` reads statistics of any movie, `paper` a fixed number of frames.
    mask_channels : int
        Features under Monte-Carlo dropout.
    keep : float
        Their probability of being kept.
    halo_px : int
        Camera pixels beyond which nothing influences a pixel.
    channels : tuple of str
        Names of the statistics, for `compact`.
    n_frames : int or None
        Frames of a movie, for `paper`.
    upscaling : int
    ranges : mapping of str to (float, float)
        Smallest and largest physical figure of the training movies, by name.
    confidence : Confidence or None
        Measured correction of the uncertainty.
    training : mapping
        How it was trained and how well it did; plain JSON values.
    dlbi_version : str
        Version that exported the file.

    Raises
    ------
    InputError
        If a value is impossible.
    """

    name: str
    kind: Literal["compact", "paper"]
    mask_channels: int
    keep: float
    halo_px: int
    channels: tuple[str, ...] = ()
    n_frames: int | None = None
    upscaling: int = UPSCALING
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    confidence: Confidence | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    dlbi_version: str = "unknown"

    def __post_init__(self) -> None:
        """Validate the values against each other."""
        if self.kind not in N_MAPS:
            raise InputError(f"a network is of kind {' or '.join(N_MAPS)}, not {self.kind!r}")
        if not 0 < self.keep <= 1:
            raise InputError(f"the probability of keeping a feature is in (0, 1], not {self.keep}")
        if self.mask_channels < 1 or self.halo_px < 0:
            raise InputError(
                f"mask channels must be ≥ 1 and the halo ≥ 0, got {self.mask_channels} and "
                f"{self.halo_px}"
            )
        if self.kind == "compact" and not self.channels:
            raise InputError("a compact network must name the statistics it reads")
        if self.kind == "paper" and (self.n_frames is None or self.n_frames < 2):
            raise InputError(f"a paper network reads at least 2 frames, got {self.n_frames}")
        for name, (low, high) in self.ranges.items():
            if not low <= high:
                raise InputError(f"the range of {name} must rise, got {low} to {high}")

    def to_json(self) -> str:
        """The text that travels in the model file."""
        content = {"format": MODEL_FORMAT} | asdict(self)
        return json.dumps(content, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ModelMetadata:
        """Inverse of `to_json`.

        Raises
        ------
        FileFormatError
            If the text is damaged or of another format version.
        """
        try:
            content = json.loads(text)
            version = content.pop("format")
            if version != MODEL_FORMAT:
                raise FileFormatError(
                    f"is of model format {version!r} but this version of dlbi reads format "
                    f"{MODEL_FORMAT}; install a dlbi that fits, or train the network again"
                )
            confidence = content.pop("confidence")
            if confidence is not None:
                confidence = Confidence(
                    float(confidence["std_scale"]),
                    tuple(map(float, confidence["score"])),
                    tuple(map(float, confidence["log_odds_empty"])),
                    confidence["largest_std"],
                )
            ranges = {
                name: (float(low), float(high))
                for name, (low, high) in content.pop("ranges").items()
            }
            channels = tuple(map(str, content.pop("channels")))
            return cls(**content, channels=channels, ranges=ranges, confidence=confidence)
        except FileFormatError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise FileFormatError(
                f"has a damaged description ({error}); export the network again"
            ) from error


class Network:
    """A trained network ready to run, safe to share among threads.

    Each call runs on the calling thread alone, so the result does not depend on the number of
    threads that call.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    metadata : ModelMetadata
    sha256 : str
        Of the model file.
    """

    def __init__(self, session: Any, metadata: ModelMetadata, sha256: str) -> None:
        """Wrap a session; use `load_network`."""
        self._session = session
        self.metadata = metadata
        self.sha256 = sha256

    def run(self, statistics: F32, guide: F32, mask: F32) -> F32:
        """One pass of a compact network.

        Parameters
        ----------
        statistics : ndarray, (N, S, Y, X), float32
            In the order of ``metadata.channels``.
        guide : ndarray, (N, 1, Y·8, X·8), float32
        mask : ndarray, (N, C, Y, X), float32
            0 or 1 ÷ keep.

        Returns
        -------
        ndarray, (N, 3, Y·8, X·8), float32
            Amplitude √(64 · density ÷ scale), log of its standard deviation, logit of "structure".
        """
        return self._run(statistics=statistics, guide=guide, mask=mask)

    def run_frames(self, frames: F32, mask: F32) -> F32:
        """One pass of a paper network.

        Parameters
        ----------
        frames : ndarray, (N, T, Y, X), float32
            Normalised to [−1, 1].
        mask : ndarray, (N, C, Y, X), float32

        Returns
        -------
        ndarray, (N, 1, Y·8, X·8), float32
            In (−1, 1).
        """
        return self._run(frames=frames, mask=mask)

    def _run(self, **inputs: F32) -> F32:
        contiguous = {name: np.ascontiguousarray(a, np.float32) for name, a in inputs.items()}
        (image,) = self._session.run([OUTPUT], contiguous)
        return np.asarray(image, np.float32)


def load_network(path: str | Path | None = None) -> Network:
    """Load a model file.

    Parameters
    ----------
    path : path, optional
        An ONNX file made by `dlbi train`; the network that comes with the package if not given.

    Returns
    -------
    Network
        Checked: its weights are finite and it runs. No code of the file is executed.

    Raises
    ------
    InputError
        If the file cannot be read or ONNX Runtime is not installed.
    FileFormatError
        If the file is no model of this package that this version can use.
    """
    source = files("dlbi.learning") / _SHIPPED if path is None else Path(path)
    name = "the network of this package" if path is None else str(path)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise InputError(
            f"{name}: cannot be read ({error.strerror or error}); name a model file (.onnx)"
        ) from error
    try:
        session = _session(content)
        metadata = _metadata(session)
        _check_usable(metadata)
        _check_weights(content)
        network = Network(session, metadata, hashlib.sha256(content).hexdigest())
        _check_runs(network)
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from error
    return network


def _session(content: bytes) -> Any:
    try:
        onnxruntime = import_module("onnxruntime")
    except ImportError as error:
        raise InputError(
            f"the network needs ONNX Runtime, which cannot be imported ({error}); "
            "install it with: pip install onnxruntime"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The arena keeps pages from one pass to the next, else half of the time goes into zeroing new
    # ones; a planned pattern takes half as much memory again.
    options.enable_cpu_mem_arena, options.enable_mem_pattern = True, False
    options.log_severity_level = 4  # failures come as exceptions
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # an exception class for each of ONNX Runtime's status codes
        raise FileFormatError(
            f"is not an ONNX model that ONNX Runtime {onnxruntime.__version__} can load "
            f"({_one_line(error)}); copy or export it again"
        ) from error


def _metadata(session: Any) -> ModelMetadata:
    texts = session.get_modelmeta().custom_metadata_map
    if METADATA_KEY not in texts:
        raise FileFormatError(
            "is an ONNX model without a description by dlbi; give one made by dlbi train"
        )
    return ModelMetadata.from_json(texts[METADATA_KEY])


def _check_usable(metadata: ModelMetadata) -> None:
    if metadata.upscaling != UPSCALING:
        raise FileFormatError(
            f"enlarges ×{metadata.upscaling} but ×{UPSCALING} is needed; "
            f"give a network trained for ×{UPSCALING}"
        )
    unknown = [name for name in metadata.channels if name not in CHANNELS]
    if unknown:
        raise FileFormatError(
            f"reads statistics that this version of dlbi does not compute "
            f"({', '.join(unknown)}); it was made by dlbi {metadata.dlbi_version}, so install "
            "that one or train the network again"
        )


def _check_weights(content: bytes) -> None:
    for name, values in weights(content):
        if not np.isfinite(values).all():
            raise FileFormatError(
                f"has weights that are not finite ({name}); its training diverged or the file is "
                "damaged, so take another checkpoint or copy it again"
            )


def _check_runs(network: Network) -> None:
    """Run once on nothing, since a graph tells the shape of its output only then."""
    y, x = _PROBE_SHAPE
    metadata = network.metadata
    mask = np.ones((1, metadata.mask_channels, y, x), np.float32)
    expected = (1, N_MAPS[metadata.kind], UPSCALING * y, UPSCALING * x)
    try:
        if metadata.n_frames is None:
            statistics = np.zeros((1, len(metadata.channels), y, x), np.float32)
            guide = np.zeros((1, 1, *expected[2:]), np.float32)
            shape = network.run(statistics, guide, mask).shape
        else:
            frames = np.zeros((1, metadata.n_frames, y, x), np.float32)
            shape = network.run_frames(frames, mask).shape
    except Exception as error:  # as in `_session`
        raise FileFormatError(
            f"does not run as its description says ({_one_line(error)}); export it again"
        ) from error
    if shape != expected:
        raise FileFormatError(
            f"gives an output of shape {shape} where a {metadata.kind} network gives {expected}; "
            "export it again"
        )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
