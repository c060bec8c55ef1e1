from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from facesearch.databases import SQLImageDatabase, SQLiteImageDatabase, SQLJobStore, open_job_store
from tests.contracts.job_parts import BEGUN, LEASE_S, OWNER, PLACE, new_job
from tests.contracts.job_store import JobStoreContract
from tests.engines import OnSQLite
from tests.fakes import FakeImageDatabase


class TestSQLJobStoreOnSQLite(OnSQLite, JobStoreContract):
    pass


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SQLImageDatabase]:
    database = SQLiteImageDatabase(tmp_path / "test.db", wait_s=0.1)
    yield database
    database.close()


def test_asking_in_vain_writes_nothing_and_waits_for_nobody(
    database: SQLImageDatabase, tmp_path: Path
) -> None:
    jobs = open_job_store(database)
    jobs.add(new_job())
    assert jobs.claim(PLACE, OWNER, LEASE_S, 1)
    jobs.add(new_job())
    writer = SQLiteImageDatabase(tmp_path / "test.db")
    with writer.transaction():
        assert jobs.claim("elsewhere", OWNER, LEASE_S, 1) is None
        assert jobs.claim(PLACE, OWNER, LEASE_S, 1) is None
        assert jobs.claim(PLACE, OWNER, LEASE_S, 0) is None
    writer.close()


def test_times_of_another_zone_are_stored_in_utc(database: SQLImageDatabase) -> None:
    east = timezone(timedelta(hours=9))
    jobs = SQLJobStore(database, lambda: BEGUN.astimezone(east))
    assert jobs.add(new_job()).created_at == BEGUN
    assert database.select("FACESEARCH_JOB", ["created_at"]) == [{"created_at": BEGUN.replace(tzinfo=None)}]


def test_jobs_lie_in_an_sql_database() -> None:
    with pytest.raises(TypeError):
        open_job_store(FakeImageDatabase())
