"""What an import came to: in sentences, as a CSV file, and as JSON."""

import csv
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Self, TextIO

from facesearch.errors import FacesearchError, Invalid
from facesearch.records import DONE, FILE_STATUSES, FileReport
from facesearch.report_table import COLUMNS, row_of

_SHOWN = 5
_WRONG = ("failed", "no_face")
_WORDS = {
    "inserted": ("inserted", "inserted"),
    "duplicate": ("duplicate", "duplicates"),
    "no_face": ("without a face", "without a face"),
    "failed": ("failed", "failed"),
    "skipped": ("skipped", "skipped"),
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to.

    Args:
        jobs: the ids of its jobs.
        state: how the jobs ended, that of the first one that did not end well where one did not.
        total: how many files there were.
        counts: how many of them ended in each of FILE_STATUSES.
        files: their reports, in order; read once.
        error: why it failed.
        service: where they went, None for the database itself.
    """

    jobs: tuple[str, ...]
    state: str
    total: int
    counts: Mapping[str, int]
    files: Iterable[FileReport]
    error: str | None = None
    service: str | None = None

    @property
    def done(self) -> int:
        """How many files have their report."""
        return sum(self.counts.values())


class ReportFile:
    """A CSV file with a line per file of an import. A context manager; lives for one command.

    The columns are those of the service's report.csv. That it cannot be written shows before the import.

    Raises:
        Invalid: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            # What an earlier import left there is kept until this one has something to say.
            self._file: TextIO = path.open("a", encoding="utf-8", errors="backslashreplace", newline="")
        except OSError as error:
            raise Invalid(f"The report {path} cannot be written: {error.strerror}.") from None
        self._lines: Any = None

    def add(self, report: FileReport) -> None:
        """Write a line."""
        try:
            self._begin()
            self._lines.writerow(row_of(report))
        except OSError as error:
            raise self._cannot(error) from None

    def end(self) -> None:
        """Have it on the disk whole, with its first line where there is no other.

        Raises:
            Invalid: it cannot be written.
        """
        try:
            self._begin()
            self._file.flush()
        except OSError as error:
            raise self._cannot(error) from None

    def _begin(self) -> None:
        if self._lines is None:
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                self._file.truncate(0)
            self._lines = csv.writer(self._file, lineterminator="\r\n")
            self._lines.writerow(COLUMNS)

    def _cannot(self, error: OSError) -> FacesearchError:
        return Invalid(
            f"The photos are imported; the report {self._path} cannot be written: {error.strerror}."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._file.close()


@dataclass(slots=True)
class Summary:
    """What is told of an import at its end. Lives for one command.

    Args:
        name: the folder or archive.
        seconds: how long it took.
    """

    name: str
    imported: Imported
    seconds: float
    report: Path | None = None
    failures: list[FileReport] = field(default_factory=list)

    def read(self, file: ReportFile | None) -> None:
        """Go through the reports once: write them into a file, and keep the first ones that went wrong.

        Those that failed come first: a photo without a face may well be one.
        """
        wanted: dict[str, int] = {}
        for status in _WRONG:
            wanted[status] = min(self.imported.counts.get(status, 0), _SHOWN - sum(wanted.values()))
        kept: dict[str, list[FileReport]] = {status: [] for status in _WRONG}
        left = sum(wanted.values())
        if file is None and not left:
            return
        for report in self.imported.files:
            if file is not None:
                file.add(report)
            if report.status in kept and len(kept[report.status]) < wanted[report.status]:
                kept[report.status].append(report)
                left -= 1
                if file is None and not left:
                    break
        self.failures += chain(*kept.values())
        if file is not None:
            file.end()

    def sentences(self) -> list[str]:
        """Lines for people."""
        imported = self.imported
        if not imported.total and imported.state == DONE:
            return [f"There are no files in {self.name}."]
        speed = f", {imported.done / self.seconds:,.1f} a second" if self.seconds >= 1 else ""
        done = (
            f"{imported.done:,}"
            if imported.done == imported.total
            else (f"{imported.done:,} of {imported.total:,}")
        )
        what = described(imported.counts) or "none done"
        noun = "file" if imported.total == 1 else "files"
        lines = [f"{done} {noun} of {self.name} in {_duration(self.seconds)}{speed}: {what}."]
        lines += [f"  {printable(report.path)}: {printable(report.reason or '')}" for report in self.failures]
        more = _wrong(imported.counts) - len(self.failures)
        if more > 0:
            how = "" if self.report else "; --report FILE.csv writes down what became of each file"
            lines.append(f"  and {more:,} more{how}.")
        if self.report is not None:
            lines.append(f"What became of each file is in {printable(str(self.report))}.")
        return lines

    def as_json(self) -> dict[str, Any]:
        """One object for programs."""
        return {
            "source": self.name,
            "service": self.imported.service,
            "state": self.imported.state,
            "error": self.imported.error,
            "jobs": list(self.imported.jobs),
            "total": self.imported.total,
            "counts": {status: self.imported.counts.get(status, 0) for status in FILE_STATUSES},
            "seconds": round(self.seconds, 3),
            "first_failures": [
                {"path": printable(report.path), "status": report.status, "reason": report.reason}
                for report in self.failures
            ],
            "report": None if self.report is None else str(self.report),
        }


def described(counts: Mapping[str, int]) -> str:
    """Say how many files ended how; what did not happen is left out."""
    return ", ".join(
        f"{number:,} {words[number != 1]}"
        for status, words in _WORDS.items()
        if (number := counts.get(status, 0))
    )


def printable(text: str) -> str:
    """A name that somebody else chose, without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _wrong(counts: Mapping[str, int]) -> int:
    return sum(counts.get(status, 0) for status in _WRONG)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
