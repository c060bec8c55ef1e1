"""The contract of a job store on a server, and jobs in the hands of processes that die."""

from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.connection import wait

import pytest

from facesearch.config import Settings
from facesearch.databases import MySQLImageDatabase, SQLImageDatabase, SQLJobStore, open_job_store
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import DONE
from tests.contracts.job_parts import PLACE, Clock, new_job
from tests.contracts.job_store import JobStoreContract
from tests.mariadb import MariaDB
from tests.real.databases.processes import LIMIT_S, child, heard, opened, work_on_jobs


@pytest.mark.mysql
class TestSQLJobStoreOnMySQL(JobStoreContract):
    @pytest.fixture
    def database(self, mariadb: MariaDB) -> Iterator[ImageDatabase]:
        database = MySQLImageDatabase(mariadb.new_database(wait_s=30))
        yield database
        database.close()

    @pytest.fixture
    def jobs(self, database: ImageDatabase, clock: Clock) -> JobStore:
        assert isinstance(database, SQLImageDatabase)
        return SQLJobStore(database, clock)


@pytest.mark.parametrize("kills", [[3, 4, 5], [1, 30]])
def test_a_job_whose_processes_are_killed_is_done_once_file_by_file(
    database_settings: Settings, kills: list[int]
) -> None:
    """`kills`: after so many more files were done, whoever did the last one dies."""
    database = opened(database_settings)
    jobs = open_job_store(database)
    job = jobs.add(new_job(total=60))
    with ExitStack() as stack:
        workers = {
            connection: process
            for process, connection in (
                stack.enter_context(child(work_on_jobs, database_settings, PLACE, 0.5)) for _ in range(4)
            )
        }
        for connection in workers:
            assert heard(connection) == "ready"
            connection.send("go")
        for done in kills:
            for _ in range(done):
                speaking = wait(list(workers), LIMIT_S)[0]
                speaker = next(connection for connection in workers if connection is speaking)
                assert heard(speaker) != "done"
            process = workers.pop(speaker)
            process.kill()
            process.join(LIMIT_S)
        for connection in workers:
            while heard(connection) != "done":
                pass
    ended = jobs.get(job.id)
    assert (ended.state, ended.done, ended.counts["inserted"]) == (DONE, 60, 60)
    stored = database.get_faces([report.id or 0 for report in jobs.files(job.id, 100).items])
    assert [face.version for face in stored.values()] == [f"{n}" for n in range(60)]
    assert database.newest_change() == len(database.select("IMAGE_DATASET", ["id"])) == 60
    database.close()
