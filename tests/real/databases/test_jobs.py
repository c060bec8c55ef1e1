"""Jobs in the hands of processes that die, and of several at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import wait

import pytest

from facesearch.config import Settings
from facesearch.databases import MySQLImageDatabase, SQLJobStore, open_job_store
from facesearch.records import CANCELLED, DONE
from tests.contracts.job_parts import OTHER, OWNER, PLACE, new_job
from tests.mariadb import MariaDB
from tests.real.databases.processes import LIMIT_S, child, heard, opened, work_on_jobs


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


@pytest.mark.mysql
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_claimer_passes_over_a_job_that_is_cancelled_while_it_looks(mariadb: MariaDB, moment: int) -> None:
    database = MySQLImageDatabase(mariadb.new_database())
    others = open_job_store(database)
    first, second = others.add(new_job()), others.add(new_job())
    moments = iter(range(1, 100))

    def cancel_then() -> datetime:
        if next(moments) == moment:
            with ThreadPoolExecutor(1) as thread:  # another connection: this one's is in a transaction
                thread.submit(others.cancel, first.id).result()
        return datetime.now(UTC)

    claimed = SQLJobStore(database, cancel_then).claim(PLACE, OWNER, 15.0, 1)
    assert claimed is not None
    assert claimed.id == second.id
    assert others.get(first.id).state == CANCELLED
    database.close()


@pytest.mark.mysql
@pytest.mark.parametrize("moment", [2, 3])
def test_a_claimer_passes_over_a_job_whose_lease_is_renewed_while_it_looks(
    mariadb: MariaDB, moment: int
) -> None:
    database = MySQLImageDatabase(mariadb.new_database())
    others = open_job_store(database)
    job = others.add(new_job())
    assert others.claim(PLACE, OWNER, 15.0, 1)
    moments = iter(range(1, 100))

    def keep_then() -> datetime:
        if next(moments) == moment:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(others.keep, job.id, OWNER, 15.0).result()
        return datetime.now(UTC) + timedelta(seconds=20)

    assert SQLJobStore(database, keep_then).claim(PLACE, OTHER, 15.0, 1) is None
    others.finish(job.id, OWNER, DONE)
    database.close()
