from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, TypeVar

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from facesearch.config import LimitSettings, Settings
from facesearch.errors import FacesearchError
from facesearch.interfaces import ANY_FACE, API, Access, Collections, Health, Imports
from facesearch.records import (
    DEFAULT_COLLECTION,
    AddedFace,
    Box,
    BulkReport,
    Calibration,
    ChosenTolerance,
    Comparison,
    ExpectedAlarms,
    FacePair,
    FoundFace,
    FoundFaces,
    Location,
    MeasuredRate,
    Metadata,
    ModelInfo,
    ModelOrigin,
    NamedMatch,
    NewFace,
    Once,
    PhotoFile,
    PhotoInfo,
    ProbeFace,
    Quality,
    RatePoint,
    SearchResult,
    StoredFace,
    Wanted,
    WantedTolerance,
)
from facesearch.web import create_app
from tests.web.fake_access import FakeAccess
from tests.web.fake_gallery import FakeCollections
from tests.web.fake_health import FakeHealth
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

LANDMARKS = ((30.04, 40.06), (70.0, 40.0), (50.0, 60.0), (35.0, 80.0), (65.0, 80.0))
CALIBRATION = Calibration(
    rates=(RatePoint(0.01, 0.6, 10_000, 0.97), RatePoint(0.001, 0.5, 10_000, 0.9)),
    similarity=((0.0, 100.0), (0.5, 80.0), (0.6, 50.0), (0.8, 0.0)),
    genuine_pairs=400,
    impostor_pairs=10_000,
    people=20,
    photos=150,
    measured_on="150 photos.",
)
MODEL = ModelInfo(
    id="network-mirror",
    dimension=128,
    tolerance=0.6,
    origin=ModelOrigin("A network", "mirror", "CC0 1.0", True, "https://a.example", None, "README.md", None),
    calibration=CALIBRATION,
    rates=tuple(MeasuredRate(point, (0.0081234567, 0.012), (0.94, 0.98)) for point in CALIBRATION.rates),
    in_use=True,
    configured=True,
    expected=ExpectedAlarms(7, 0.6, 0.01, 0.06793465, extrapolated=False),
    by_size=(ExpectedAlarms(100, 0.6, 0.01, 0.6339677, extrapolated=False),),
)


R = TypeVar("R")


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
        self.tolerance: float | None = 0.6
        self.found = FoundFaces(250, 240, (FoundFace(BOX, QUALITY, LANDMARKS), FoundFace(BOX, QUALITY)))
        self.pairs: tuple[FacePair, ...] = (
            FacePair(1, 0, 0.43210987, 92.34567, True),
            FacePair(0, 0, 0.9, None, False),
        )
        self.known_models: tuple[ModelInfo, ...] = (MODEL,)
        self.taken_at: str | None = "2003-04-05T10:11:12"
        self.location: Location | None = Location(1.5, -2.5)
        self.size = (250, 240)
        self.box = BOX
        self.quality: Quality | None = QUALITY
        self.duplicate_of: int | None = None
        self.external_id: str | None = None
        self.metadata: Metadata = {}
        self.is_open = False
        self.fake_collections = FakeCollections(self.calls, self._fail, self._found)
        self.fake_imports = FakeImports()
        self.fake_imports.check_collection = self.fake_collections.get
        self.fake_health = FakeHealth()
        self.fake_access = FakeAccess()

    @property
    def imports(self) -> Imports:
        return self.fake_imports

    @property
    def collections(self) -> Collections:
        return self.fake_collections

    @property
    def health(self) -> Health:
        return self.fake_health

    @property
    def access(self) -> Access:
        return self.fake_access

    def _called(self, *call: object) -> None:
        assert self.is_open
        self.calls.append(call)
        self._fail()

    def _fail(self) -> None:
        if self.error:
            raise self.error

    def _found(self) -> SearchResult:
        return SearchResult(tuple(self.faces), self.stale_s, self.chosen, "model", self.tolerance)

    def search_faces(
        self,
        photo: bytes,
        file_name: str,
        k: int,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> SearchResult:
        self._called("search", photo, file_name, k, tolerance, wanted, *_other(collection))
        return self._found()

    def detect(self, photo: PhotoFile, wanted: Wanted = ANY_FACE) -> FoundFaces:
        self._called("detect", photo, wanted)
        return self.found

    def compare(
        self,
        source: PhotoFile,
        target: PhotoFile,
        tolerance: WantedTolerance,
        wanted: Wanted = ANY_FACE,
        collection: str = DEFAULT_COLLECTION,
    ) -> Comparison:
        self._called("compare", source, target, tolerance, wanted, *_other(collection))
        self.fake_collections.get(collection)
        return Comparison("model", 0.6, self.found, FoundFaces(10, 20, ()), self.pairs)

    def models(self) -> tuple[ModelInfo, ...]:
        self._called("models")
        return self.known_models

    def model(self, model_id: str) -> ModelInfo:
        self._called("model", model_id)
        return self.known_models[0]

    def add_face(
        self,
        photo: bytes,
        file_name: str,
        wanted: Wanted = ANY_FACE,
        once: Once | None = None,
        collection: str = DEFAULT_COLLECTION,
    ) -> AddedFace:
        self._called("add", photo, file_name, wanted, *([] if once is None else [once]), *_other(collection))
        return AddedFace(7, "Aaron Eckhart", BOX, 2, QUALITY, self.duplicate_of)

    def import_faces(
        self, faces: Iterable[NewFace], model_id: str, collection: str = DEFAULT_COLLECTION
    ) -> int:
        raise AssertionError("no route imports vectors")

    def add_faces_in_bulk(self, archive: BinaryIO, collection: str = DEFAULT_COLLECTION) -> BulkReport:
        raise AssertionError("the route waits for a job")

    def get_face_info(self, face_id: int, collection: str = DEFAULT_COLLECTION) -> StoredFace:
        self._called("info", face_id, *_other(collection))
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


def _other(collection: str) -> tuple[str, ...]:
    return () if collection == DEFAULT_COLLECTION else (collection,)


def local_client(app: ASGIApp) -> TestClient:
    """A program on the service's own computer."""
    return TestClient(
        app,
        base_url="http://127.0.0.1:8000",
        client=("127.0.0.1", 50_000),
        raise_server_exceptions=False,
    )


@pytest.fixture
def api() -> FakeAPI:
    return FakeAPI()


@pytest.fixture
def settings() -> Settings:
    return Settings(limits=LimitSettings(photo_bytes=100_000, zip_bytes=300_000))


class Served:
    """An application for test after test, with the settings and the API of the one that runs.

    FastAPI takes a tenth of a second for the first request of each application.
    """

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.api: API | None = None
        self.app = create_app(lambda: found(self.settings), lambda _: found(self.api))


def found(value: R | None) -> R:
    assert value is not None
    return value


@pytest.fixture(scope="session")
def served() -> Served:
    return Served()


@pytest.fixture
def client(served: Served, api: FakeAPI, settings: Settings) -> Iterator[TestClient]:
    served.api, served.settings = api, settings
    with local_client(served.app) as client:
        yield client
    assert not api.is_open
