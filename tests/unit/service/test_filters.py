from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from facesearch.errors import DatabaseUnavailable
from facesearch.interfaces import ImageDatabase
from facesearch.records import EVERY_FACE, Condition, FaceEdit, FaceFilter, FaceQuery, Metadata, NewFace
from facesearch.service.filters import FaceFilters, updated
from tests.contracts.api import vector
from tests.unit.service.conftest import NewDatabase
from tests.unit.service.parts import COLOURS, SwitchedDatabase


class CountingDatabase(SwitchedDatabase):
    """Counts how often all faces of a query were asked for, and how often those that changed."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.whole = self.news = 0

    def face_ids(self, query: FaceQuery, changed_after: int = 0) -> NDArray[np.int64]:
        if changed_after:
            self.news += 1
        else:
            self.whole += 1
        return super().face_ids(query, changed_after)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[CountingDatabase]:
    database = CountingDatabase(tmp_path / "counting.db")
    database.prepare()
    yield database
    database.close()


def site(value: str | float | bool) -> FaceQuery:
    return FaceQuery(conditions=(Condition("site", "in", (value,)),))


def added(database: ImageDatabase, *metadata: Metadata) -> list[int]:
    faces = [vector(3) for _ in metadata]
    new = [
        NewFace(face.person_name, "", face.photo, face.face, metadata=one)
        for face, one in zip(faces, metadata, strict=True)
    ]
    return database.add_faces(new, COLOURS)


def ids(filter: FaceFilter | None) -> list[int]:
    assert filter is not None
    assert filter.face_ids is not None
    assert not filter.face_ids.flags.writeable
    return [int(face_id) for face_id in filter.face_ids]


def test_every_face_needs_no_filter(database: CountingDatabase) -> None:
    assert FaceFilters().of(1, database, EVERY_FACE) is None


def test_a_query_of_people_alone_is_left_to_the_index(database: CountingDatabase) -> None:
    filters, query = FaceFilters(), FaceQuery(people=frozenset([0, 7]))
    found = filters.of(1, database, query)
    assert found is not None
    assert (found.face_ids, found.persons) == (None, query.people)
    assert filters.of(1, database, FaceQuery(people=frozenset([7, 0]))) is found
    assert (database.whole, database.news) == (0, 0)


def test_a_query_that_is_repeated_has_the_same_filter_while_its_faces_are_the_same(
    database: CountingDatabase,
) -> None:
    filters = FaceFilters()
    first, _, third = added(database, {"site": "a"}, {"site": "b"}, {"site": "a"})
    found = filters.of(1, database, site("a"))
    assert ids(found) == [first, third]
    assert filters.of(1, database, site("a")) is found
    added(database, {"site": "b"})
    assert filters.of(1, database, site("a")) is found
    assert (database.whole, database.news) == (1, 1)


def test_what_has_changed_is_taken_over_without_asking_for_all(database: CountingDatabase) -> None:
    filters = FaceFilters()
    first, second, third = added(database, {"site": "a"}, {"site": "b"}, {"site": "a"})
    filters.of(1, database, site("a"))
    database.edit_face(first, FaceEdit(frozenset(["metadata"]), metadata={"site": "b"}))
    database.edit_face(second, FaceEdit(frozenset(["metadata"]), metadata={"site": "a"}))
    database.delete_faces([third])
    (fourth,) = added(database, {"site": "a"})
    assert ids(filters.of(1, database, site("a"))) == [second, fourth]
    assert (database.whole, database.news) == (1, 1)


def test_a_database_that_is_older_than_the_filter_is_asked_for_all(
    database: CountingDatabase, new_database: NewDatabase
) -> None:
    filters = FaceFilters()
    added(database, {"site": "a"}, {"site": "a"})
    filters.of(1, database, site("a"))
    restored = new_database()
    (only,) = added(restored, {"site": "a"})
    assert ids(filters.of(1, restored, site("a"))) == [only]


@pytest.mark.parametrize(("value", "others"), [(1, (True, "1")), (True, (1, 1.0)), ("1", (1, True))])
def test_values_that_are_equal_and_of_several_types_are_not_taken_for_each_other(
    database: CountingDatabase, value: str | float | bool, others: Sequence[str | float | bool]
) -> None:
    filters = FaceFilters()
    added(database, {"site": 1}, {"site": True}, {"site": "1"})
    first = filters.of(1, database, site(value))
    assert all(filters.of(1, database, site(other)) is not first for other in others)


def test_filters_are_those_of_one_collection(database: CountingDatabase) -> None:
    filters = FaceFilters()
    added(database, {"site": "a"})
    first, other = filters.of(1, database, site("a")), filters.of(2, database, site("a"))
    assert first is not other
    assert filters.of(2, database, site("a")) is other
    assert filters.of(1, database, site("a")) is first


def test_those_that_were_asked_longest_ago_are_given_up(database: CountingDatabase) -> None:
    filters = FaceFilters(most_filters=2)
    added(database, {"site": "a"}, {"site": "b"})
    first, second = (filters.of(1, database, site(value)) for value in "ab")
    assert filters.of(1, database, site("a")) is first
    filters.of(1, database, site("c"))
    assert filters.of(1, database, site("a")) is first
    assert filters.of(1, database, site("b")) is not second


def test_filters_hold_a_bounded_number_of_ids(database: CountingDatabase) -> None:
    filters = FaceFilters(most_ids=3)
    added(database, *[{"site": "a"}] * 2, *[{"site": "b"}] * 2, *[{"site": "c"}] * 9)
    first = filters.of(1, database, site("a"))
    assert filters.of(1, database, site("a")) is first
    filters.of(1, database, site("b"))
    assert filters.of(1, database, site("a")) is not first
    assert ids(filters.of(1, database, site("c"))) == list(range(5, 14))  # used, though it is not kept


def test_a_filter_is_not_made_while_the_database_is_away(database: CountingDatabase) -> None:
    filters = FaceFilters()
    database.away = DatabaseUnavailable()
    with pytest.raises(DatabaseUnavailable):
        filters.of(1, database, site("a"))
    database.away = None
    assert ids(filters.of(1, database, site("a"))) == []


SETS = st.sets(st.integers(1, 30))


@given(SETS, SETS, SETS)
def test_ids_are_updated_as_sets_are(before: set[int], changed: set[int], wanted: set[int]) -> None:
    def sorted_ids(of: set[int]) -> NDArray[np.int64]:
        return np.array(sorted(of), np.int64)

    found = updated(sorted_ids(before), sorted_ids(changed), sorted_ids(wanted))
    assert found.tolist() == sorted((before - changed) | wanted)
