"""Small ONNX files, good and bad; onnx is loaded when one is made, after the database's driver."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Change = Callable[[Any], None]


def write_model(file: Path, change: Change | None = None) -> Path:
    """Write a graph that adds a constant to its input; `change` works on it before."""
    import onnx  # noqa: PLC0415
    from onnx import helper, numpy_helper  # noqa: PLC0415

    constant = numpy_helper.from_array(np.ones(8, np.float32), "one")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "one"], ["y"])],
        "adds",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [8])],
        [constant],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if change is not None:
        change(model)
    file.write_bytes(model.SerializeToString())
    return file


def point_elsewhere(tensor: Any) -> None:
    """Make a tensor's numbers those of another file."""
    import onnx  # noqa: PLC0415

    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
