"""Several processes on one database, on each engine."""

from contextlib import ExitStack

import pytest

from facesearch.config import Settings
from facesearch.databases import SQLImageDatabase
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.mariadb import MariaDB
from tests.real.databases.processes import (
    add,
    add_and_remove,
    add_and_stay,
    add_first,
    child,
    driver_beside_encoder,
    heard,
    opened,
    prepare,
)


def test_four_processes_prepare_together_once(database_settings: Settings) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(child(prepare, database_settings))[1] for _ in range(4)]
        assert [heard(connection) for connection in children] == ["ready"] * 4
        for connection in children:
            connection.send("go")
        ids = {heard(connection) for connection in children}
    database = opened(database_settings)
    assert ids == {database.database_id()}
    assert len(database.select("FACESEARCH_STATE")) == 1
    assert len(database.select("FACESEARCH_VERSION")) == 1
    database.close()


def test_processes_that_race_for_the_first_face_agree_on_one_model(database_settings: Settings) -> None:
    models = ["model-a", "model-b", "model-c", "model-d"]
    with ExitStack() as stack:
        children = [stack.enter_context(child(add_first, database_settings, m))[1] for m in models]
        assert [heard(connection) for connection in children] == ["ready"] * 4
        for connection in children:
            connection.send("go")
        taken = [model for model, connection in zip(models, children, strict=True) if heard(connection)]
    database = opened(database_settings)
    assert taken == [database.gallery_model()]
    assert [change.number for change in all_changes(database, 0, taken[0])] == [1, 2]
    assert database.newest_change() == 2
    database.close()


def test_a_reader_that_sees_a_change_has_seen_all_below(database_settings: Settings) -> None:
    database = opened(database_settings)
    database.prepare()
    acknowledged: list[int] = []
    with ExitStack() as stack:
        children = [stack.enter_context(child(add, database_settings, 30, f"p{n}"))[1] for n in range(4)]
        assert [heard(connection) for connection in children] == ["ready"] * 4
        for connection in children:
            connection.send("go")
        seen, running = 0, list(children)
        while running:
            numbers = [change.number for change in all_changes(database, seen)]
            assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
            seen += len(numbers)
            for connection in [c for c in running if c.poll()]:
                if (said := heard(connection)) == "done":
                    running.remove(connection)
                else:
                    acknowledged += said
    changes = all_changes(database)
    database.close()
    assert [change.number for change in changes] == list(range(1, 4 * 60 + 1))
    assert sorted(change.face_id for change in changes) == sorted(acknowledged)


def test_a_reader_that_follows_additions_and_removals_ends_with_the_gallery(
    database_settings: Settings,
) -> None:
    database = opened(database_settings)
    database.prepare()
    known: set[int] = set()
    told: dict[str, set[int]] = {"added": set(), "removed": set()}
    with ExitStack() as stack:
        children = [
            stack.enter_context(child(add_and_remove, database_settings, 15, f"p{n % 2}"))[1]
            for n in range(4)
        ]
        assert [heard(connection) for connection in children] == ["ready"] * 4
        for connection in children:
            connection.send("go")
        seen, running = 0, list(children)
        while running:
            for connection in [c for c in running if c.poll()]:
                what, ids = heard(connection)
                if what == "done":
                    running.remove(connection)
                else:
                    told[what].update(ids)
            acknowledged = told["added"] - told["removed"], set(told["removed"])
            seen = follow(database, seen, known)
            assert acknowledged[0] - removed_since(database, acknowledged[0]) <= known
            assert not acknowledged[1] & known
    assert seen == database.newest_change() == 4 * 15 * 5
    assert known == told["added"] - told["removed"]
    assert set(database.get_faces(sorted(told["added"]))) == known
    assert len(database.select("FACESEARCH_PERSON")) == len(
        {stored.person_name for stored in database.get_faces(sorted(known)).values()}
    )
    database.close()


def follow(database: SQLImageDatabase, seen: int, known: set[int]) -> int:
    """Bring a set of ids level with the database, and return the newest number."""
    for change in all_changes(database, seen):
        assert change.number > seen
        seen = change.number
        if change.embedding is None:
            known.discard(change.face_id)
        else:
            known.add(change.face_id)
    return seen


def removed_since(database: SQLImageDatabase, ids: set[int]) -> set[int]:
    return ids - set(database.get_faces(sorted(ids)))


@pytest.mark.parametrize("heard_before", [2, 9, 24])
def test_no_acknowledged_removal_is_lost_by_a_kill(database_settings: Settings, heard_before: int) -> None:
    told: dict[str, set[int]] = {"added": set(), "removed": set()}
    with child(add_and_remove, database_settings, 10_000, "p") as (process, connection):
        assert heard(connection) == "ready"
        connection.send("go")
        for _ in range(heard_before):
            what, ids = heard(connection)
            told[what].update(ids)
        process.kill()
        process.join(30)
        while connection.poll():
            try:
                what, ids = connection.recv()
            except (EOFError, OSError):
                break
            told[what].update(ids)
    database = opened(database_settings)
    known: set[int] = set()
    follow(database, 0, known)
    assert not told["removed"] & known
    assert not database.get_faces(sorted(told["removed"]))
    removals = {change.face_id for change in all_changes(database) if change.embedding is None}
    assert told["removed"] <= removals
    # The removal that came after the last word may have been committed too.
    assert len(told["added"] - told["removed"] - known) in (0, 2)
    assert database.add_faces([new_face()], MODEL)
    database.close()


def test_a_killed_transaction_leaves_nothing_and_blocks_nobody(database_settings: Settings) -> None:
    database = opened(database_settings)
    database.add_faces([new_face()], MODEL)
    with child(add_and_stay, database_settings) as (process, connection):
        assert heard(connection) == 701
        assert database.newest_change() == 1
        process.kill()
        process.join(30)
        [face_id] = database.add_faces([new_face()], MODEL)
    assert [(c.number, c.face_id) for c in all_changes(database)][1:] == [(2, face_id)]
    assert len(database.select("IMAGE_DATASET", ["id"])) == 2
    database.close()


@pytest.mark.parametrize("heard_before", [1, 7, 23])
def test_nothing_acknowledged_is_lost_by_a_kill(database_settings: Settings, heard_before: int) -> None:
    with child(add, database_settings, 10_000, "p") as (process, connection):
        assert heard(connection) == "ready"
        connection.send("go")
        acknowledged = [i for _ in range(heard_before) for i in heard(connection)]
        process.kill()
        process.join(30)
        while connection.poll():
            try:
                acknowledged += connection.recv()
            except (EOFError, OSError):
                break
    database = opened(database_settings)
    changes = all_changes(database)
    assert set(acknowledged) <= {change.face_id for change in changes}
    assert [change.number for change in changes] == list(range(1, database.newest_change() + 1))
    assert set(database.get_faces(acknowledged)) == set(acknowledged)
    database.close()


@pytest.mark.mysql
def test_the_driver_is_compiled_code_also_beside_the_encoders_libraries(mariadb: MariaDB) -> None:
    settings = Settings(database=mariadb.new_database())
    with child(driver_beside_encoder, settings) as (_, connection):
        assert heard(connection) == "CMySQLConnection"
