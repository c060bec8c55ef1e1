"""What the service's unit tests compose it of: photos of colours, and parts that remember."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from sqlalchemy import Connection

from facesearch.config import AccessSettings, IntakeSettings, LimitSettings, QualitySettings
from facesearch.databases import SQLiteImageDatabase, open_collection_store, open_job_store, open_key_store
from facesearch.errors import DatabaseUnavailable, ModelMismatch, WorkerDied
from facesearch.images import AGTImage
from facesearch.interfaces import ANY_FACE, FaceIndex, Image, ImageDatabase, ImageEncoder, WorkerPool
from facesearch.records import Calibration, Detection, NewFace, Outcome, RatePoint, Wanted
from facesearch.service import AGTAPI, EncodePhotos, KeyAccess
from facesearch.service.encoders import Encoders
from facesearch.service.galleries import Galleries
from facesearch.service.outage import Outage
from facesearch.workers import InlinePool
from tests.contracts.api import Models, Photos
from tests.fakes import FakeEncoder, FakeIndex

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


PHOTOS = Photos(
    person=photo((BLACK, 5), (RED, 20)),
    person_again=photo((BLACK, 9), (LIGHTER_RED, 25)),
    other=photo((GREEN, 30)),
    both=photo((LIGHTER_RED, 20), (BLACK, 4), (GREEN, 30)),
    nobody=photo((BLACK, 20)),
)


class OfColours:
    """What a contract of the service asks about, where photos are of colours."""

    @pytest.fixture
    def photos(self) -> Photos:
        return PHOTOS

    @pytest.fixture
    def models(self) -> Models:
        return Models(COLOURS, NEGATIVES, 3)


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


class SwitchedDatabase(SQLiteImageDatabase):
    """A real database that can be away.

    Remembers how many faces were added at a time, and takes `additions` of them. `fails` is called before
    each transaction is committed, and may raise; `loses` likewise, after it. Its views of other collections
    obey the same switches.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self._whole = self
        self.away: Exception | None = None
        self.fails: Callable[[], None] = lambda: None
        self.loses: Callable[[], None] = lambda: None
        self.added: list[int] = []
        self.additions: int | None = None

    def add_faces(self, faces: Sequence[NewFace], model_id: str) -> list[int]:
        if len(self.added) == self._whole.additions:
            raise DatabaseUnavailable
        ids = super().add_faces(faces, model_id)
        self.added.append(len(faces))
        return ids

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        self._be_there()
        with super()._reading() as connection:
            yield connection

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        self._be_there()
        with super()._begun() as connection:
            yield connection
            self._whole.fails()
        self._whole.loses()

    def _be_there(self) -> None:
        if self._whole.away is not None:
            raise self._whole.away


def galleries_of(database: SwitchedDatabase, encoder: FakeEncoder) -> Galleries:
    """The collections of a database."""
    index = FakeIndex(encoder.model_id, encoder.dimension)
    return Galleries(database, open_collection_store(database), Encoders(encoder), index, Outage())


@dataclass
class Parts:
    """What an API is made of; `make` makes it.

    Args:
        index: one of the encoder's vectors that keeps no file, where there is none.
        encode_photos: with `open_image` and the encoder by default.
    """

    database: ImageDatabase
    encoder: ImageEncoder = field(default_factory=FakeKinds)
    pool: WorkerPool = field(default_factory=LosingPool)
    quality: QualitySettings = field(default_factory=QualitySettings)
    intake: IntakeSettings = field(default_factory=IntakeSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    answers_stale: bool = True
    open_image: Callable[[bytes, str], Image] = open_image
    index: FaceIndex | None = None
    encode_photos: EncodePhotos | None = None

    def make(self, imports_folder: Path) -> AGTAPI:
        return AGTAPI(
            self.database,
            self.encoder,
            self.index or FakeIndex(self.encoder.model_id, self.encoder.dimension),
            self.pool,
            collections=open_collection_store(self.database),
            jobs=open_job_store(self.database),
            keys=open_key_store(self.database),
            access=KeyAccess(
                open_key_store(self.database), imports_folder.parent / "access", AccessSettings()
            ),
            imports_folder=imports_folder,
            open_image=self.open_image,
            encode_photos=self.encode_photos or EncodePhotos(self.open_image, lambda: self.encoder),
            limits=self.limits,
            quality=self.quality,
            intake=self.intake,
            answers_stale=self.answers_stale,
        )
