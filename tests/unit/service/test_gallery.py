from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from facesearch.errors import DatabaseUnavailable, ModelMismatch
from facesearch.service.gallery import Gallery
from tests.contracts.api import vector
from tests.fakes import FakeImageDatabase, FakeIndex
from tests.unit.service.parts import COLOURS, NEGATIVES, FakeKinds


class ClosingIndex(FakeIndex):
    closed: list[str]

    def of(self, collection: int, model_id: str, dimension: int) -> "ClosingIndex":
        other = ClosingIndex(model_id, dimension)
        other.closed = self.closed
        return other

    def close(self) -> None:
        self.closed.append(self._model_id)


@pytest.fixture
def database() -> FakeImageDatabase:
    return FakeImageDatabase()


@pytest.fixture
def index() -> ClosingIndex:
    index = ClosingIndex(COLOURS, 3)
    index.closed = []
    return index


@pytest.fixture
def gallery(database: FakeImageDatabase, index: ClosingIndex) -> Gallery:
    return Gallery(database, FakeKinds(), index)


def test_the_configured_encoder_counts_while_the_gallery_is_empty(
    gallery: Gallery, database: FakeImageDatabase
) -> None:
    assert gallery.encoder().model_id == COLOURS
    database.add_faces([vector(3)], NEGATIVES)
    assert gallery.encoder().model_id == NEGATIVES


def test_a_settled_model_is_not_asked_for_again(gallery: Gallery, database: FakeImageDatabase) -> None:
    database.add_faces([vector(3)], COLOURS)
    first = gallery.encoder()
    database.away = DatabaseUnavailable()
    assert gallery.encoder() is first


def test_a_database_that_is_away_settles_nothing(gallery: Gallery, database: FakeImageDatabase) -> None:
    database.away = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        gallery.encoder()
    database.away = None
    assert gallery.encoder().model_id == COLOURS


def test_a_model_that_no_encoder_makes_is_refused(gallery: Gallery, database: FakeImageDatabase) -> None:
    database.add_faces([vector(3)], "unknown")
    with pytest.raises(ModelMismatch):
        gallery.encoder()


def test_the_likely_encoder_is_the_configured_one_while_nobody_can_tell(
    gallery: Gallery, database: FakeImageDatabase
) -> None:
    database.add_faces([vector(3)], NEGATIVES)
    database.away = DatabaseUnavailable()
    for _ in range(2):
        assert gallery.likely_encoder().model_id == COLOURS
    database.away = None
    assert gallery.likely_encoder().model_id == NEGATIVES
    database.away = DatabaseUnavailable()
    assert gallery.likely_encoder().model_id == NEGATIVES


def test_the_likely_encoder_is_none_where_the_gallerys_model_cannot_be_made(
    gallery: Gallery, database: FakeImageDatabase
) -> None:
    database.add_faces([vector(3)], "unknown")
    with pytest.raises(ModelMismatch):
        gallery.likely_encoder()


def test_while_one_thread_asks_a_database_that_is_away_the_others_do_not_wait(index: ClosingIndex) -> None:
    asked, answer = Event(), Event()

    class Slow(FakeImageDatabase):
        is_hanging = False

        def gallery_model(self) -> str | None:
            if self.is_hanging:
                asked.set()
                assert answer.wait(30)
            raise DatabaseUnavailable

    database = Slow()
    gallery = Gallery(database, FakeKinds(), index)
    gallery.likely_encoder()
    database.is_hanging = True
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(gallery.likely_encoder)
        assert asked.wait(30)
        assert gallery.likely_encoder().model_id == COLOURS
        assert not waiting.done()
        answer.set()
        assert waiting.result(30).model_id == COLOURS


def test_each_model_has_one_index_and_all_are_closed(gallery: Gallery, index: ClosingIndex) -> None:
    assert gallery.index_of(FakeKinds(COLOURS)) is index
    other = gallery.index_of(FakeKinds(NEGATIVES))
    assert other is not index
    assert gallery.index_of(FakeKinds(NEGATIVES)) is other
    gallery.close()
    assert index.closed == [COLOURS, NEGATIVES]
