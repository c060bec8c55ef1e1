"""The shapes of answers as the OpenAPI document shows them; nothing is checked against them at run time."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel


class V1Error(BaseModel):
    """An error below /v1; clients may compare `code`."""

    code: str
    message: str
    details: dict[str, Any]


class ErrorCode(BaseModel):
    """What clients may compare."""

    code: str


class OldError(BaseModel):
    """An error of the four old routes."""

    status: Literal["ERROR"]
    body: str
    result: ErrorCode


class JobCounts(BaseModel):
    """How many files a job has in all, and how many ended in each way."""

    total: int
    inserted: int
    no_face: int
    duplicate: int
    failed: int
    skipped: int


class JobError(BaseModel):
    """What a job failed of."""

    code: str
    message: str | None


class JobAnswer(BaseModel):
    """An import as it stands."""

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    file_name: str
    faces: Literal["largest", "all", "single"]
    duplicates: Literal["skip", "store"]
    counts: JobCounts
    done: int
    rate: float | None
    left_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: JobError | None
    links: dict[str, str]


class JobsPage(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobAnswer]
    next: str | None


class BoxAnswer(BaseModel):
    """A face's rectangle in pixels of the upright photo."""

    top: int
    right: int
    bottom: int
    left: int


class FaceAnswer(BaseModel):
    """A face of a file; without an id it was not stored."""

    id: int | None
    box: BoxAnswer


class FileAnswer(BaseModel):
    """What became of one file of an import."""

    path: str
    status: Literal["inserted", "no_face", "duplicate", "failed", "skipped"]
    id: int | None
    person_name: str | None
    reason: str | None
    faces: list[FaceAnswer]
    duplicate_of: int | None


class FilesPage(BaseModel):
    """Files of an import, in the archive's order."""

    files: list[FileAnswer]
    next: str | None


class Limits(BaseModel):
    """The limits of config.json."""

    zip_bytes: int
    zip_entries: int
    zip_expanded_bytes: int
    zip_ratio: float
    zip_nesting: int
    photo_bytes: int
    photo_pixels: int
    photo_side: int
    imports_at_once: int
    imports_queued: int
    requests_in_flight: int
    threads: int


class Info(BaseModel):
    """The service and its limits."""

    version: str
    limits: Limits
