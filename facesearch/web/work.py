"""Calling the synchronous API from the event loop."""

import time
from collections.abc import Callable
from typing import TypeVar

import anyio
from fastapi import Request

from facesearch.errors import DatabaseUnavailable, LeaseLost, Unavailable, error_of
from facesearch.interfaces import API
from facesearch.records import CANCELLED, FAILED, BulkReport, FileReport, Job, Page
from facesearch.web.stopping import Stopping, unless_stopping

R = TypeVar("R")

_FILES_PER_PAGE = 1000
_WAIT_S = 1.0
_AWAY_S = 60.0


async def in_thread(request: Request, work: Callable[[API], R]) -> R:
    """Call the API in one of the threads that work on requests."""
    state = request.app.state
    return await anyio.to_thread.run_sync(work, state.api, limiter=state.threads)


class JobWatch:
    """Asks about one job for as long as it takes. Lives as long as one request, and belongs to its task.

    Args:
        limiter: of the threads that do nothing but ask.
    """

    def __init__(self, request: Request, job_id: str, limiter: anyio.CapacityLimiter) -> None:
        self._api: API = request.app.state.api
        self._stopping: Stopping = request.app.state.stopping
        self._request = request
        self._limiter = limiter
        self.job_id = job_id

    async def ask(self, question: Callable[[API], R]) -> R:
        """Ask once.

        Raises:
            Unavailable: the process is asked to end.
        """
        return await unless_stopping(self._stopping, lambda: question(self._api), self._limiter)

    async def insist(self, question: Callable[[API], R]) -> R:
        """Ask again for a minute where the database is away.

        Raises:
            DatabaseUnavailable: it still is.
            Unavailable: the process is asked to end. Either message says that the job goes on.
        """
        away_since = None
        while True:
            try:
                return await self.ask(question)
            except DatabaseUnavailable as error:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _AWAY_S:
                    raise DatabaseUnavailable(f"{error.message} {self._goes_on}") from None
            except Unavailable as error:
                raise Unavailable(f"{error.message} {self._goes_on}") from None
            await anyio.sleep(_WAIT_S)

    async def end(self) -> Job | None:
        """Wait until the job is over; None where the client has gone meanwhile.

        Raises:
            FacesearchError: what the job failed of.
            LeaseLost: it was cancelled.
        """
        while True:
            job = await self.insist(lambda api: api.imports.wait(self.job_id, _WAIT_S))
            if job.state == FAILED:
                raise error_of(job.error_code or Unavailable.code, job.error)
            if job.state == CANCELLED:
                raise LeaseLost(f"The job {job.id} was cancelled.")
            if job.is_over:
                return job
            if await self._request.is_disconnected():
                return None

    async def first_files(self) -> Page[FileReport]:
        """The first page of `files`, asked once: an answer that has not begun can still be 503."""
        return await self.ask(lambda api: api.imports.files(self.job_id, _FILES_PER_PAGE))

    async def files(self, after: int | None = None) -> Page[FileReport]:
        """The reports that follow a position, one page of them."""
        return await self.insist(lambda api: api.imports.files(self.job_id, _FILES_PER_PAGE, after))

    async def report(self) -> BulkReport:
        """The reports of all files."""
        page = await self.files()
        files = list(page.items)
        while page.next is not None:
            page = await self.files(page.next)
            files += page.items
        return BulkReport(tuple(files))

    @property
    def _goes_on(self) -> str:
        return f"The job {self.job_id} goes on."
