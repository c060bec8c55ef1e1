import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from facesearch.encoders import onnx_cache
from facesearch.encoders.onnx_cache import open_cached
from facesearch.errors import InvalidConfig

SOURCE = "0" * 64
PROCESSES = 8


def graph_times(factor: float) -> bytes:
    """A small graph with enough weights to be stored apart: y = x @ (factor * identity)."""
    weights = numpy_helper.from_array(np.eye(64, dtype=np.float32) * np.float32(factor), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "times",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


class Builder:
    """Counts how often it is asked."""

    def __init__(self, factor: float = 3.0) -> None:
        self.calls = 0
        self._factor = factor

    def __call__(self) -> bytes:
        self.calls += 1
        return graph_times(self._factor)


def result(directory: Path, build: Callable[[], bytes], source: str = SOURCE) -> float:
    session = open_cached(directory, "times", source, build, threads=1)
    return float(session.run(None, {"x": np.ones((1, 64), np.float32)})[0][0, 0])


def files(directory: Path) -> set[str]:
    return {file.suffix for file in directory.iterdir()}


def test_a_graph_is_built_once_and_then_read(tmp_path: Path) -> None:
    builder = Builder()
    assert result(tmp_path / "new" / "folder", builder) == 3.0
    assert result(tmp_path / "new" / "folder", builder) == 3.0
    assert builder.calls == 1
    assert files(tmp_path / "new" / "folder") == {".onnx", ".weights", ".sha256", ".lock"}


def test_another_source_never_gets_the_cached_graph(tmp_path: Path) -> None:
    result(tmp_path, Builder(3.0))
    assert result(tmp_path, Builder(5.0), source="1" * 64) == 5.0


def test_another_builder_runtime_or_processor_never_gets_the_cached_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder()
    result(tmp_path, builder)
    for name, value in [
        ("BUILDER_VERSION", 999),
        ("onnxruntime_version", lambda: "0.0"),
        ("_processor", lambda: "another one"),
    ]:
        with monkeypatch.context() as patched:
            patched.setattr(onnx_cache, name, value)
            result(tmp_path, builder)
    assert builder.calls == 4


@pytest.mark.parametrize("suffix", [".onnx", ".weights", ".sha256"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "gone"])
def test_a_damaged_file_is_built_anew(tmp_path: Path, suffix: str, damage: str) -> None:
    builder = Builder()
    result(tmp_path, builder)
    (file,) = tmp_path.glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(bytes({"flipped": content, "cut": content[:-1], "emptied": bytearray()}[damage]))
    assert result(tmp_path, builder) == 3.0
    assert builder.calls == 2
    assert result(tmp_path, builder) == 3.0
    assert builder.calls == 2


def test_a_folder_that_cannot_be_written_costs_only_the_cache(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert result(blocked, Builder()) == 3.0
    assert "cannot be kept" in caplog.text
    assert str(tmp_path) not in caplog.text


def test_a_full_disk_costs_only_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_graph: bytes, _file: Path) -> None:
        raise InvalidConfig("ONNX Runtime refuses a graph (Fail).")

    monkeypatch.setattr(onnx_cache, "prepare", fails)
    with pytest.raises(InvalidConfig):  # there is room: it is the graph's fault
        result(tmp_path, Builder())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    assert result(tmp_path, Builder()) == 3.0
    assert "No space left" in caplog.text
    assert files(tmp_path) == {".lock"}


def test_a_builder_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise InvalidConfig("The model file is not the one.")

    with pytest.raises(InvalidConfig, match="not the one"):
        open_cached(tmp_path, "times", SOURCE, fail, threads=1)
    assert files(tmp_path) == {".lock"}


def test_a_graph_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="refuses a graph"):
        open_cached(tmp_path, "times", SOURCE, lambda: b"no graph", threads=1)
    assert files(tmp_path) == {".lock"}


def build_and_report(directory: Path, start: "multiprocessing.synchronize.Barrier", built: Path) -> None:
    def build() -> bytes:
        (built / str(os.getpid())).touch()
        return graph_times(3.0)

    start.wait(300)
    assert result(directory, build) == 3.0


def test_eight_processes_at_once_build_one_graph(tmp_path: Path) -> None:
    built = tmp_path / "built"
    built.mkdir()
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES)
    arguments = (tmp_path / "cache", start, built)
    processes = [context.Process(target=build_and_report, args=arguments) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(list(built.iterdir())) == 1


def test_importing_the_encoders_loads_neither_onnx_nor_dlib() -> None:
    program = (
        "import sys, facesearch.encoders.resnet_embedder, facesearch.encoders.mmod_detector"
        ", facesearch.encoders.agt\n"
        "assert not {'onnx', 'onnxruntime', 'dlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
