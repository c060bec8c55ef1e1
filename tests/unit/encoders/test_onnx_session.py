import sys
from pathlib import Path
from typing import Any

import pytest

from facesearch.encoders import onnx_session
from facesearch.encoders.onnx_session import open_file
from facesearch.errors import InvalidConfig
from tests.unit.encoders.networks import Network


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Network().write(tmp_path / "network.onnx")


def providers_of(monkeypatch: pytest.MonkeyPatch, available: list[str]) -> None:
    """Have the installed ONNX Runtime say that it has these."""
    monkeypatch.setattr(onnx_session._onnxruntime(), "get_available_providers", lambda: available)


@pytest.mark.parametrize(
    ("execution", "package"),
    [("cuda", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino"), ("coreml", "onnxruntime for macOS")],
)
def test_a_missing_provider_is_named_with_its_package(
    file: Path, monkeypatch: pytest.MonkeyPatch, execution: str, package: str
) -> None:
    providers_of(monkeypatch, ["CPUExecutionProvider"])
    with pytest.raises(InvalidConfig, match=f"cannot execute on {execution}: install {package}"):
        open_file(file, 1, execution)


def test_a_provider_whose_driver_is_missing_is_not_replaced_in_silence(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers_of(monkeypatch, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    runtime = onnx_session._onnxruntime()
    session = runtime.InferenceSession

    def without_driver(graph: Any, options: Any, providers: list[str]) -> Any:
        return session(graph, options, providers=providers[1:])

    monkeypatch.setattr(runtime, "InferenceSession", without_driver)
    with pytest.raises(InvalidConfig, match="driver or libraries"):
        open_file(file, 1, "cuda")


def test_the_wanted_provider_comes_first_and_the_cpu_takes_the_rest(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    providers_of(monkeypatch, ["OpenVINOExecutionProvider", "CPUExecutionProvider"])
    asked = []

    class Session:
        def __init__(self, graph: Any, options: Any, providers: list[str]) -> None:
            asked.append((options.intra_op_num_threads, providers))

        def get_providers(self) -> list[str]:
            return asked[-1][1]

    monkeypatch.setattr(onnx_session._onnxruntime(), "InferenceSession", Session)
    open_file(file, 3, "openvino")
    assert asked == [(3, ["OpenVINOExecutionProvider", "CPUExecutionProvider"])]


def test_a_file_and_its_bytes_open_alike(file: Path) -> None:
    for model in (file, file.read_bytes()):
        assert open_file(model, 1).get_inputs()[0].name == "pictures"


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.onnx"
    file.write_bytes(content)
    with pytest.raises(InvalidConfig, match="refuses"):
        open_file(file, 1)


def test_a_missing_runtime_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InvalidConfig, match="cannot be loaded"):
        open_file(file, 1)
