from concurrent.futures import ThreadPoolExecutor

import pytest

from facesearch.config import IntakeSettings
from facesearch.errors import DatabaseUnavailable, KeyReused, NoFaceFound
from facesearch.records import Once
from tests.unit.service.conftest import NewDatabase, Opened
from tests.unit.service.parts import PHOTOS

ONCE = Once("a key", "this photo")


def test_a_repeated_enrolment_stores_nothing_and_gets_the_first_answer(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    first = opened(database=database).add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    again = opened(database=database).add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    assert again == first
    assert first.quality is not None
    assert database.newest_change() == 1


def test_of_many_at_the_same_time_one_counts(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    apis = [opened(database=database) for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        added = list(
            threads.map(lambda n: apis[n % 2].add_face(PHOTOS.person, "Ada_0001.png", once=ONCE), range(16))
        )
    assert set(added) == {added[0]}
    assert database.newest_change() == 1


def test_a_key_that_was_used_for_something_else_is_refused(opened: Opened) -> None:
    api = opened()
    api.add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    with pytest.raises(KeyReused):
        api.add_face(PHOTOS.other, "Bo_0001.png", once=Once(ONCE.key, "that photo"))


def test_an_error_is_not_remembered(opened: Opened, new_database: NewDatabase) -> None:
    database = new_database()
    api = opened(database=database)
    with pytest.raises(NoFaceFound):
        api.add_face(PHOTOS.nobody, "Ada_0001.png", once=ONCE)

    def fail() -> None:
        if database.added:
            raise DatabaseUnavailable

    database.fails = fail
    with pytest.raises(DatabaseUnavailable):
        api.add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    database.fails = lambda: None
    assert database.newest_change() == 0
    assert api.add_face(PHOTOS.person, "Ada_0001.png", once=ONCE).id


def test_an_enrolment_whose_answer_was_lost_is_not_repeated(
    opened: Opened, new_database: NewDatabase
) -> None:
    database = new_database()
    api = opened(database=database)

    def lose() -> None:
        if database.added:
            raise DatabaseUnavailable

    database.loses = lose
    with pytest.raises(DatabaseUnavailable):
        api.add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    database.loses = lambda: None
    api.add_face(PHOTOS.person, "Ada_0001.png", once=ONCE)
    assert database.newest_change() == 1


@pytest.mark.parametrize("skips", [False, True])
def test_a_photo_that_is_stored_already_is_told(
    opened: Opened, new_database: NewDatabase, skips: bool
) -> None:
    database = new_database()
    api = opened(database=database, intake=IntakeSettings(old_routes_skip_duplicates=skips))
    first = api.add_face(PHOTOS.both, "Ada_0001.png")
    again = api.add_face(PHOTOS.both, "Other_0001.png")
    assert (first.duplicate_of, again.duplicate_of) == (None, first.id)
    if skips:
        assert (again.id, again.person_name, again.box) == (first.id, "Ada", first.box)
    assert database.newest_change() == (1 if skips else 2)
