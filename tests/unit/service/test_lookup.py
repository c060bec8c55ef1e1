import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

import pytest

from facesearch.errors import DatabaseUnavailable, Unavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import ChosenTolerance, FaceQuery, SearchResult, StoredFace
from facesearch.service.filters import FaceFilters
from facesearch.service.lookup import Copy, Lookup, ModelSwitched, Question, Tolerance
from facesearch.service.outage import Outage
from tests.contracts.api import vector
from tests.fakes import FakeImageDatabase, FakeIndex

MODEL = "model"
PROBE = vector(3).face


class Clock:
    """Seconds as a test sets them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class SlowDatabase(FakeImageDatabase):
    """Once `is_hanging`, lets each call wait until `answer` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_hanging = False
        self.asked, self.answer = Event(), Event()

    def ping(self) -> None:
        if self.is_hanging:
            self.asked.set()
            assert self.answer.wait(30)
        super().ping()


@pytest.fixture
def index() -> FakeIndex:
    return FakeIndex(MODEL, 3)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lookup_of(clock: Callable[[], float] = time.monotonic, answers_stale: bool = True) -> Lookup:
    return Lookup(Outage(), FaceFilters(), answers_stale, clock)


def copy_of(database: ImageDatabase, index: FakeIndex) -> Copy:
    return Copy(1, MODEL, database, index)


def ask(lookup: Lookup, copy: Copy, tolerance: Tolerance = 0.0) -> SearchResult:
    return lookup.search(copy, Question([PROBE], 1, tolerance))


def names(result: SearchResult) -> list[str | None]:
    return [match.person_name for match in result.faces[0].matches]


def test_the_seconds_count_from_the_question_after_which_the_copy_was_last_level(
    index: FakeIndex, clock: Clock
) -> None:
    database = FakeImageDatabase()
    database.add_faces([vector(3, "Ana")], MODEL)
    lookup, copy = lookup_of(clock), copy_of(database, index)
    ask(lookup, copy)
    clock.now = 110.0
    assert ask(lookup, copy).stale_s is None
    database.away = DatabaseUnavailable()
    for clock.now, seconds in ((112.5, 2.5), (140.0, 30.0)):
        result = ask(lookup, copy)
        assert (result.stale_s, names(result)) == (seconds, [None])
    database.away = None
    assert names(ask(lookup, copy)) == ["Ana"]


def test_the_tolerance_fits_what_the_copy_holds_once_it_is_level(index: FakeIndex, clock: Clock) -> None:
    def by_size(faces: int) -> ChosenTolerance:
        return ChosenTolerance(faces / 10, 0.5, extrapolated=False)

    database = FakeImageDatabase()
    lookup, copy = lookup_of(clock), copy_of(database, index)
    for size in (1, 2):
        database.add_faces([vector(3)], MODEL)
        assert ask(lookup, copy, by_size).chosen == by_size(size)
    database.away = DatabaseUnavailable()
    assert ask(lookup, copy, by_size).chosen == by_size(2)
    assert ask(lookup, copy, 0.5).chosen is None


def test_the_tolerance_fits_the_faces_that_are_compared(index: FakeIndex) -> None:
    def by_size(faces: int) -> ChosenTolerance:
        return ChosenTolerance(faces / 10, 0.5, extrapolated=False)

    database = FakeImageDatabase()
    names = ("Ana", "Ana", "Bo", "", "")
    ids = database.add_faces([replace(vector(3, name), external_id=name) for name in names], MODEL)
    ana = database.get_faces(ids)[ids[0]].person_id or 0
    for question, compared in (
        (Question([PROBE], 1, by_size), 5),
        (Question([PROBE], 1, by_size, FaceQuery(people=frozenset([ana]))), 2),
        (Question([PROBE], 1, by_size, FaceQuery(people=frozenset([0, ana]))), 4),
        (Question([PROBE], 1, by_size, FaceQuery(external_id="Bo")), 1),
        (Question([PROBE], 1, by_size, without=ids[0]), 4),
        (Question([PROBE], 1, by_size, by_person=True), 3),
        (Question([PROBE] * 2, 1, by_size, FaceQuery(people=frozenset([ana])), pooled=True), 4),
    ):
        assert lookup_of().search(copy_of(database, index), question).chosen == by_size(compared)


def test_a_database_lost_between_the_search_and_the_names_makes_a_stale_answer(
    index: FakeIndex, clock: Clock
) -> None:
    class Nameless(FakeImageDatabase):
        def get_faces(self, ids: Sequence[int]) -> dict[int, StoredFace]:
            raise DatabaseUnavailable

    database = Nameless()
    [face_id] = database.add_faces([vector(3)], MODEL)
    copy = copy_of(database, index)
    result = ask(lookup_of(clock), copy)
    assert (result.stale_s, result.faces[0].matches[0].face_id, names(result)) == (0.0, face_id, [None])
    with pytest.raises(DatabaseUnavailable):
        ask(lookup_of(clock, answers_stale=False), copy)


def test_while_one_thread_waits_for_the_database_the_others_are_answered(index: FakeIndex) -> None:
    database = SlowDatabase()
    database.add_faces([vector(3)], MODEL)
    lookup, copy = lookup_of(), copy_of(database, index)
    ask(lookup, copy)
    database.away = DatabaseUnavailable()
    ask(lookup, copy)
    database.is_hanging = True
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(ask, lookup, copy)
        assert database.asked.wait(30)
        assert names(ask(lookup, copy)) == [None]
        assert not waiting.done()
        database.away, database.is_hanging = None, False
        database.answer.set()
        assert waiting.result(30).stale_s is None
    assert ask(lookup, copy).stale_s is None


def test_going_away_and_coming_back_are_logged_once_each(
    index: FakeIndex, caplog: pytest.LogCaptureFixture
) -> None:
    database = FakeImageDatabase()
    lookup, copy = lookup_of(), copy_of(database, index)
    with caplog.at_level(logging.INFO):
        ask(lookup, copy)
        database.away = DatabaseUnavailable("The server is gone.")
        for _ in range(3):
            ask(lookup, copy)
        database.away = None
        for _ in range(3):
            ask(lookup, copy)
    assert [(record.levelname, record.message.split(".")[0]) for record in caplog.records] == [
        ("WARNING", "The server is gone"),
        ("INFO", "The database answers again"),
    ]
    assert [record for record in caplog.records if record.exc_info] == []


def test_an_index_that_cannot_be_used_is_no_database_that_is_away(index: FakeIndex) -> None:
    class Broken(FakeIndex):
        is_broken = False

        def catch_up(self, database: ImageDatabase) -> None:
            if self.is_broken:
                raise Unavailable
            super().catch_up(database)

    broken = Broken(MODEL, 3)
    lookup, copy = lookup_of(), copy_of(FakeImageDatabase(), broken)
    ask(lookup, copy)
    broken.is_broken = True
    with pytest.raises(Unavailable):
        ask(lookup, copy)


def test_a_database_that_was_just_away_is_not_asked_again_where_the_copy_has_an_answer(
    index: FakeIndex, clock: Clock
) -> None:
    database = FakeImageDatabase()
    database.add_faces([vector(3, "Ana")], MODEL)
    lookup, copy = lookup_of(clock), copy_of(database, index)
    question = Question([PROBE], 1, 0.0)
    assert names(lookup.search(copy, question, is_live=False)) == ["Ana"]  # never level: it has to be asked
    assert names(lookup.search(copy, question, is_live=False)) == [None]


def test_a_collection_that_has_another_model_by_now_is_not_searched(index: FakeIndex) -> None:
    database = FakeImageDatabase()
    database.add_faces([vector(3)], "another")
    with pytest.raises(ModelSwitched):
        ask(lookup_of(), copy_of(database, index))
