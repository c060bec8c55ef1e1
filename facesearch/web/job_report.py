"""What became of a job's files, as a table that is sent page by page."""

from collections.abc import AsyncIterator

from facesearch.records import FileReport, Page
from facesearch.report_table import COLUMNS, lines_of, row_of
from facesearch.web.work import JobWatch


async def table(watch: JobWatch, first: Page[FileReport]) -> AsyncIterator[bytes]:
    """Yield the table in UTF-8; `first` is its first page."""
    page = first
    yield _encoded(lines_of([COLUMNS]))
    while True:
        yield _encoded(lines_of(map(row_of, page.items)))
        if page.next is None:
            return
        page = await watch.files(page.next)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
