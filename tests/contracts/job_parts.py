"""Jobs for the contract of JobStore, a clock, and the fixtures that its suites ask for."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from facesearch.databases import SQLImageDatabase
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import DONE, FileReport, ImportOptions, Job, NewJob

PLACE, OWNER, OTHER, LEASE_S = "place-1", "owner-1", "owner-2", 15.0
BEGUN = datetime(2026, 2, 28, 23, 59, 59, 999_999, tzinfo=UTC)
ODD_IDS = ["", " ", "x" * 5_000, "a\x00", "ä", "\ud800", "%", "' OR 1=1 --", "?"]


class Clock:
    """Tells a time that a test sets forward."""

    def __init__(self) -> None:
        self.now = BEGUN

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **time: float) -> None:
        self.now += timedelta(**time)


def add_collection(database: ImageDatabase, name: str) -> int:
    """Make a collection; return its number."""
    assert isinstance(database, SQLImageDatabase)
    with database.transaction():
        row = {"name": name.encode(), "newest_change": 0, "created_at": BEGUN.replace(tzinfo=None)}
        database.insert("FACESEARCH_COLLECTION", [row])
        [made] = database.select("FACESEARCH_COLLECTION", ["number"], {"name": name.encode()})
        return int(made["number"])


def new_job(**fields: Any) -> NewJob:
    """A job that can be added; `fields` replace those of NewJob."""
    values: dict[str, Any] = {"id": uuid.uuid4().hex, "place": PLACE, "file_name": "faces.zip", "total": 3}
    return NewJob(**({"options": ImportOptions()} | values | fields))


def report_of(path: str, status: str = "no_face", **fields: Any) -> FileReport:
    return FileReport(path, status, **({"reason": "There is none."} | fields))


def running(jobs: JobStore, owner: str = OWNER, **fields: Any) -> Job:
    """A job in the hands of an owner; no other one of its place may wait."""
    added = jobs.add(new_job(**fields))
    job = jobs.claim(fields.get("place", PLACE), owner, LEASE_S, 1_000)
    assert job is not None
    assert job.id == added.id
    return job


def writes_of(jobs: JobStore, job_id: str, owner: str) -> list[Callable[[], None]]:
    """All that only the owner of a running job may do."""
    return [
        partial(jobs.keep, job_id, owner, LEASE_S),
        partial(jobs.release, job_id, owner),
        partial(jobs.finish, job_id, owner, DONE),
        partial(jobs.report, job_id, owner, {0: report_of("a")}, 1, 1.0),
    ]


class JobStoreFixtures:
    """What a subclass brings: a database, and its jobs on a clock that the test sets."""

    @pytest.fixture
    def database(self) -> Iterator[ImageDatabase]:
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def jobs(self, database: ImageDatabase, clock: Clock) -> JobStore:
        raise NotImplementedError
