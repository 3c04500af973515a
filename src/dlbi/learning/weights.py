"""Weights inside an ONNX file, read without the `onnx` package.

ONNX Runtime loads weights that are not finite without a word, and a ReLU behind them may hide them.
An ONNX file is a protocol-buffer message (protobuf.dev/programming-guides/encoding): fields that
start with (number << 3) | wire type. The numbers below are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_DOUBLES = 2, 4, 8, 9, 10
_FLOAT_TYPES = {1: "<f4", 10: "<f2", 11: "<f8"}

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


def weights(model: bytes) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Name and flat values of each floating-point weight of an ONNX model.

    Raises
    ------
    ValueError
        If the bytes are no protocol-buffer message.
    """
    for graph in _parts(memoryview(model), _MODEL_GRAPH):
        for tensor in _parts(graph, _GRAPH_INITIALIZER):
            dtype = next((_FLOAT_TYPES.get(n) for n in _numbers(tensor, _TENSOR_TYPE)), None)
            if dtype is None:
                continue
            name = b"".join(_parts(tensor, _TENSOR_NAME)).decode()
            for field in (_TENSOR_RAW, _TENSOR_FLOATS, _TENSOR_DOUBLES):
                for values in _parts(tensor, field):
                    yield name, np.frombuffer(values, dtype)


def _parts(message: memoryview, field: int) -> Iterator[memoryview]:
    for found, value in _fields(message):
        if found == field and isinstance(value, memoryview):
            yield value


def _numbers(message: memoryview, field: int) -> Iterator[int]:
    for found, value in _fields(message):
        if found == field and isinstance(value, int):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers of fields with their values; fixed-width ones are skipped."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        field, wire_type = key >> 3, key & 7
        if wire_type == _VARINT:
            value, position = _varint(message, position)
            yield field, value
        elif wire_type == _LENGTH:
            size, start = _varint(message, position)
            position = start + size
            yield field, message[start:position]
        elif wire_type in (_EIGHT_BYTES, _FOUR_BYTES):
            position += 8 if wire_type == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"no protocol-buffer message (wire type {wire_type})")
    if position > len(message):
        raise ValueError("truncated protocol-buffer message")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("truncated protocol-buffer message")
