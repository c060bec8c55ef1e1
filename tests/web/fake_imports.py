"""Imports that do no work: what becomes of a job is set by the test."""

import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import BinaryIO

from facesearch.errors import FacesearchError, JobNotFound, JobOver
from facesearch.interfaces import Imports
from facesearch.records import (
    CANCELLED,
    DONE,
    FILE_STATUSES,
    QUEUED,
    Box,
    FileReport,
    ImportOptions,
    Job,
    Once,
    Page,
    ReportedFace,
)

BOX = Box(top=10, right=109, bottom=109, left=10)
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
REPORTS = (
    FileReport("a.jpg", "inserted", 8, "Ana", faces=(ReportedFace(BOX, 8),)),
    FileReport("b.jpg", "no_face", reason="No face was found in the photo."),
    FileReport("c.jpg", "duplicate", 3, "Ana", "The photo is stored already.", duplicate_of=3),
)


class FakeImports(Imports):
    """Keeps jobs in memory; each is done as soon as it is waited for. Any thread may call it."""

    def __init__(self) -> None:
        self.known: dict[str, Job] = {}
        self.reports: tuple[FileReport, ...] = REPORTS
        self.files_made: list[BinaryIO] = []
        self.make_file: Callable[[], BinaryIO] = tempfile.TemporaryFile
        self.started: list[tuple[bytes, str, ImportOptions, Once | None]] = []
        self.errors: list[FacesearchError] = []
        self.ends_as = DONE
        self.check_collection: Callable[[str], object] = lambda name: None
        self.failure: tuple[str, str] | None = None
        self.asked = threading.Event()
        self.asked_for: list[tuple[object, ...]] = []

    def add(self, state: str = QUEUED, **values: object) -> Job:
        """Have a job in a state."""
        number = len(self.known) + 1
        counts = dict.fromkeys(FILE_STATUSES, 0)
        job = Job(f"job-{number}", number, "faces.zip", ImportOptions(), state, 3, counts, 0.0, CREATED)
        job = replace(job, **values)  # type: ignore[arg-type]
        self.known[job.id] = job
        return job

    def change(self, job_id: str, **values: object) -> Job:
        """Have a job change."""
        self.known[job_id] = replace(self.known[job_id], **values)  # type: ignore[arg-type]
        return self.known[job_id]

    def new_file(self) -> BinaryIO:
        self._fail()
        file = self.make_file()
        self.files_made.append(file)
        return file

    def start(
        self, archive: BinaryIO, file_name: str, options: ImportOptions, once: Once | None = None
    ) -> Job:
        self._fail()
        self.check_collection(options.collection)
        self.started.append((archive.read(), file_name, options, once))
        return self.add(file_name=file_name, options=options)

    def get(self, job_id: str) -> Job:
        self.asked.set()
        self._fail()
        if job_id not in self.known:
            raise JobNotFound
        return self.known[job_id]

    def wait(self, job_id: str, limit_s: float) -> Job:
        job = self.get(job_id)
        if self.ends_as == QUEUED:
            threading.Event().wait(min(limit_s, 0.05))
            return job
        code, message = self.failure or (None, None)
        return self.change(job_id, state=self.ends_as, error_code=code, error=message)

    def jobs(self, limit: int, before: int | None = None, collection: str | None = None) -> Page[Job]:
        self._fail()
        self.asked_for.append((limit, before))
        if collection is not None:
            self.check_collection(collection)
        mine = (job for job in self.known.values() if collection in (None, job.options.collection))
        newest = sorted(mine, key=lambda job: -job.number)
        found = [job for job in newest if before is None or job.number < before]
        return Page(tuple(found[:limit]), found[limit - 1].number if len(found) > limit else None)

    def files(
        self, job_id: str, limit: int, after: int | None = None, status: str | None = None
    ) -> Page[FileReport]:
        self.get(job_id)
        self.asked_for.append((job_id, limit, after, status))
        at = [
            p
            for p, r in enumerate(self.reports)
            if status in (None, r.status) and p > (-1 if after is None else after)
        ]
        return Page(tuple(self.reports[p] for p in at[:limit]), at[limit - 1] if len(at) > limit else None)

    def cancel(self, job_id: str) -> Job:
        job = self.get(job_id)
        if job.state == CANCELLED:
            return job
        if job.is_over:
            raise JobOver
        return self.change(job_id, state=CANCELLED)

    def _fail(self) -> None:
        errors = self.errors  # which a test may replace meanwhile
        if errors:
            raise errors.pop(0)
