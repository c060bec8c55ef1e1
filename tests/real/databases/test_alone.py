"""Transactions beside which nobody else changes faces, among processes that would."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from facesearch.config import Settings
from facesearch.databases import MySQLImageDatabase
from tests.contracts.image_database import MODEL, all_changes, new_face
from tests.mariadb import MariaDB
from tests.real.databases.processes import (
    add,
    add_and_remove,
    add_missing,
    child,
    heard,
    opened,
    replace_alone,
    stay_alone,
)

DIGESTS = [n.to_bytes(32, "big") for n in range(60)]


def test_processes_that_are_alone_in_turn_add_each_photo_once_and_nobody_deadlocks(
    database_settings: Settings,
) -> None:
    """The first faces are added here too: what each needs is locked in one order from the start."""
    works: list[tuple[Callable[..., None], Any] | tuple[Callable[..., None], int, str]] = [
        (add_missing, DIGESTS),
        (add_missing, DIGESTS[::-1]),
        (replace_alone, 15),
        (replace_alone, 15),
        (add, 30, "added"),
        (add_and_remove, 15, "removed"),
    ]
    with ExitStack() as stack:
        children = [stack.enter_context(child(work, database_settings, *rest))[1] for work, *rest in works]
        assert [heard(connection) for connection in children] == ["ready"] * len(works)
        for connection in children:
            connection.send("go")
        missing = heard(children[0]) + heard(children[1])
        replaced = heard(children[2]) + heard(children[3])
        assert len([heard(children[4]) for _ in range(31)]) == 31
        assert [heard(children[5]) for _ in range(31)][-1] == ("done", [])
    database = opened(database_settings)
    assert missing == len(DIGESTS)
    assert len(database.faces_of_photos(DIGESTS)) == len(DIGESTS)
    assert database.newest_change() == missing + replaced + 60 + 15 * 5
    changes = all_changes(database)
    assert sum(c.embedding is not None for c in changes) == len(DIGESTS) + 2 * 5 + 60 + 15
    database.close()


def test_who_dies_alone_leaves_nothing_and_blocks_nobody(database_settings: Settings) -> None:
    database = opened(database_settings)
    database.add_faces([new_face()], MODEL)
    with child(stay_alone, database_settings) as (process, connection):
        assert heard(connection) == 8
        assert database.newest_change() == 1
        process.kill()
        process.join(30)
        with database.alone():
            database.add_faces([new_face()], MODEL)
    assert [change.number for change in all_changes(database)] == [1, 2]
    assert len(database.select("IMAGE_DATASET", ["id"])) == 2
    database.close()


@pytest.mark.mysql
def test_most_faces_are_removed_alone_beside_one_that_is_being_added(mariadb: MariaDB) -> None:
    settings = mariadb.new_database(wait_s=1)
    database, other = MySQLImageDatabase(settings), MySQLImageDatabase(settings)
    ids = database.add_faces([new_face()] * 50, MODEL)
    row = {**other.select("IMAGE_DATASET")[0], "insert_key": 1}
    del row["id"]
    with other.transaction():
        other.insert("IMAGE_DATASET", [row])
        with database.alone():
            assert database.delete_faces(ids) == ids
    assert len(database.select("IMAGE_DATASET", ["id"])) == 1
    other.close()
    database.close()
