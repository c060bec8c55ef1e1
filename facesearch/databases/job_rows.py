"""Jobs and the reports of their files as rows and back. Pure functions, safe from any thread."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from facesearch.databases.tables import FILE_NAME_WIDTH, NAME_WIDTH, PATH_WIDTH, PLACE_WIDTH, REASON_WIDTH
from facesearch.errors import Conflict, InvalidParameter
from facesearch.records import (
    FILE_STATUSES,
    JOB_KINDS,
    QUEUED,
    Box,
    FileReport,
    ImportOptions,
    Job,
    NewJob,
    ReportedFace,
)

JOB_COLUMNS = [
    "number",
    "id",
    "file_name",
    "faces",
    "skip_duplicates",
    "waited_for",
    "state",
    "total",
    *FILE_STATUSES,
    "worked_s",
    "created_at",
    "started_at",
    "finished_at",
    "attempts",
    "error_code",
    "error",
    "collection_number",
    "collection",
    "kind",
]
FILE_COLUMNS = [
    "position",
    "path",
    "status",
    "person_name",
    "reason",
    "face_id",
    "duplicate_of",
    "faces",
]

# Databases differ in what they take for one text: spaces at its end, NUL. Ids hold none of it.
_JOB_ID = re.compile(r"[0-9A-Za-z_-]{1,36}")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_job_id(text: str) -> bool:
    """Whether a job may have this id: 1 to 36 ASCII letters, digits, hyphens and underscores."""
    return _JOB_ID.fullmatch(text) is not None


def row_of_job(job: NewJob, created_at: datetime) -> dict[str, Any]:
    """Return a queued job's row without its number; `created_at` is UTC without a zone.

    Raises:
        InvalidParameter: the id or the place cannot be stored, or there is no such kind.
    """
    if not is_job_id(job.id):
        raise InvalidParameter("A job's id has 1 to 36 letters, digits and hyphens.")
    if len(job.place) > PLACE_WIDTH:
        raise InvalidParameter(f"A place has more than {PLACE_WIDTH} characters.")
    if job.kind not in JOB_KINDS:
        raise InvalidParameter("A job's kind is not known.")
    return {
        "id": job.id,
        "place": job.place,
        "file_name": told(job.file_name, FILE_NAME_WIDTH),
        "faces": job.options.faces,
        "skip_duplicates": int(job.options.skip_duplicates),
        "waited_for": int(job.options.waited_for),
        "state": QUEUED,
        "total": job.total,
        "collection_number": job.collection,
        "collection": job.options.collection,
        "kind": job.kind,
        **dict.fromkeys(FILE_STATUSES, 0),
        "worked_s": 0.0,
        "attempts": 0,
        "created_at": created_at,
    }


def job_of(row: Mapping[str, Any]) -> Job:
    """Return the record of a row with JOB_COLUMNS."""
    return Job(
        id=row["id"],
        number=row["number"],
        file_name=row["file_name"],
        options=ImportOptions(
            row["faces"], bool(row["skip_duplicates"]), bool(row["waited_for"]), row["collection"]
        ),
        state=row["state"],
        total=row["total"],
        counts={status: row[status] for status in FILE_STATUSES},
        worked_s=row["worked_s"],
        created_at=row["created_at"].replace(tzinfo=UTC),
        started_at=_utc(row["started_at"]),
        finished_at=_utc(row["finished_at"]),
        attempts=row["attempts"],
        error_code=row["error_code"],
        error=row["error"],
        collection=row["collection_number"],
        kind=row["kind"],
    )


def row_of_file(number: int, position: int, report: FileReport) -> dict[str, Any]:
    """Return the row of a file's report; texts that do not fit are shortened, never refused.

    Raises:
        InvalidParameter: there is no such status.
    """
    if report.status not in FILE_STATUSES:
        raise InvalidParameter("A file's status is not known.")
    return {
        "job_number": number,
        "position": position,
        "path": told(report.path, PATH_WIDTH),
        "status": report.status,
        "person_name": None if report.person_name is None else told(report.person_name, NAME_WIDTH),
        "reason": None if report.reason is None else told(report.reason, REASON_WIDTH),
        "face_id": report.id,
        "duplicate_of": report.duplicate_of,
        "faces": _faces_text(report),
    }


def faces_of_report(report: FileReport) -> set[int]:
    """Return the ids of the stored faces that a report tells of."""
    told_of = {report.id, report.duplicate_of, *(face.id for face in report.faces)}
    return {face_id for face_id in told_of if face_id is not None}


def file_of(row: Mapping[str, Any]) -> FileReport:
    """Return the record of a row with FILE_COLUMNS.

    Raises:
        Conflict: the stored faces are damaged.
    """
    return FileReport(
        path=row["path"],
        status=row["status"],
        id=row["face_id"],
        person_name=row["person_name"],
        reason=row["reason"],
        faces=_faces(row["faces"]),
        duplicate_of=row["duplicate_of"],
    )


def told(text: str, width: int) -> str:
    """Return a text that can be stored: half surrogate pairs replaced, its middle left out if it is long."""
    text = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)
    if len(text) <= width:
        return text
    # The end of a path tells most, and its start where it belongs.
    head = width // 2
    return f"{text[:head]}…{text[head + 1 - width :]}"


def _faces_text(report: FileReport) -> str | None:
    faces = [
        [*map(int, (face.box.top, face.box.right, face.box.bottom, face.box.left)), face.id]
        for face in report.faces
    ]
    return json.dumps(faces) if faces else None


def _faces(text: str | None) -> tuple[ReportedFace, ...]:
    try:
        faces = [] if text is None else json.loads(text)
        return tuple(ReportedFace(Box(*sides), face_id) for *sides, face_id in faces)
    except (TypeError, ValueError):
        raise Conflict("The stored report of a file is damaged.") from None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
