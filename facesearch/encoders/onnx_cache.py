"""Keeps built graphs in the data folder, so that a host builds each once and its processes share one copy.

A graph is three files: the model, its weights (mapped by every process), and a list of both checksums as
`sha256sum` writes it, which is written last. Their name holds the SHA-256 of the source file, the
builder's version, ONNX Runtime's version and the kind of processor, so that none is used in another's place.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from facesearch.encoders.heap import give_back_free_memory
from facesearch.encoders.onnx_session import (
    WEIGHTS_SUFFIX,
    onnxruntime_version,
    open_graph,
    open_prepared,
    prepare,
)
from facesearch.errors import InvalidConfig

BUILDER_VERSION = 1

_MODEL_SUFFIX = ".onnx"
_CHECKSUMS_SUFFIX = ".sha256"
_PROCESSORS = Path("/proc/cpuinfo")
_LOG = logging.getLogger(__name__)


def open_cached(
    directory: Path, name: str, source_sha256: str, build: Callable[[], bytes], threads: int
) -> Any:
    """Return an `onnxruntime.InferenceSession` of a cached graph, building it where it is missing.

    Any number of threads and processes may call it at once: one builds, the others wait and read. A
    damaged file is built anew. Where the folder cannot be written the graph is built for this process
    alone, and the log says so.

    Args:
        directory: the cache's folder, made where it is missing.
        name: what the graph is, for the names of its files.
        source_sha256: hexadecimal SHA-256 of the file that the graph is built from.
        build: makes the serialized graph.
        threads: how many threads one run spreads over.

    Raises:
        InvalidConfig: ONNX Runtime is missing or refuses the graph, or `build` says so.
    """
    model = directory / f"{name}-{_key(source_sha256)}{_MODEL_SUFFIX}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / f"{name}.lock"):
            if not _whole(model):
                _build(model, build)
            return open_prepared(model, threads)
    except OSError as error:
        _LOG.warning("The graph %s cannot be kept in the data folder: %s.", name, error.strerror)
        return open_graph(build(), threads)


def _key(source_sha256: str) -> str:
    parts = (source_sha256, str(BUILDER_VERSION), onnxruntime_version(), _processor())
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _processor() -> str:
    """What decides how ONNX Runtime lays weights out: the architecture and the instruction sets."""
    features = platform.processor()
    with contextlib.suppress(OSError):
        lines = _PROCESSORS.read_text(errors="replace").splitlines()
        features = next((line for line in lines if line.lower().startswith(("flags", "features"))), features)
    return f"{platform.machine()} {features}"


def _whole(model: Path) -> bool:
    """Say whether the model and its weights are those that the list of checksums was written for."""
    try:
        return model.with_suffix(_CHECKSUMS_SUFFIX).read_text() == _checksums(model)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _checksums(model: Path) -> str:
    lines = []
    for file in (model, model.with_suffix(WEIGHTS_SUFFIX)):
        with file.open("rb") as opened:
            lines.append(f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file.name}\n")
    return "".join(lines)


def _build(model: Path, build: Callable[[], bytes]) -> None:
    """Write in a folder beside, then rename: whoever has an older file mapped keeps it."""
    graph = build()
    folder = Path(tempfile.mkdtemp(prefix=f"{model.stem}.", dir=model.parent))
    try:
        fresh = folder / model.name
        try:
            prepare(graph, fresh)
        except InvalidConfig:
            # What ONNX Runtime says of a full disk is no more than that it failed.
            if shutil.disk_usage(folder).free < len(graph):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
        fresh.with_suffix(_CHECKSUMS_SUFFIX).write_text(_checksums(fresh))
        for suffix in (WEIGHTS_SUFFIX, _MODEL_SUFFIX, _CHECKSUMS_SUFFIX):
            os.replace(fresh.with_suffix(suffix), model.with_suffix(suffix))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    give_back_free_memory()


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold a lock among all threads and processes of the host; it ends with the process that holds it."""
    with file.open("ab") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
