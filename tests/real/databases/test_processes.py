"""Several processes on one database, on each engine."""

from contextlib import ExitStack

import pytest

from facesearch.config import Settings
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.mariadb import MariaDB
from tests.real.databases.processes import (
    add,
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
