from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders import onnx_file
from facesearch.encoders.onnx_file import check_onnx_file
from facesearch.errors import Invalid
from tests.unit.encoders.onnx_files import Change, point_elsewhere, write_model


def test_a_file_that_holds_all_its_weights_is_accepted(tmp_path: Path) -> None:
    check_onnx_file(write_model(tmp_path / "model.onnx"))


def _in_the_weights(model: Any) -> None:
    point_elsewhere(model.graph.initializer[0])


def _in_an_attribute(model: Any) -> None:
    attribute = model.graph.node[0].attribute.add()
    attribute.name = "value"
    point_elsewhere(attribute.t)


def _in_one_attribute_of_several(model: Any) -> None:
    attribute = model.graph.node[0].attribute.add()
    attribute.name = "values"
    attribute.tensors.add()
    point_elsewhere(attribute.tensors.add())


def _in_a_graph_of_a_graph(model: Any) -> None:
    attribute = model.graph.node[0].attribute.add()
    attribute.name = "then_branch"
    inner = attribute.g.node.add().attribute.add()
    point_elsewhere(inner.graphs.add().initializer.add())


def _in_sparse_weights(model: Any) -> None:
    point_elsewhere(model.graph.sparse_initializer.add().values)


def _in_a_sparse_attribute(model: Any) -> None:
    point_elsewhere(model.graph.node[0].attribute.add().sparse_tensor.indices)


def _in_a_function(model: Any) -> None:
    point_elsewhere(model.functions.add().node.add().attribute.add().t)


def _in_a_functions_default(model: Any) -> None:
    point_elsewhere(model.functions.add().attribute_proto.add().t)


def _in_what_training_needs(model: Any) -> None:
    point_elsewhere(model.training_info.add().initialization.initializer.add())


@pytest.mark.parametrize(
    "change",
    [
        _in_the_weights,
        _in_an_attribute,
        _in_one_attribute_of_several,
        _in_a_graph_of_a_graph,
        _in_sparse_weights,
        _in_a_sparse_attribute,
        _in_a_function,
        _in_a_functions_default,
        _in_what_training_needs,
    ],
)
def test_parts_in_other_files_are_refused(tmp_path: Path, change: Change) -> None:
    with pytest.raises(Invalid, match="other files"):
        check_onnx_file(write_model(tmp_path / "model.onnx", change))


@pytest.mark.parametrize("data", [b"", b"not ONNX", b"\x80\x04\x95pickle", b"version https://git-lfs\n" * 3])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(Invalid):
        check_onnx_file(tmp_path / "model.onnx")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 100)
    with pytest.raises(Invalid, match="too large"):
        check_onnx_file(write_model(tmp_path / "model.onnx"))
