from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from facesearch.encoders.free_sizes import free_sizes
from facesearch.encoders.onnx_session import open_file
from facesearch.errors import InvalidConfig


def test_a_graph_of_one_size_then_takes_any(tmp_path: Path) -> None:
    file = tmp_path / "fixed.onnx"
    file.write_bytes(_pooling())
    session = open_file(free_sizes(file), threads=1)
    for shape in ((1, 3, 8, 8), (2, 3, 4, 30)):
        (given,) = session.run(None, {"picture": np.ones(shape, np.float32)})
        assert given.shape == (shape[0], 3, shape[2] // 2, shape[3] // 2)


def test_channels_stay_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "fixed.onnx"
    file.write_bytes(_pooling())
    (taken,) = open_file(free_sizes(file), threads=1).get_inputs()
    assert taken.shape[1] == 3


@pytest.mark.parametrize("data", [b"", b"no graph at all"])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "other.onnx"
    file.write_bytes(data)
    with pytest.raises(InvalidConfig):
        open_file(free_sizes(file), threads=1)


def test_a_missing_file_is_refused_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as refused:
        free_sizes(tmp_path / "missing.onnx")
    assert str(tmp_path) not in refused.value.message


def _pooling() -> bytes:
    """A graph that halves pictures, and says that they are of 8 x 8 pixels."""
    floats = TensorProto.FLOAT
    node = helper.make_node("MaxPool", ["picture"], ["half"], kernel_shape=[2, 2], strides=[2, 2])
    done = helper.make_node("Relu", ["half"], ["done"])
    graph = helper.make_graph(
        [node, done],
        "pooling",
        [helper.make_tensor_value_info("picture", floats, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("done", floats, [1, 3, 4, 4])],
        value_info=[helper.make_tensor_value_info("half", floats, [1, 3, 4, 4])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
