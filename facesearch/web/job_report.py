"""What became of a job's files, as a table for spreadsheet programs."""

import csv
import io
from collections.abc import AsyncIterator, Sequence

from facesearch.records import FileReport, Page
from facesearch.web import answers
from facesearch.web.work import JobWatch

COLUMNS = ("path", "status", "id", "person_name", "reason", "duplicate_of", "faces")

# What a spreadsheet program takes for a formula's beginning, the full-width forms too.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


async def table(watch: JobWatch, first: Page[FileReport]) -> AsyncIterator[bytes]:
    """Yield the table page by page, in UTF-8; `first` is its first page.

    Text that a spreadsheet program could take for a formula has an apostrophe before it.
    """
    page = first
    yield _lines([COLUMNS])
    while True:
        yield _lines([_row(report) for report in page.items])
        if page.next is None:
            return
        page = await watch.files(page.next)


def _row(report: FileReport) -> Sequence[object]:
    faces = answers.text(answers.file(report)["faces"]) if report.faces else ""
    texts = (report.path, report.status, report.person_name, report.reason)
    path, status, person_name, reason = (_harmless(text or "") for text in texts)
    return path, status, report.id, person_name, reason, report.duplicate_of, faces


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue().encode("utf-8", "backslashreplace")
