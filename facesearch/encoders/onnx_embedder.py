"""Feeds a recognition network as its card says, and refuses a card that is not the network's."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.encoders.cards import Input, ModelCard, Output
from facesearch.errors import InvalidConfig, Unavailable

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}

# Above this share of a vector's length, a face's vector is not its own: it depends on the faces beside it.
# Graphs whose numbers are quantised while they run do that; rounding stays far below.
_OWN = 1e-3


@dataclass(frozen=True)
class _Feed:
    """How a graph is run: its input's name and type, its output's name, and the pictures of each run.

    `rows` is how many pictures a run must have, None where it may have any; `used` how many of them are
    different faces.
    """

    input: str
    dtype: Any
    output: str
    rows: int | None
    used: int


class OnnxEmbedder:
    """Turns aligned faces into one network's vectors.

    Lives as long as its process; loads its network at the first call. Any thread may call it; all share one
    session. Not to be carried over a fork once loaded.

    Args:
        card: of a recognition network, with input and output. Mean and divisor are in the order in which the
            network gets its channels.
        open_session: makes the network's `onnxruntime.InferenceSession`.
        batch_size: how many faces go through the network together at most; bounds memory.
    """

    def __init__(self, card: ModelCard, open_session: Callable[[], Any], batch_size: int = 4) -> None:
        if card.input is None or card.output is None:
            raise InvalidConfig(f"The card {card.id} describes no recognition network.")
        self._id = card.id
        self._input: Input = card.input
        self._output: Output = card.output
        self._open_session = open_session
        self._batch_size = batch_size
        self._loaded: tuple[Any, _Feed] | None = None
        self._loading = threading.Lock()

    def load(self) -> None:
        """Load the network unless that has happened, and compare it with its card.

        Raises:
            InvalidConfig: the network is not as its card says, or ONNX Runtime refuses it.
        """
        self._session()

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the network gives, float32 of shape (n, dimension).

        Args:
            crops: RGB, uint8 of shape (n, height, width, 3) as the card says.

        Raises:
            InvalidConfig: as for `load`.
            Unavailable: the network gave something else than numbers.
        """
        session, feed = self._session()
        vectors = np.empty((len(crops), self._output.dimension), np.float32)
        for at in range(0, len(crops), feed.used):
            some = crops[at : at + feed.used]
            vectors[at : at + len(some)] = self._run(session, feed, some)
        if not np.isfinite(vectors).all():
            raise Unavailable(f"The network of {self._id} gave a vector that holds no numbers.")
        return vectors

    def _session(self) -> tuple[Any, _Feed]:
        with self._loading:
            if self._loaded is None:
                session = self._open_session()
                self._loaded = session, self._checked(session)
            return self._loaded

    def _run(self, session: Any, feed: _Feed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One run; a graph of fixed size gets the last face again until it is full."""
        missing = (feed.rows or len(crops)) - len(crops)
        full = np.concatenate([crops, np.repeat(crops[-1:], missing, axis=0)]) if missing else crops
        try:
            (given,) = session.run([feed.output], {feed.input: fed(full, self._input, feed.dtype)})
            vectors: NDArray[np.float32] = given.reshape(len(full), -1)[: len(crops)].astype(np.float32)
        except Exception as error:  # what ONNX Runtime raises has no other base
            raise Unavailable(f"The network of {self._id} cannot be run ({type(error).__name__}).") from None
        return vectors

    def _checked(self, session: Any) -> _Feed:
        """Compare the card with what the graph declares, and with what it then does."""
        taken = self._input_of(session)
        rows = taken.shape[0] if isinstance(taken.shape[0], int) else None
        output = self._output_of(session)
        feed = _Feed(taken.name, _TYPES[taken.type], output.name, rows, rows or self._batch_size)
        alone = replace(feed, used=1)
        first, second = (self._tried(session, alone, crop) for crop in self._known_crops())
        if np.array_equal(first, second):
            raise self._refused("its network gives the same vector for different pictures")
        return feed if self._batches(session, feed, first) else alone

    def _input_of(self, session: Any) -> Any:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise self._refused(f"its network takes {len(inputs)} inputs instead of one picture")
        (taken,) = inputs
        if taken.type not in _TYPES:
            raise self._refused(f"its network takes {taken.type}; pictures come as float, float16 or uint8")
        raw = self._input.mean == (0, 0, 0) and self._input.divisor == (1, 1, 1)
        if taken.type == "tensor(uint8)" and not raw:
            raise self._refused("its network takes pixels as they are; mean must be 0 and divisor 1")
        sides = [3, self._input.height, self._input.width]
        if self._input.layout == "nhwc":
            sides = [*sides[1:], 3]
        if len(taken.shape) != 4 or not _may_be(taken.shape[1:], sides):
            raise self._refused(f"its network takes {_shown(taken.shape)} instead of {_shown(['n', *sides])}")
        return taken

    def _output_of(self, session: Any) -> Any:
        outputs = [one for one in session.get_outputs() if one.type in ("tensor(float)", "tensor(float16)")]
        # Some networks give a vector's length, or their inner layers, beside the vector.
        fitting = [one for one in outputs if _numbers(one.shape) in (None, self._output.dimension)]
        if not fitting:
            shapes = ", ".join(_shown(one.shape) for one in session.get_outputs())
            raise self._refused(
                f"its network gives {shapes} instead of {self._output.dimension} numbers for a face"
            )
        return min(fitting, key=lambda one: _numbers(one.shape) is None)

    def _tried(self, session: Any, feed: _Feed, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            vectors = self._run(session, feed, crops)
        except Unavailable as error:
            raise InvalidConfig(error.message) from None
        if vectors.shape[1] != self._output.dimension:
            raise self._refused(
                f"its network gives {vectors.shape[1]} numbers instead of {self._output.dimension}"
            )
        if not np.isfinite(vectors).all() or not vectors.any():
            raise self._refused("its network gives no numbers, or zeros alone")
        return vectors

    def _batches(self, session: Any, feed: _Feed, first: NDArray[np.float32]) -> bool:
        """Say whether several faces may go through at once: each gets the vector that it gets alone."""
        if feed.used == 1:
            return True
        try:
            together = self._run(session, feed, np.concatenate(self._known_crops()))
        except Unavailable:  # declared for any number of pictures, and made for one
            return False
        return together.shape == (2, first.shape[1]) and bool(
            np.linalg.norm(together[0] - first[0]) <= _OWN * np.linalg.norm(first[0])
        )

    def _known_crops(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Two pictures of different range, each of shape (1, height, width, 3)."""
        shape = (1, self._input.height, self._input.width, 3)
        noise = (np.arange(prod(shape), dtype=np.int64) ** 2 // 97 % 256).astype(np.uint8).reshape(shape)
        return noise // 8, noise

    def _refused(self, reason: str) -> InvalidConfig:
        return InvalidConfig(f"The card of {self._id} is wrong: {reason}.")


def fed(crops: NDArray[np.uint8], taken: Input, dtype: Any) -> NDArray[Any]:
    """Return RGB crops, uint8 of shape (n, height, width, 3), as a network takes them."""
    channels: NDArray[Any] = crops if taken.channels == "rgb" else crops[..., ::-1]
    if dtype != np.uint8:
        mean, divisor = np.array([taken.mean, taken.divisor], np.float32)
        channels = (channels - mean) / divisor
    if taken.layout == "nchw":
        channels = channels.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels, dtype)


def _may_be(declared: Sequence[Any], expected: Sequence[int]) -> bool:
    """Say whether a declared shape allows for the expected one; names and None stand for any size."""
    return all(not isinstance(d, int) or d == e for d, e in zip(declared, expected, strict=True))


def _numbers(shape: Sequence[Any]) -> int | None:
    """How many numbers an output has for each picture, None where it does not say."""
    inner = shape[1:] if len(shape) > 1 else shape
    return prod(inner) if all(isinstance(side, int) for side in inner) else None


def _shown(shape: Sequence[Any]) -> str:
    return "(" + ", ".join(str(side) if isinstance(side, int) else "n" for side in shape) + ")"
