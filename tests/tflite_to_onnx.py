"""Turns a convolutional TensorFlow Lite model into ONNX, with any number of pictures a run.

It knows the operators of MobileFaceNet and no others, and only 32-bit floats. Tables and field numbers are
those of TensorFlow Lite's published schema (schema.fbs, version 3); `flatbuffers` comes with ONNX Runtime.
Weights are moved, never rounded. Functions without state; any thread may call them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from flatbuffers import number_types
from flatbuffers.table import Table
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_ADD, _CONV, _DEPTHWISE, _MUL, _RELU, _RESHAPE, _SUB, _ABS = 0, 3, 4, 18, 19, 22, 41, 101
_PLAIN = {_ADD: "Add", _MUL: "Mul", _SUB: "Sub", _RELU: "Relu", _ABS: "Abs"}
_OPSET, _IR_VERSION = 17, 8


class UnknownOperator(ValueError):
    """The model holds something that this converter does not know."""


@dataclass(frozen=True)
class _Operator:
    """What one step does: its operator's number, its tensors' numbers, and its options' table."""

    code: int
    inputs: list[int]
    outputs: list[int]
    options: Table | None


class _Model:
    """A model's first graph as it lies in the file; pictures are (number, height, width, channels) there."""

    def __init__(self, data: bytes) -> None:
        root = Table(data, int.from_bytes(data[:4], "little"))
        self._buffers = _tables(root, 4)
        self._codes = [max(_number(code, 0, "Int8"), _number(code, 3, "Int32")) for code in _tables(root, 1)]
        graph = _tables(root, 2)[0]
        self._tensors = _tables(graph, 0)
        self.inputs, self.outputs = _numbers(graph, 1), _numbers(graph, 2)
        self.operators = [self._operator(table) for table in _tables(graph, 3)]

    def shape(self, tensor: int) -> list[int]:
        return _numbers(self._tensors[tensor], 0)

    def constant(self, tensor: int) -> NDArray[np.float32] | None:
        """The tensor's values, None where they are computed; another type than float32 is refused."""
        buffer = self._buffers[_number(self._tensors[tensor], 2, "Uint32")]
        at = buffer.Offset(4)
        if not at:
            return None
        if _number(self._tensors[tensor], 1, "Int8"):
            raise UnknownOperator("a constant is not of 32-bit floats")
        start, length = buffer.Vector(at), buffer.VectorLen(at)
        values = np.frombuffer(buffer.Bytes, np.float32, length // 4, start)
        return values.reshape(self.shape(tensor))

    def _operator(self, table: Table) -> _Operator:
        at = table.Offset(12)
        options = Table(table.Bytes, table.Indirect(at + table.Pos)) if at else None
        code = self._codes[_number(table, 0, "Uint32")]
        return _Operator(code, _numbers(table, 1), _numbers(table, 2), options)


def convert(data: bytes) -> bytes:
    """Return the ONNX form of a .tflite file.

    Its input `input` is float32 of shape (n, 3, height, width), its output `embedding` (n, dimension).

    Raises:
        UnknownOperator: the model holds something else than what MobileFaceNet is made of.
    """
    model = _Model(data)
    graph = _Graph(model)
    for operator in model.operators:
        graph.add(operator)
    return graph.serialized()


class _Graph:
    """The ONNX graph while it grows; pictures are (number, channels, height, width) here."""

    def __init__(self, model: _Model) -> None:
        self._model = model
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def add(self, operator: _Operator) -> None:
        if operator.code in (_CONV, _DEPTHWISE):
            self._add_convolution(operator)
        elif operator.code == _RESHAPE:
            self._node("Flatten", [self._name(operator.inputs[0])], operator, axis=1)
        elif operator.code in _PLAIN:
            if operator.options is not None and _number(operator.options, 0, "Int8"):
                raise UnknownOperator("an activation stands inside another operator")
            self._node(_PLAIN[operator.code], [self._spread(tensor) for tensor in operator.inputs], operator)
        else:
            raise UnknownOperator(f"operator {operator.code}")

    def serialized(self) -> bytes:
        (source,), (result,) = self._model.inputs, self._model.outputs
        _, height, width, channels = self._model.shape(source)
        floats = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "tflite",
            [helper.make_tensor_value_info("input", floats, ["n", channels, height, width])],
            [helper.make_tensor_value_info("embedding", floats, ["n", self._model.shape(result)[-1]])],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))

    def _add_convolution(self, operator: _Operator) -> None:
        source, kernel, bias = operator.inputs
        depthwise = operator.code == _DEPTHWISE
        weights = self._model.constant(kernel)
        options = operator.options
        if weights is None or options is None:
            raise UnknownOperator("a convolution's kernel is computed")
        activation, dilations = (4, (5, 6)) if depthwise else (3, (4, 5))
        dilated = any(_number(options, dilation, "Int32", 1) != 1 for dilation in dilations)
        if dilated or _number(options, activation, "Int8"):
            raise UnknownOperator("a convolution has an activation or is dilated")
        # Kernels are (outputs, height, width, inputs) there, depthwise ones (1, height, width, channels).
        weights = weights.transpose(3, 0, 1, 2) if depthwise else weights.transpose(0, 3, 1, 2)
        strides = [_number(options, 2, "Int32"), _number(options, 1, "Int32")]
        same = _number(options, 0, "Int8") == 0
        self._node(
            "Conv",
            [self._name(source), self._keep(f"kernel{kernel}", weights), self._name(bias)],
            operator,
            kernel_shape=list(weights.shape[2:]),
            strides=strides,
            group=len(weights) if depthwise else 1,
            auto_pad="SAME_UPPER" if same else "VALID",
        )

    def _node(self, kind: str, inputs: list[str], operator: _Operator, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [self._name(operator.outputs[0])], **attributes))

    def _spread(self, tensor: int) -> str:
        """The tensor's name; a constant of one number a channel is laid along the channels."""
        values = self._model.constant(tensor)
        if values is None:
            return self._name(tensor)
        if values.ndim != 1:
            raise UnknownOperator("a constant is not of one number a channel")
        return self._keep(f"channels{tensor}", values[:, None, None])

    def _name(self, tensor: int) -> str:
        if tensor in self._model.inputs:
            return "input"
        if tensor in self._model.outputs:
            return "embedding"
        values = self._model.constant(tensor)
        return f"t{tensor}" if values is None else self._keep(f"t{tensor}", values)

    def _keep(self, name: str, values: NDArray[np.float32]) -> str:
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name


def _tables(table: Table, field: int) -> list[Table]:
    at = table.Offset(4 + 2 * field)
    if not at:
        return []
    start = table.Vector(at)
    return [Table(table.Bytes, table.Indirect(start + 4 * k)) for k in range(table.VectorLen(at))]


def _numbers(table: Table, field: int) -> list[int]:
    at = table.Offset(4 + 2 * field)
    if not at:
        return []
    start, length = table.Vector(at), table.VectorLen(at)
    return [int(number) for number in np.frombuffer(table.Bytes, np.int32, length, start)]


def _number(table: Table, field: int, kind: str, default: int = 0) -> int:
    return int(table.GetSlot(4 + 2 * field, default, getattr(number_types, f"{kind}Flags")))
