import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from facesearch.databases import open_collection_store
from facesearch.errors import DatabaseUnavailable, Unavailable
from facesearch.interfaces import API
from facesearch.records import Figures, Readiness
from facesearch.service.encoders import Encoders
from facesearch.service.galleries import Galleries
from facesearch.service.health import PartsHealth
from facesearch.service.outage import Outage
from tests.contracts.health import HealthContract
from tests.fakes import FakeIndex
from tests.unit.service.conftest import NewDatabase, Opened
from tests.unit.service.parts import COLOURS, PHOTOS, FakeKinds, LosingPool, OfColours, SwitchedDatabase
from tests.waiting import until

LIMIT_S = 20.0
SHORT_S = 2.0  # which the parts that answer keep to on a busy machine too


class TestPartsHealth(OfColours, HealthContract):
    @pytest.fixture
    def api(self, opened: Opened) -> API:
        return opened()


def error_of(readiness: Readiness, name: str) -> tuple[str | None, str | None]:
    (part,) = [part for part in readiness.parts if part.name == name]
    return part.error_code, part.error


def test_a_database_that_is_away_makes_the_service_stale_once_the_copy_was_level(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    api = opened(database=database)
    api.add_face(PHOTOS.person, "Ada_0001.png")
    database.away = DatabaseUnavailable("The database does not answer.")
    assert api.health.ready().state == "failed"  # a search would be refused
    database.away = None
    api.search_faces(PHOTOS.person, "a.png", 1, None)
    database.away = DatabaseUnavailable("The database does not answer.")
    readiness = api.health.ready()
    assert readiness.state == "stale"
    assert error_of(readiness, "database") == ("database_unavailable", "The database does not answer.")
    assert error_of(readiness, "index") == (None, None)
    assert api.health.figures() == Figures(faces=1)
    database.away = None
    assert api.health.ready().state == "ok"


def test_a_database_that_is_away_is_a_failure_where_no_stale_answers_are_wanted(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    api = opened(database=database, answers_stale=False)
    api.add_face(PHOTOS.person, "Ada_0001.png")
    api.search_faces(PHOTOS.person, "a.png", 1, None)
    database.away = DatabaseUnavailable()
    assert api.health.ready().state == "failed"


def test_a_pool_that_cannot_work_is_a_failure_beside_a_database_that_is_away(
    opened: Opened, new_database: NewDatabase
) -> None:
    database, pool = new_database(), LosingPool()
    api = opened(database=database, pool=pool)
    api.add_face(PHOTOS.person, "Ada_0001.png")
    api.search_faces(PHOTOS.person, "a.png", 1, None)
    pool.close()
    database.away = DatabaseUnavailable()
    readiness = api.health.ready()
    assert readiness.state == "failed"
    assert error_of(readiness, "pool") == ("unavailable", "The service is shutting down.")


def test_an_error_that_nobody_foresaw_is_told_by_its_kind_alone(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    api = opened(database=database)
    database.away = ZeroDivisionError("secret")
    readiness = api.health.ready()
    assert readiness.state == "failed"
    assert error_of(readiness, "database") == ("internal", "It failed unforeseen: ZeroDivisionError.")


class SilentDatabase(SwitchedDatabase):
    """Does not answer before it is let go; counts who asks."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.asked = 0
        self.let_go = threading.Event()

    def ping(self) -> None:
        self.asked += 1
        assert self.let_go.wait(LIMIT_S)

    def newest_change(self) -> int:
        self.ping()
        return 7


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[SilentDatabase]:
    database = SilentDatabase(tmp_path / "silent.db")
    yield database
    database.let_go.set()
    database.close()


def health_of(database: SwitchedDatabase, limit_s: float, answers_stale: bool = False) -> PartsHealth:
    encoder = FakeKinds(COLOURS)
    index = FakeIndex(encoder.model_id, encoder.dimension)
    galleries = Galleries(database, open_collection_store(database), Encoders(encoder), index, Outage())
    return PartsHealth(
        database, encoder, galleries, LosingPool(), lambda: (3, 1), lambda: answers_stale, limit_s
    )


def test_a_part_that_does_not_answer_is_not_waited_for_and_costs_one_thread(silent: SilentDatabase) -> None:
    silent.prepare()
    health = health_of(silent, limit_s=SHORT_S)
    before = threading.active_count()
    for _ in range(3):
        readiness = health.ready()
        assert readiness.state == "failed"
        assert error_of(readiness, "database") == ("timed_out", "It has not answered within 2 seconds.")
        assert error_of(readiness, "encoder") == (None, None)
    assert silent.asked == 1
    until(lambda: threading.active_count() <= before + 1)  # the others end once they have answered
    silent.let_go.set()
    assert health_of(silent, LIMIT_S).ready().state == "ok"


def test_who_asks_later_does_not_wait_again_for_a_part_that_does_not_answer(silent: SilentDatabase) -> None:
    silent.prepare()
    health = health_of(silent, limit_s=SHORT_S)
    health.ready()
    probe = threading.Thread(target=lambda: [health.ready() for _ in range(100)], daemon=True)
    probe.start()
    probe.join(LIMIT_S)  # each by itself would take two seconds
    assert not probe.is_alive()
    assert silent.asked == 1


def test_a_silent_database_is_one_that_is_away(silent: SilentDatabase) -> None:
    silent.prepare()
    assert health_of(silent, SHORT_S, answers_stale=True).ready().state == "stale"


def test_figures_are_what_can_be_told_in_time(silent: SilentDatabase) -> None:
    silent.prepare()
    assert health_of(silent, SHORT_S).figures() == Figures(faces=0, jobs_queued=3, jobs_running=1)
    silent.let_go.set()
    assert health_of(silent, LIMIT_S).figures() == Figures(0, 7, 3, 1)


def test_a_part_is_asked_again_once_it_has_answered(opened: Opened) -> None:
    asked: list[None] = []

    class Counted(FakeKinds):
        def ping(self) -> None:
            asked.append(None)
            if len(asked) == 2:
                raise Unavailable("Its models are gone.")

    api = opened(encoder=Counted(COLOURS))  # asks once
    assert error_of(api.health.ready(), "encoder") == ("unavailable", "Its models are gone.")
    assert api.health.ready().state == "ok"
