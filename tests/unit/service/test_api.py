import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facesearch.config import QualitySettings
from facesearch.errors import (
    DatabaseUnavailable,
    ForeignTable,
    InvalidParameter,
    ModelMismatch,
    NotAnImage,
    Unavailable,
)
from facesearch.interfaces import API, ImageDatabase
from facesearch.records import AutoTolerance, Wanted
from tests.contracts.api import APIContract, Make, vector, zipped
from tests.contracts.api_photos import APIPhotosContract
from tests.unit.service.conftest import NewDatabase, Opened
from tests.unit.service.parts import (
    COLOURS,
    NEGATIVES,
    PHOTOS,
    FakeKinds,
    OfColours,
    Parts,
    SwitchedDatabase,
    photo,
)


class TestAGTAPIOfFakes(OfColours, APIContract, APIPhotosContract):
    @pytest.fixture
    def database(self, new_database: NewDatabase) -> ImageDatabase:
        return new_database()

    @pytest.fixture
    def new_api(self, database: SwitchedDatabase, tmp_path: Path) -> Make:
        def new(model_id: str, quality: QualitySettings) -> API:
            return Parts(database, FakeKinds(model_id), quality=quality).make(tmp_path / "imports")

        return new


def test_what_a_request_wants_reaches_the_encoder(opened: Opened) -> None:
    encoder = FakeKinds()
    api = opened(encoder=encoder)
    wanted = Wanted(detector="cnn", upsample=2, min_face_px=10, max_faces=4)
    api.search_faces(PHOTOS.person, "a.png", 1, None, wanted)
    api.add_face(PHOTOS.person, "a.png", wanted)
    api.add_faces_in_bulk(zipped({"a.png": PHOTOS.person}))
    largest = Wanted(only_largest=True, detector="cnn", upsample=2, min_face_px=10, max_faces=4)
    assert encoder.wishes == [wanted, largest, Wanted(only_largest=True)]


@pytest.mark.parametrize(("model_id", "found"), [(COLOURS, [1]), (NEGATIVES, [])])
@pytest.mark.parametrize("configured", [COLOURS, NEGATIVES])
def test_the_tolerance_that_counts_is_that_of_the_gallerys_model(
    opened: Opened, new_database: NewDatabase, model_id: str, found: list[int], configured: str
) -> None:
    database = new_database()
    opened(database=database, encoder=FakeKinds(model_id)).add_face(photo(((100, 0, 0), 9)), "a.png")
    api = opened(database=database, encoder=FakeKinds(configured))
    between = photo(((100 + 50, 0, 0), 9))  # 0.196 away, between the two tolerances
    beyond = photo(((100 + 70, 0, 0), 9))  # 0.275 away
    (face,) = api.search_faces(between, "a.png", 1, None).faces
    assert [match.face_id for match in face.matches] == found
    assert api.search_faces(beyond, "a.png", 1, None).faces[0].matches == ()


def test_a_model_without_a_calibration_has_no_tolerance_that_fits_the_gallery(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    opened(database=database, encoder=FakeKinds(NEGATIVES)).add_face(PHOTOS.person, "a.png")
    api = opened(database=database, encoder=FakeKinds(COLOURS))
    for sent in (PHOTOS.person, PHOTOS.nobody):
        with pytest.raises(InvalidParameter, match=f"{NEGATIVES} has none.*facesearch models calibrate"):
            api.search_faces(sent, "a.png", 1, AutoTolerance())
    assert api.search_faces(PHOTOS.person, "a.png", 1, None).chosen is None


def test_a_start_without_the_database_goes_on_and_recovers(
    opened: Opened, new_database: NewDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    database = new_database()
    database.away = DatabaseUnavailable("The database does not answer.")
    with caplog.at_level(logging.WARNING):
        api = opened(database=database)
    assert "The database does not answer." in caplog.text
    assert [record for record in caplog.records if record.exc_info] == []
    calls: list[Callable[[], object]] = [
        lambda: api.search_faces(PHOTOS.person, "a.png", 1, None),
        lambda: api.add_face(PHOTOS.person, "a.png"),
        lambda: api.add_faces_in_bulk(zipped({"a.png": PHOTOS.person})),
        lambda: api.import_faces([vector(3)], COLOURS),
        lambda: api.get_face_info(1),
    ]
    for call in calls:
        with pytest.raises(DatabaseUnavailable):
            call()
    with pytest.raises(NotAnImage):
        api.add_face(b"notes", "a.png")
    database.away = None
    added = api.add_face(PHOTOS.person, "Ada_0001.png")
    (face,) = api.search_faces(PHOTOS.person, "a.png", 1, 0.0).faces
    assert [match.face_id for match in face.matches] == [added.id]


def test_where_no_stale_answers_are_wanted_there_are_none(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    api = opened(database=database, answers_stale=False)
    api.add_face(PHOTOS.person, "Ada_0001.png")
    live = api.search_faces(PHOTOS.person, "a.png", 1, None)
    database.away = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        api.search_faces(PHOTOS.person, "a.png", 1, None)
    database.away = None
    assert api.search_faces(PHOTOS.person, "a.png", 1, None) == live


def test_a_start_on_another_programs_table_fails(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    database.away = ForeignTable()
    with pytest.raises(ForeignTable):
        opened(database=database)


def test_a_gallery_whose_model_no_encoder_makes_is_refused(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    database.add_faces([vector(3)], "somebody else's")
    api = opened(database=database)
    for call in (
        lambda: api.search_faces(PHOTOS.person, "a.png", 1, None),
        lambda: api.add_face(PHOTOS.person, "a.png"),
        lambda: api.add_faces_in_bulk(zipped({"a.png": PHOTOS.person})),
    ):
        with pytest.raises(ModelMismatch):
            call()
    assert database.newest_change() == 1


def test_a_match_that_is_gone_by_the_answer_is_left_out(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    stored = database.get_faces

    def without_the_first(ids: Any) -> Any:
        return {i: face for i, face in stored(ids).items() if i != 1}

    api = opened(database=database)
    ids = [api.add_face(PHOTOS.person, "a.png").id for _ in range(2)]
    database.get_faces = without_the_first  # type: ignore[method-assign]
    (face,) = api.search_faces(PHOTOS.person, "a.png", 5, None).faces
    assert [match.face_id for match in face.matches] == ids[1:]


def test_many_imported_faces_are_stored_in_several_transactions(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    assert opened(database=database).import_faces((vector(3) for _ in range(4_100)), COLOURS) == 4_100
    assert database.added == [2_000, 2_000, 100]


def test_an_import_that_loses_the_database_says_how_many_were_stored(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    database.additions = 1
    with pytest.raises(DatabaseUnavailable, match="2000 faces had been stored before"):
        opened(database=database).import_faces((vector(3) for _ in range(4_100)), COLOURS)
    assert database.newest_change() == 2_000


def test_closing_ends_the_pool_before_the_database_though_a_part_fails(
    new_database: NewDatabase, tmp_path: Path
) -> None:
    closed = []

    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)
            raise Unavailable(self.name)

    parts = Parts(new_database())
    api = parts.make(tmp_path / "imports")
    with pytest.MonkeyPatch.context() as patch:
        for part, name in ((parts.pool, "pool"), (parts.database, "database")):
            patch.setattr(part, "close", Part(name).close)
        with pytest.raises(Unavailable):
            api.close()
    assert closed == ["pool", "database"]
