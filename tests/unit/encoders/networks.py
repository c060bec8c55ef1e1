"""Small recognition networks of drawn weights, and their cards."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from facesearch.encoders.cards import ModelCard

DIMENSION = 12
SIDE = 32


def card(**changes: Any) -> ModelCard:
    """The card of `Network()`; `changes` replace its fields, those of input and output one by one."""
    fields: dict[str, Any] = {
        "id": "drawn",
        "name": "Drawn weights",
        "task": "recognition",
        "family": "arcface",
        "licence": {"name": "MIT", "commercial_use": True},
        "source": {"document": "tests"},
        "input": {"width": SIDE, "height": SIDE} | changes.pop("input", {}),
        "template": [[10, 14], [22, 14], [16, 19], [12, 24], [20, 24]],
        "output": {"dimension": DIMENSION} | changes.pop("output", {}),
    }
    return ModelCard.model_validate(fields | changes)


@dataclass(frozen=True)
class Network:
    """What the graph declares and does.

    Args:
        shape: of its input.
        type: of its input: FLOAT, FLOAT16 or UINT8.
        declared: the output's shape.
        neighbours: the faces of a run change each other's vectors.
        for_one: it says that it takes any number, and takes one.
        length: a second output, before the vector.
        zeros: it gives zeros.
        inputs: how many inputs it has; the second is added to the vectors.
    """

    shape: Sequence[int | str] = ("n", 3, SIDE, SIDE)
    type: str = "FLOAT"
    declared: Sequence[int | str] = ("n", DIMENSION)
    neighbours: bool = False
    for_one: bool = False
    length: bool = False
    zeros: bool = False
    inputs: int = 1

    def write(self, file: Path) -> Path:
        # Not at import: onnx has to be loaded after the database's driver.
        import onnx  # noqa: PLC0415
        from onnx import helper  # noqa: PLC0415

        kind = getattr(onnx.TensorProto, self.type)
        made = helper.make_node
        last = self.shape[-1]
        steps = [made("Cast", ["pictures"], ["floats"], to=onnx.TensorProto.FLOAT)]
        steps.append(
            made("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2] if last == 3 else [0, 1, 2, 3])
        )
        steps.append(made("Conv", ["planes", "kernels"], ["maps"], strides=[8, 8]))
        steps.append(made("Tanh", ["maps"], ["bounded"]))
        steps.append(
            made("Reshape", ["bounded", "rows"], ["flat"])
            if self.for_one
            else made("Flatten", ["bounded"], ["flat"])
        )
        steps.append(made("MatMul", ["flat", "weights"], ["raw"]))
        if self.neighbours:
            steps += [made("ReduceMax", ["raw"], ["most"], keepdims=0), made("Div", ["raw", "most"], ["own"])]
        else:
            steps.append(made("Identity", ["raw"], ["own"]))
        steps.append(
            made("Mul" if self.inputs == 1 else "Add", ["own", "one" if self.inputs == 1 else "more"], ["v"])
        )
        steps.append(made("ReduceL2", ["v"], ["length"], axes=[1], keepdims=1))
        outputs = [helper.make_tensor_value_info("v", onnx.TensorProto.FLOAT, self.declared)]
        if self.length:
            outputs.insert(0, helper.make_tensor_value_info("length", onnx.TensorProto.FLOAT, ["n", 1]))
        inputs = [helper.make_tensor_value_info("pictures", kind, self.shape)]
        if self.inputs > 1:
            inputs.append(helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))
        graph = helper.make_graph(steps, "drawn", inputs, outputs, self._weights())
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        file.write_bytes(model.SerializeToString())
        return file

    def _weights(self) -> list[Any]:
        from onnx import numpy_helper  # noqa: PLC0415

        random = np.random.default_rng(5)
        sides = [side if isinstance(side, int) else SIDE for side in self.shape if side not in ("n", 3)][-2:]
        flat = 8 * prod(side // 8 for side in sides)
        numbers: dict[str, Any] = {
            "kernels": random.normal(size=(8, 3, 8, 8)).astype(np.float32) / 8,
            "weights": random.normal(size=(flat, DIMENSION)).astype(np.float32),
            "one": np.array([0.0 if self.zeros else 1.0], np.float32),
            "rows": np.array([1, flat], np.int64),
        }
        return [numpy_helper.from_array(value, name) for name, value in numbers.items()]
