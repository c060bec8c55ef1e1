"""Reads the two networks that dlib stored, without dlib, into plain numpy arrays.

An integer is a control byte (low four bits: how many bytes follow; high bit: the sign) and that many
little-endian bytes. A number with a fraction is two integers, mantissa and binary exponent. A string is
its length and its bytes. A tensor is its version, four integers (samples, channels, rows, columns) and
raw little-endian float32. A network is the loss, one version per layer, the input, and then every layer
from the input to the output. Any thread may call the functions; nothing is kept.
"""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from facesearch.errors import InvalidConfig

RESNET_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
DETECTOR_SHA256 = "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6"

_LAYERS_AT_MOST = 512
_VALUES_AT_MOST = 16 * 1024**2

# What stands between a layer's name and the three flags that end it: i an integer, f a fraction,
# a the shape of a part of a tensor, t a tensor.
_LAYOUTS = {
    "con_4": "tiiiiiiiaaffff",
    "bn_con2": "taattttiifffff",
    "affine_": "taai",
    "fc_2": "iitaaffffi",
    "relu_": "",
    "add_prev_": "",
    "max_pool_2": "iiiiii",
    "avg_pool_2": "iiiiii",
}


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: its kind as dlib spells it, its integers, and its tensors as float32 of four axes."""

    kind: str
    integers: tuple[int, ...]
    tensors: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network in the order of computation.

    Args:
        loss: the name of the loss layer.
        loss_options: its numbers, in stored order.
        means: what is subtracted from red, green and blue before the division by 256.
        layers: from the input to the output.
    """

    loss: str
    loss_options: tuple[float, ...]
    means: tuple[float, float, float]
    layers: tuple[Layer, ...]


def read_network(file: Path, sha256: str) -> Network:
    """Read a stored network whose bytes must be those that `sha256` (hexadecimal) stands for.

    Raises:
        InvalidConfig: the file is missing, differs from the expected one, or cannot be understood.
    """
    try:
        content = file.read_bytes()
    except OSError:
        raise InvalidConfig(f"The model file {file.name} cannot be read.") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise InvalidConfig(f"The model file {file.name} is not the one that this version knows.")
    return parse_network(content, file.name)


def parse_network(content: bytes, name: str) -> Network:
    """Parse a stored network; `name` is what errors call it.

    Raises:
        InvalidConfig: a version, a name, a count or the length is not as expected.
    """
    return _Stream(content, name).network()


class _Stream:
    """A position in the bytes of one file; lives for one call."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = memoryview(content)
        self._name = name
        self._at = 0

    def network(self) -> Network:
        self._expect_version(1, "the network")
        loss = self._string()
        if loss == "loss_mmod_":
            self._expect_version(1, "the detector's options")
            sizes = (float(self._integer()), float(self._integer()))
            options = (*sizes, *(self._fraction() for _ in range(7)))
        elif loss == "loss_metric_2":
            options = (self._fraction(), self._fraction())
        else:
            self._fail("an unknown loss")
        self._skip_versions()
        means = self._input()
        layers = [self._layer(first=True)]
        while self._at < len(self._content):
            if len(layers) == _LAYERS_AT_MOST:
                self._fail("too many layers")
            layers.append(self._layer(first=False))
        return Network(loss, options, means, tuple(layers))

    def _skip_versions(self) -> None:
        """Each layer wrote its version before its input did, so the outermost comes first, 3 ends them."""
        for _ in range(4 * _LAYERS_AT_MOST):
            version = self._integer()
            if version == 3:
                return
            if version not in (1, 2):
                break
        self._fail("an unknown layer version")

    def _input(self) -> tuple[float, float, float]:
        kind = self._string()
        if kind not in ("input_rgb_image_sized", "input_rgb_image_pyramid"):
            self._fail("an unknown input")
        means = (self._fraction(), self._fraction(), self._fraction())
        if kind == "input_rgb_image_sized" and (self._integer(), self._integer()) != (150, 150):
            self._fail("an unexpected input size")
        return means

    def _layer(self, *, first: bool) -> Layer:
        kind = self._string()
        layout = _LAYOUTS.get(kind)
        if layout is None:
            self._fail("an unknown layer")
        integers: list[int] = []
        tensors: list[NDArray[np.float32]] = []
        for part in layout:
            if part == "i":
                integers.append(self._integer())
            elif part == "f":
                self._fraction()
            elif part == "a":
                self._expect_version(1, "a part")
                self._shape()
            else:
                tensors.append(self._tensor())
        if any(flag not in b"01" for flag in self._take(3)):
            self._fail("a damaged flag")
        for _ in range(3):
            if self._tensor().size:
                self._fail("leftovers of training")
        if first and self._integer() != 1:
            self._fail("an unexpected sample factor")
        return Layer(kind, tuple(integers), tuple(tensors))

    def _tensor(self) -> NDArray[np.float32]:
        self._expect_version(2, "a tensor")
        shape = self._shape()
        raw = self._take(4 * math.prod(shape))
        values = np.frombuffer(raw, dtype="<f4").astype(np.float32).reshape(shape)
        if not np.isfinite(values).all():
            self._fail("a number that is not finite")
        return values

    def _shape(self) -> tuple[int, int, int, int]:
        shape = (self._integer(), self._integer(), self._integer(), self._integer())
        if min(shape) < 0 or math.prod(shape) > _VALUES_AT_MOST:
            self._fail("an impossible shape")
        return shape

    def _string(self) -> str:
        length = self._integer()
        if not 0 < length <= 64:
            self._fail("an impossible name")
        return bytes(self._take(length)).decode("latin-1")

    def _fraction(self) -> float:
        mantissa, exponent = self._integer(), self._integer()
        if abs(exponent) > 1100:
            self._fail("an impossible number")
        return math.ldexp(mantissa, exponent)

    def _integer(self) -> int:
        control = self._take(1)[0]
        size = control & 0x0F
        if size > 8 or control & 0x70:
            self._fail("a damaged integer")
        value = int.from_bytes(self._take(size), "little")
        return -value if control & 0x80 else value

    def _expect_version(self, version: int, what: str) -> None:
        if self._integer() != version:
            self._fail(f"an unknown version of {what}")

    def _take(self, size: int) -> memoryview:
        if size > len(self._content) - self._at:
            self._fail("an early end")
        taken = self._content[self._at : self._at + size]
        self._at += size
        return taken

    def _fail(self, what: str) -> NoReturn:
        raise InvalidConfig(f"The model file {self._name} holds {what} near byte {self._at}.")
