import threading

import pytest

from facesearch.databases import open_job_store
from facesearch.errors import DatabaseUnavailable
from facesearch.records import ImportOptions, NewJob
from facesearch.service.imports import doubtful
from facesearch.service.imports.doubtful import DoubtfulJobs
from tests.unit.service.conftest import NewDatabase

LIMIT_S = 30.0


def test_a_job_that_did_not_come_to_be_is_forgotten_as_soon_as_the_database_says(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubtful, "_AGAIN_S", 0.01)
    database, forgotten, told = new_database(), list[str](), threading.Event()
    jobs = open_job_store(database)
    jobs.add(NewJob("there", "here", "a.zip", ImportOptions(), 1))

    def forget(job_id: str) -> None:
        forgotten.append(job_id)
        told.set()

    jobs_in_doubt = DoubtfulJobs(jobs, forget)
    jobs_in_doubt.settle("at once")
    assert forgotten == ["at once"]
    for round_ in ("first", "second"):  # a thread that has ended is followed by another
        told.clear()
        database.away = DatabaseUnavailable()
        jobs_in_doubt.settle("there")
        jobs_in_doubt.settle(round_)
        assert not told.is_set()
        database.away = None
        assert told.wait(LIMIT_S)
    assert forgotten == ["at once", "first", "second"]
    jobs_in_doubt.stop()
