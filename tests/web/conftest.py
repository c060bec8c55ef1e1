from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO

import pytest
from starlette.testclient import TestClient

from facesearch.config import LimitSettings, Settings
from facesearch.errors import FacesearchError
from facesearch.interfaces import ANY_FACE, API, Imports
from facesearch.records import (
    AddedFace,
    AutoTolerance,
    Box,
    BulkReport,
    ChosenTolerance,
    Location,
    NamedMatch,
    NewFace,
    Once,
    PhotoInfo,
    ProbeFace,
    Quality,
    SearchResult,
    StoredFace,
    Wanted,
)
from facesearch.web import create_app
from tests.web.fake_imports import FakeImports

BOX = Box(top=10, right=109, bottom=109, left=10)
QUALITY = Quality(
    size_px=100,
    score=0.98765,
    sharpness=1234.56789,
    brightness=127.0,
    roll_deg=-1.23456,
    yaw_deg=0.0004,
    pitch_deg=5.0,
)


class FakeAPI(API):
    """Answers from a script, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.error: BaseException | None = None
        self.faces: list[ProbeFace] = [
            ProbeFace(BOX, (NamedMatch(7, "Aaron Eckhart", 0.12345678), NamedMatch(3, "Ana", 0.6)), QUALITY),
            ProbeFace(BOX, ()),
        ]
        self.stale_s: float | None = None
        self.chosen: ChosenTolerance | None = None
        self.taken_at: str | None = "2003-04-05T10:11:12"
        self.location: Location | None = Location(1.5, -2.5)
        self.size = (250, 240)
        self.box = BOX
        self.quality: Quality | None = QUALITY
        self.duplicate_of: int | None = None
        self.external_id: str | None = None
        self.metadata: dict[str, str] = {}
        self.is_open = False
        self.fake_imports = FakeImports()

    @property
    def imports(self) -> Imports:
        return self.fake_imports

    def _called(self, *call: object) -> None:
        assert self.is_open
        self.calls.append(call)
        if self.error:
            raise self.error

    def search_faces(
        self,
        photo: bytes,
        file_name: str,
        k: int,
        tolerance: float | AutoTolerance | None,
        wanted: Wanted = ANY_FACE,
    ) -> SearchResult:
        self._called("search", photo, file_name, k, tolerance, wanted)
        return SearchResult(tuple(self.faces), self.stale_s, self.chosen)

    def add_face(
        self, photo: bytes, file_name: str, wanted: Wanted = ANY_FACE, once: Once | None = None
    ) -> AddedFace:
        self._called("add", photo, file_name, wanted, *([] if once is None else [once]))
        return AddedFace(7, "Aaron Eckhart", BOX, 2, QUALITY, self.duplicate_of)

    def import_faces(self, faces: Iterable[NewFace], model_id: str) -> int:
        raise AssertionError("no route imports vectors")

    def add_faces_in_bulk(self, archive: BinaryIO) -> BulkReport:
        raise AssertionError("the route waits for a job")

    def get_face_info(self, face_id: int) -> StoredFace:
        self._called("info", face_id)
        photo = PhotoInfo("Aaron_Eckhart_0001.jpg", *self.size, self.taken_at, self.location)
        added_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        known = (self.external_id, self.metadata)
        return StoredFace(
            face_id, "Aaron Eckhart", "0001", photo, self.box, "model", 128, added_at, self.quality, *known
        )

    def open(self) -> None:
        self.is_open = True
        if isinstance(self.error, FacesearchError):
            raise self.error

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def api() -> FakeAPI:
    return FakeAPI()


@pytest.fixture
def settings() -> Settings:
    return Settings(limits=LimitSettings(photo_bytes=100_000, zip_bytes=300_000))


@pytest.fixture
def client(api: FakeAPI, settings: Settings) -> Iterator[TestClient]:
    app = create_app(lambda: settings, lambda _: api)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
    assert not api.is_open
