"""Opens ONNX Runtime sessions the way this service wants them: small, silent, on the caller's cores.

ONNX Runtime is imported at the first use and never while modules are imported: loaded before the C
extension of MySQL's driver it takes the thread-local storage that the latter needs.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facesearch.errors import InvalidConfig

WEIGHTS_SUFFIX = ".weights"

_FATAL = 4  # what this library reports below that is raised as well, or of no use to an operator
_IMPORTING = threading.Lock()

# What ONNX Runtime calls each place of `encoder.execution`, and the package whose ONNX Runtime has it.
_CPU = "CPUExecutionProvider"
_PROVIDERS = {
    "cpu": (_CPU, "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "onnxruntime for macOS"),
}


def onnxruntime_version() -> str:
    """Return the version of the ONNX Runtime that is installed.

    Raises:
        InvalidConfig: there is none.
    """
    return str(_onnxruntime().__version__)


def load_onnxruntime() -> None:
    """Load ONNX Runtime now, for whoever loads a library that it has to come before.

    Raises:
        InvalidConfig: there is none.
    """
    _onnxruntime()


def open_graph(graph: bytes, threads: int) -> Any:
    """Return an `onnxruntime.InferenceSession` of a serialized ONNX model; any thread may run it.

    Args:
        graph: a serialized ONNX model.
        threads: how many threads one run spreads over; with 1 it stays on the calling thread.

    Raises:
        InvalidConfig: ONNX Runtime is missing or refuses the graph.
    """
    return _open(graph, _options(threads))


def open_file(file: Path | bytes, threads: int, execution: str = "cpu") -> Any:
    """Return a session of an ONNX file; any thread may run it.

    Args:
        file: the model, or one that is serialized already.
        threads: as for `open_graph`.
        execution: `cpu`, `cuda`, `openvino` or `coreml`: where the graph runs. What the place cannot compute
            runs on the CPU.

    Raises:
        InvalidConfig: ONNX Runtime is missing, refuses the model, or cannot run it there; the message
            says which package can.
    """
    provider, package = _PROVIDERS[execution]
    if provider not in _onnxruntime().get_available_providers():
        raise InvalidConfig(
            f"The installed ONNX Runtime cannot execute on {execution}: install {package} in its place, "
            "or set the encoder's execution to cpu."
        )
    graph = file if isinstance(file, bytes) else str(file)
    session = _open(graph, _options(threads), [provider, *([_CPU] if provider != _CPU else [])])
    # Where a driver is missing, ONNX Runtime takes the CPU without a word.
    if session.get_providers()[0] != provider:
        raise InvalidConfig(
            f"ONNX Runtime cannot execute on {execution} here: its driver or libraries are missing. Install "
            "them, or set the encoder's execution to cpu."
        )
    return session


def open_prepared(file: Path, threads: int) -> Any:
    """Return a session of what `prepare` wrote; its weights are mapped, and shared between processes.

    Raises:
        InvalidConfig: ONNX Runtime is missing or refuses the file.
    """
    options = _options(threads)
    options.graph_optimization_level = _onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(str(file), options)


def prepare(graph: bytes, file: Path) -> None:
    """Write a graph as this processor runs it best: `file`, and its weights beside it.

    The result holds for this version of ONNX Runtime and this kind of processor alone.

    Raises:
        InvalidConfig: ONNX Runtime is missing, refuses the graph or cannot write.
    """
    options = _options(threads=1)
    weights = file.with_suffix(WEIGHTS_SUFFIX).name
    options.optimized_model_filepath = str(file)
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    _open(graph, options)


def _onnxruntime() -> Any:
    try:
        with _IMPORTING:
            import onnxruntime  # noqa: PLC0415

            onnxruntime.set_default_logger_severity(_FATAL)
    except ImportError:
        raise InvalidConfig("ONNX Runtime cannot be loaded; set the encoder's engine to dlib.") from None
    return onnxruntime


def _options(threads: int) -> Any:
    options = _onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Arena and pattern would keep the memory of the largest run for good.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(graph: bytes | str, options: Any, providers: Sequence[str] = (_CPU,)) -> Any:
    runtime = _onnxruntime()
    try:
        return runtime.InferenceSession(graph, options, providers=list(providers))
    except Exception as error:
        raise InvalidConfig(f"ONNX Runtime refuses a graph ({type(error).__name__}).") from None
