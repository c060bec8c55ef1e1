"""Imports as jobs: taken from a client, done by any process of the place, told about."""

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from facesearch.config import IntakeSettings, LimitSettings
from facesearch.errors import (
    DatabaseUnavailable,
    InvalidParameter,
    JobNotFound,
    LeaseLost,
    QueueFull,
    Unavailable,
)
from facesearch.interfaces import Imports
from facesearch.records import (
    COMMANDS_PLACE,
    FileReport,
    ImportOptions,
    Job,
    NewJob,
    Once,
    Page,
)
from facesearch.service.enrol import FACES
from facesearch.service.imports.doubtful import DoubtfulJobs
from facesearch.service.imports.run import Enrolment, ImportRun
from facesearch.service.intake.archive import PhotoArchive
from facesearch.service.intake.names import base_name
from facesearch.service.intake.photo_source import PhotoSource
from facesearch.service.intake.waiting_photos import WaitingPhotos
from facesearch.service.intake.waiting_room import WaitingRoom
from facesearch.service.jobs.leases import done_here
from facesearch.service.jobs.runner import JobRunner

_LONGEST_LOOK_S = 0.5
_STALE_ARCHIVE_S = 300.0
_REPORTS_A_PAGE = 10_000


class ImportJobs(Imports):
    """Lives as long as its process, and begins to work with `open`. Any thread may call it.

    Args:
        parts: what an import is made with.
        folder: where archives wait; its processes share the jobs.
        limits: what an archive may hold.
        intake: how many jobs at once, and how long they are kept.
        tidy: called after the jobs were tidied up: at the beginning, and every ten minutes or so.
    """

    def __init__(
        self,
        parts: Enrolment,
        folder: Path,
        limits: LimitSettings,
        intake: IntakeSettings,
        tidy: Callable[[], None] = lambda: None,
    ) -> None:
        self._parts = parts
        self._jobs = parts.jobs
        self._room = WaitingRoom(folder)
        self._waiting = WaitingPhotos(parts.jobs, self._room, limits)
        self._limits = limits
        self._intake = intake
        self._answers = parts.answers
        self._doubtful = DoubtfulJobs(parts.jobs, self._room.forget)
        self._tidy_besides = tidy
        self._runner = JobRunner(
            parts.jobs, self._room.place, self._work, self._room.forget, self._tidy, intake
        )

    def open(self) -> None:
        """Begin to work on jobs."""
        self._runner.start()

    def stop(self) -> None:
        """Ask the work to end; to be followed by `join`."""
        self._runner.stop()
        self._doubtful.stop()

    def join(self) -> None:
        """Wait a few seconds for the work's end."""
        self._runner.join()

    def check_alive(self) -> None:
        """Raise Unavailable where this process does not work on imports, and so need not be waited for."""
        if not self._runner.is_alive:
            raise Unavailable("The service is not working on imports.")

    def load(self) -> tuple[int, int]:
        """How many jobs of this place wait, and how many are being worked on."""
        place = self._room.place()
        return self._jobs.queued(place), self._jobs.running(place)

    def new_file(self) -> BinaryIO:
        return self._room.new_file()

    def start(
        self, archive: BinaryIO, file_name: str, options: ImportOptions, once: Once | None = None
    ) -> Job:
        """See Imports."""
        _check(options)
        self.check_alive()
        if (first := self._answers.find(once)) is not None:
            return self._jobs.get(first["job"])
        collection = self._parts.galleries.find(options.collection).number
        new = NewJob(
            uuid.uuid4().hex,
            self._room.place(),
            base_name(file_name),
            options,
            self._count(archive),
            collection,
        )
        if self._jobs.queued(new.place) >= self._intake.imports_queued:
            raise QueueFull(f"{self._intake.imports_queued} imports are waiting, which is as many as may.")
        try:
            with self._room.adding():
                self._room.take(archive, new.id)
                job = self._answers.write(
                    once,
                    lambda: self._jobs.add(new),
                    lambda job: {"job": job.id},
                    lambda first: self._jobs.get(first["job"]),
                    about=lambda _: [f"collection:{collection}"],
                )
        except DatabaseUnavailable:
            self._doubtful.settle(new.id)
            raise
        except BaseException:
            self._room.forget(new.id)
            raise
        if job.id != new.id:  # the same request was quicker elsewhere
            self._room.forget(new.id)
        self._runner.wake()
        return job

    def get(self, job_id: str) -> Job:
        return self._jobs.get(job_id)

    def wait(self, job_id: str, limit_s: float) -> Job:
        """See Imports. While the database is away it is asked again until the limit."""
        deadline = time.monotonic() + limit_s
        pause = 0.02
        while True:
            left_s = deadline - time.monotonic()
            try:
                job = self._jobs.get(job_id)
                if job.is_over or left_s <= 0:
                    return job
            except DatabaseUnavailable:
                if left_s <= 0:
                    raise
            self._runner.wait_for_end(max(0.0, min(pause, left_s)))
            pause = min(2 * pause, _LONGEST_LOOK_S)

    def jobs(self, limit: int, before: int | None = None, collection: str | None = None) -> Page[Job]:
        """See Imports."""
        number = None if collection is None else self._parts.galleries.find(collection).number
        return self._jobs.jobs(limit, before, number)

    def files(
        self, job_id: str, limit: int, after: int | None = None, status: str | None = None
    ) -> Page[FileReport]:
        return self._jobs.files(job_id, limit, after, status)

    def all_files(self, job_id: str) -> tuple[FileReport, ...]:
        """Return all reports of a job, read page by page."""
        pages = [self.files(job_id, _REPORTS_A_PAGE)]
        while (after := pages[-1].next) is not None:
            pages.append(self.files(job_id, _REPORTS_A_PAGE, after))
        return tuple(report for page in pages for report in page.items)

    def cancel(self, job_id: str) -> Job:
        """See Imports. A process that works on it stops within about a second."""
        job = self._jobs.cancel(job_id)
        self._runner.interrupt(job_id)
        self._room.forget(job_id)
        return job

    def erase_photos(self, collection: int, photos: Mapping[bytes, int | None]) -> None:
        """See WaitingPhotos.erase."""
        self._waiting.erase(collection, photos)

    def delete_needless_archives(self) -> None:
        """See WaitingPhotos.delete_needless."""
        self._waiting.delete_needless()

    def forget(self, job_ids: Iterable[str]) -> None:
        """Delete the archives of jobs that are gone, and stop working on them."""
        for job_id in job_ids:
            self._runner.interrupt(job_id)
            self._room.forget(job_id)

    def run_here(
        self, source: PhotoSource, name: str, options: ImportOptions, on_progress: Callable[[Job], None]
    ) -> Job:
        """Import photos in this thread, as a job that nobody else may work on.

        Args:
            on_progress: called with the job after some of its files are done.

        Raises:
            KeyboardInterrupt: the job is cancelled; what was stored stays.
            LeaseLost: the job was cancelled.
            FacesearchError: the job failed.
        """
        _check(options)
        owner, lease_s = uuid.uuid4().hex, self._intake.lease_s
        collection = self._parts.galleries.find(options.collection).number
        new = NewJob(
            uuid.uuid4().hex, COMMANDS_PLACE + owner, base_name(name), options, len(source), collection
        )
        self._jobs.add(new)
        job = self._jobs.claim(new.place, owner, lease_s, 1)
        if job is None:
            raise LeaseLost

        def work(stop: threading.Event, tell: Callable[[], None]) -> None:
            ImportRun(self._parts, job, source, owner, stop, tell).run()

        return done_here(self._jobs, job.id, owner, lease_s, work, on_progress)

    def _work(self, job: Job, owner: str, stop: threading.Event) -> None:
        with self._room.open(job.id) as file:
            archive = PhotoArchive(file, self._limits)
            try:
                erased = partial(self._room.erased, job.id)
                ImportRun(self._parts, job, archive, owner, stop, erased=erased).run()
            finally:
                archive.close()

    def _count(self, archive: BinaryIO) -> int:
        """Return how many files an archive holds, having checked that it can be used."""
        photos = PhotoArchive(archive, self._limits)
        try:
            return len(photos) + (len(photos.people.unused(e.path for e in photos)) if photos.people else 0)
        finally:
            photos.close()

    def _tidy(self) -> None:
        """Forget archives whose jobs are over or never came to be, and old jobs."""
        # Archives first: the others take a database that can be written, which a full disk does not let be.
        for job_id in self._room.older_than(_STALE_ARCHIVE_S):
            try:
                over = self._jobs.get(job_id).is_over
            except JobNotFound:
                over = True
            if over:
                self._room.forget(job_id)
        self._jobs.prune(self._intake.keep_days)
        self._tidy_besides()


def _check(options: ImportOptions) -> None:
    if options.faces not in FACES:
        raise InvalidParameter(f"faces is one of {', '.join(FACES)}.")
