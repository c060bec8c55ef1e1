"""Looks into an ONNX file before anything runs it: is it one, and is all of it in this one file?

An ONNX file may name other files of the host that hold its weights; ONNX Runtime would open them. A model
file comes from elsewhere, so such a file is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facesearch.errors import Invalid

MOST_BYTES = 1 << 31
"""Protocol buffers end at 2 GiB, and with them what one ONNX file can hold."""


def check_onnx_file(file: Path) -> None:
    """Read the graph of an ONNX file without running it.

    Raises:
        Invalid: it is no ONNX file, is empty or too large, or parts of it lie in other files.
    """
    # Here, not above: 60 ms that only whoever adds a model needs.
    import onnx  # noqa: PLC0415

    if not 0 < file.stat().st_size < MOST_BYTES:
        raise Invalid("The file is empty, or too large for an ONNX file (2 GiB).")
    try:
        model = onnx.load(str(file), format="protobuf", load_external_data=False)
    except Exception:  # the parser raises errors of its own, of several kinds
        raise Invalid("The file is not an ONNX file.") from None
    if not model.graph.node or not model.graph.output:
        raise Invalid("The file is not an ONNX file, or its graph is empty.")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(model)):
        raise Invalid(
            "Parts of this model lie in other files, which is refused: "
            "save it again as one file, with its weights inside."
        )


def _tensors(model: Any) -> Iterator[Any]:
    """Every tensor of a model: of its graph, of graphs inside its nodes, and of its functions."""
    yield from _tensors_of_graph(model.graph)
    for function in model.functions:
        yield from _tensors_of_nodes(function.node)
        yield from _tensors_of_attributes(function.attribute_proto)
    for training in model.training_info:
        yield from _tensors_of_graph(training.initialization)
        yield from _tensors_of_graph(training.algorithm)


def _tensors_of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        yield from _tensors_of_attributes(node.attribute)


def _tensors_of_attributes(attributes: Any) -> Iterator[Any]:
    for attribute in attributes:
        yield attribute.t
        yield from attribute.tensors
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors_of_graph(graph)
