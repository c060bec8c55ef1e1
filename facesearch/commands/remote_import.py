"""Importing photos into a running service: archives sent one by one, their jobs followed to the end."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

from facesearch.commands.import_report import Imported
from facesearch.commands.remote_answers import RemoteJob
from facesearch.commands.remote_service import RemoteService
from facesearch.errors import FacesearchError, Unavailable
from facesearch.records import DONE, FILE_STATUSES, FileReport, ImportOptions

if TYPE_CHECKING:
    from facesearch.bootstrap import Part

# While the service works on one archive the next one is sent, and no further one lies on its disk.
_UNFINISHED = 2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 1.0


class RemoteImport:
    """One import. Lives for one command, and belongs to its thread.

    Args:
        total: how many files there are, None where the service counts them.
        on_progress: called with the number of files and how many of them ended in each status.
        on_sent: called with an archive's name, how many bytes of it were sent, and how many it has.
        collection: None for the key's own, whatever the options say.
    """

    def __init__(
        self,
        service: RemoteService,
        options: ImportOptions,
        total: int | None,
        on_progress: Callable[[int, Mapping[str, int]], None],
        on_sent: Callable[[str, int, int], None],
        collection: str | None = None,
    ) -> None:
        self._service = service
        self._options = options
        self._total = total
        self._on_progress = on_progress
        self._on_sent = on_sent
        self._collection = collection
        self._left_out: list[Mapping[int, FileReport]] = []
        self._jobs: list[RemoteJob | None] = []

    def run(self, parts: "Iterable[Part]") -> Imported:
        """Send archives and wait for their jobs; after a job that does not end well no more are sent.

        Raises:
            KeyboardInterrupt: the jobs were cancelled, as far as the service could be reached.
            FacesearchError: an archive was refused, or the service is gone. Jobs go on.
        """
        try:
            for part in parts:
                self._send(part)
                self._wait(_UNFINISHED - 1)
                if not self._is_well:
                    break
            self._wait(0)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(self._cancel()) from None
        except FacesearchError as error:
            note = " What was sent before is imported." if self._started else ""
            raise type(error)(f"{error.message}{note}") from None
        bad = next((job for job in self._started if job.state != DONE), None)
        return Imported(
            tuple(job.id for job in self._started),
            bad.state if bad else DONE,
            self._files(),
            self._counts(),
            self._reports(),
            (bad.error or "The import was cancelled.") if bad else None,
            self._service.name,
        )

    @property
    def _started(self) -> list[RemoteJob]:
        return [job for job in self._jobs if job is not None]

    @property
    def _is_well(self) -> bool:
        return all(job.state == DONE or not job.is_over for job in self._started)

    def _send(self, part: "Part") -> None:
        job = None
        if part.file is not None:
            with closing(part.file):
                job = self._service.start(
                    part.file,
                    part.name,
                    self._options,
                    uuid.uuid4().hex,
                    lambda sent, size: self._on_sent(part.name, sent, size),
                    self._collection,
                )
        self._jobs.append(job)
        self._left_out.append(part.reports)
        self._tell()

    def _wait(self, unfinished: int) -> None:
        """Follow the jobs until so many of them are left."""
        pause = _FIRST_PAUSE_S
        while True:
            for number, job in enumerate(self._jobs):
                if job is not None and not job.is_over:
                    self._jobs[number] = self._service.job(job.id)
            self._tell()
            if sum(not job.is_over for job in self._started) <= unfinished:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_PAUSE_S)

    def _cancel(self) -> str:
        """Cancel what goes on; return a sentence where the service could not be told."""
        told = True
        for job in self._started:
            if not job.is_over:
                try:
                    self._service.cancel(job.id)
                except Unavailable:
                    told = False
                except FacesearchError:
                    pass  # it is over
        return "" if told else "The service could not be told, and goes on with what it has got."

    def _tell(self) -> None:
        self._on_progress(self._files(), self._counts())

    def _files(self) -> int:
        if self._total is not None:
            return self._total
        return sum(job.total for job in self._started) + sum(map(len, self._left_out))

    def _counts(self) -> dict[str, int]:
        counts = dict.fromkeys(FILE_STATUSES, 0)
        for job in self._started:
            for status, number in job.counts.items():
                counts[status] += number
        for reports in self._left_out:
            for report in reports.values():
                counts[report.status] += 1
        return counts

    def _reports(self) -> Iterator[FileReport]:
        for job, left_out in zip(self._jobs, self._left_out, strict=True):
            told = iter(()) if job is None else self._service.files(job.id)
            yield from _in_order(left_out, told)


def _in_order(left_out: Mapping[int, FileReport], told: Iterator[FileReport]) -> Iterator[FileReport]:
    """Put reports back to their positions among those that the service gives."""
    for position in count():
        if position in left_out:
            yield left_out[position]
        elif (report := next(told, None)) is not None:
            yield report
        else:
            yield from (left_out[p] for p in sorted(left_out) if p > position)
            return
