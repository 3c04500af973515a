from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from dlbi.learning.weights import weights

ARRAYS = {
    "single": np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
    "half": np.array([0.5, np.inf], np.float16),
    "double": np.array([np.pi, np.nan]),
}


def model_of(tensors) -> bytes:
    graph = helper.make_graph([], "g", [], [], initializer=tensors, doc_string="x" * 300)
    return helper.make_model(graph).SerializeToString()


@pytest.fixture
def model() -> bytes:
    tensors = [numpy_helper.from_array(values, name) for name, values in ARRAYS.items()]
    return model_of([numpy_helper.from_array(np.arange(3), "integers"), *tensors])


def test_floating_point_weights_are_read_by_name(model):
    found = dict(weights(model))
    assert list(found) == list(ARRAYS)
    for name, values in found.items():
        assert values.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(values, ARRAYS[name].ravel())


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE])
def test_weights_stored_as_numbers_instead_of_bytes(kind):
    model = model_of([helper.make_tensor("w", kind, [3], [1.0, -2.0, 0.5])])
    assert onnx.load_from_string(model).graph.initializer[0].raw_data == b""
    ((name, values),) = weights(model)
    assert name == "w"
    np.testing.assert_array_equal(values, [1.0, -2.0, 0.5])


def test_a_truncated_model_is_refused(model):
    with pytest.raises(ValueError, match="truncated"):
        list(weights(model[:-1]))


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_hold_no_weights(content):
    try:
        found = list(weights(content))
    except ValueError:
        return
    assert all(isinstance(values, np.ndarray) for _, values in found)
