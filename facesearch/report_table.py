"""The report of an import's files as a table for spreadsheet programs, the same from service and command."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from facesearch.records import FileReport

COLUMNS = ("path", "status", "id", "person_name", "reason", "duplicate_of", "faces")

# What a spreadsheet program takes for a formula's beginning, the full-width forms too.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def row_of(report: FileReport) -> list[Any]:
    """Return a report as the values of COLUMNS; `faces` is JSON.

    Text that a spreadsheet program could take for a formula has an apostrophe before it.
    """
    texts = (report.path, report.status, report.person_name, report.reason)
    path, status, person_name, reason = (_harmless(text or "") for text in texts)
    faces = [{"id": face.id, "box": asdict(face.box)} for face in report.faces]
    as_json = json.dumps(faces, separators=(",", ":")) if faces else ""
    return [path, status, report.id, person_name, reason, report.duplicate_of, as_json]


def lines_of(rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as lines of CSV, as RFC 4180 has them."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(rows)
    return written.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
