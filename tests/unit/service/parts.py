"""What the service's unit tests compose it of: photos of colours, and parts that remember."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from facesearch.config import LimitSettings
from facesearch.errors import DatabaseUnavailable, ModelMismatch, WorkerDied
from facesearch.images import AGTImage
from facesearch.interfaces import ANY_FACE, Image
from facesearch.records import Calibration, Detection, NewFace, Outcome, RatePoint, Wanted
from facesearch.workers import InlinePool
from tests.fakes import FakeEncoder, FakeImageDatabase

COLOURS = FakeEncoder.model_id
NEGATIVES = "fake-negatives"
# As if ten thousand pairs of colours had been measured.
CALIBRATION = Calibration(
    rates=(RatePoint(0.01, 0.3, 10_000, 0.9), RatePoint(0.001, 0.2, 10_000, 0.8)),
    similarity=((0.0, 100.0), (0.2, 80.0), (0.3, 50.0), (1.0, 0.0)),
    genuine_pairs=100,
    impostor_pairs=10_000,
    people=100,
    photos=200,
    measured_on="Colours.",
)
RED, LIGHTER_RED, GREEN, BLACK = (200, 0, 0), (210, 0, 0), (0, 200, 0), (0, 0, 0)

Colour = tuple[int, int, int]

open_image = partial(AGTImage.open, limits=LimitSettings())


def photo(*runs: tuple[Colour, int]) -> bytes:
    """A PNG with a face per run of a colour: its colour and its width, from left to right."""
    row = np.array([colour for colour, width in runs for _ in range(width)], np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(np.repeat(row[None], 24, axis=0)).save(buffer, "png")
    return buffer.getvalue()


class FakeKinds(FakeEncoder):
    """Two vector spaces, colours and their negatives, with tolerances of their own; remembers its calls.

    The colours are calibrated.

    Args:
        wishes: shared with the encoders of the other space.
        batches: how many crops each call of `embed` got; shared as well.
    """

    def __init__(
        self,
        model_id: str = COLOURS,
        wishes: list[Wanted] | None = None,
        batches: list[int] | None = None,
    ) -> None:
        self.model_id = model_id
        self.tolerance = FakeEncoder.tolerance if model_id == COLOURS else 0.1
        self.calibration = CALIBRATION if model_id == COLOURS else None
        self.wishes: list[Wanted] = [] if wishes is None else wishes
        self.batches: list[int] = [] if batches is None else batches

    def for_model(self, model_id: str) -> "FakeKinds":
        if model_id not in (COLOURS, NEGATIVES):
            raise ModelMismatch
        return FakeKinds(model_id, self.wishes, self.batches)

    def detect(self, image: Image, wanted: Wanted = ANY_FACE) -> list[Detection]:
        self.wishes.append(wanted)
        return super().detect(image, wanted)

    def embed(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(crops))
        colours = super().embed(crops)
        return colours if self.model_id == COLOURS else 1 - colours


class LosingPool(InlinePool):
    """Loses each task of which `loses` says so, as if its process had died; remembers the items."""

    def __init__(self, loses: Callable[[Any], bool] = lambda _: False) -> None:
        super().__init__()
        self.items: list[Any] = []
        self._loses = loses

    def map(self, task: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Outcome[Any]]:
        for item in items:
            self.items.append(item)
            yield Outcome(error=WorkerDied()) if self._loses(item) else next(super().map(task, [item]))


class FailingDatabase(FakeImageDatabase):
    """Takes `calls` transactions and is away for the next one; remembers how many faces each had."""

    def __init__(self, calls: int | None = None) -> None:
        super().__init__()
        self.transactions: list[int] = []
        self._calls = itertools.count() if calls is None else iter(range(calls))

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        if next(self._calls, None) is None:
            raise DatabaseUnavailable
        self.transactions.append(len(faces))
        return super().add_faces(faces, model_id)
