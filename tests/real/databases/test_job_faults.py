"""Reports and their faces where a connection dies, or nobody knows what became of a commit."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event

from facesearch.config import Settings
from facesearch.databases import MySQLImageDatabase, open_job_store
from facesearch.errors import Conflict, DatabaseUnavailable
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import QUEUED, FileReport, Once
from tests.contracts.image_database import MODEL, new_face
from tests.contracts.job_parts import LEASE_S, OTHER, OWNER, PLACE, new_job, running
from tests.mariadb import MariaDB
from tests.real.databases.processes import opened


def store(database: ImageDatabase, jobs: JobStore, job_id: str, position: int) -> None:
    """What an import does for a file, and a request for its first answer."""
    face = new_face(person_name=f"Person {position}", photo_sha256=position.to_bytes(32, "big"))
    with database.alone():
        database.faces_of_photos([face.photo_sha256 or b""])
        [face_id] = database.add_faces([face], MODEL)
        jobs.report(job_id, OWNER, {position: FileReport("a", "inserted", face_id)}, 99, 1.0)
        jobs.add_answer(Once(f"key {position}", "f"), "x")


@pytest.fixture
def database(mariadb: MariaDB) -> Iterator[MySQLImageDatabase]:
    database = MySQLImageDatabase(mariadb.new_database())
    yield database
    database.close()


class Killer:
    """Has the server end the connection of the n-th statement or commit to come, just before it."""

    def __init__(self, mariadb: MariaDB, database: MySQLImageDatabase) -> None:
        self.left = 0
        self._mariadb = mariadb
        for name in ("before_cursor_execute", "commit"):
            event.listen(database._engine, name, self._step)

    def _step(self, connection: Any, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self._mariadb.execute(f"KILL {connection.connection.driver_connection.connection_id}")


@pytest.mark.mysql
def test_a_connection_that_dies_at_any_point_leaves_nothing_and_the_next_attempt_all(
    mariadb: MariaDB, database: MySQLImageDatabase
) -> None:
    jobs = open_job_store(database)
    job = running(jobs)
    store(database, jobs, job.id, 0)
    killer = Killer(mariadb, database)
    for position in range(1, 100):
        killer.left = position
        try:
            store(database, jobs, job.id, position)
            break
        except DatabaseUnavailable:
            assert jobs.reported(job.id) == set(range(position))
            assert jobs.get(job.id).done == database.newest_change() == position
            assert jobs.first_answer(f"key {position}") is None
            store(database, jobs, job.id, position)
    assert 15 < position < 99
    assert killer.left > 0
    killer.left = 0
    assert jobs.get(job.id).done == database.newest_change() == position + 1


@pytest.mark.mysql
def test_a_claim_whose_connection_dies_leaves_the_job_to_the_next(
    mariadb: MariaDB, database: MySQLImageDatabase
) -> None:
    jobs = open_job_store(database)
    job = jobs.add(new_job())
    killer = Killer(mariadb, database)
    claimed = None
    for steps in range(1, 100):
        killer.left = steps
        try:
            claimed = jobs.claim(PLACE, OWNER, LEASE_S, 1)
            break
        except DatabaseUnavailable:
            assert jobs.get(job.id).state == QUEUED
    assert 5 < steps < 99
    assert claimed is not None
    killer.left = 0
    assert jobs.claim(PLACE, OTHER, LEASE_S, 1) is None


def test_after_a_commit_whose_answer_was_lost_the_reports_tell_what_is_done(
    database_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = opened(database_settings)
    jobs = open_job_store(database)
    job = running(jobs)
    commit = sqlalchemy.Connection.commit

    def lose_the_answer(connection: sqlalchemy.Connection) -> None:
        commit(connection)
        raise DatabaseUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(sqlalchemy.Connection, "commit", lose_the_answer)
        with pytest.raises(DatabaseUnavailable):
            store(database, jobs, job.id, 0)
    assert jobs.reported(job.id) == {0}
    with pytest.raises(Conflict):
        store(database, jobs, job.id, 0)
    assert database.newest_change() == jobs.get(job.id).done == 1
    database.close()
