"""The shapes of answers as the OpenAPI document shows them; nothing is checked against them at run time."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, RootModel

from facesearch.web.error_codes import all_codes, table

_MEANING = "What clients may compare: codes stay as they are, messages may change."


class ErrorCode(RootModel[str]):
    """What clients may compare: codes stay as they are, messages may change."""

    model_config = ConfigDict(
        json_schema_extra={
            "enum": list(all_codes()),
            "description": f"{_MEANING}\n\n{table()}",
        }
    )


class V1Error(BaseModel):
    """An error below /v1."""

    code: ErrorCode
    message: str
    details: dict[str, Any]


class OldErrorResult(BaseModel):
    """What clients may compare."""

    code: ErrorCode


class OldError(BaseModel):
    """An error of the four old routes."""

    status: Literal["ERROR"]
    body: str
    result: OldErrorResult


class Alive(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class PartError(BaseModel):
    """Why a part does not work."""

    code: str
    message: str


class PartAnswer(BaseModel):
    """How a part answered, and after how many milliseconds."""

    name: Literal["database", "index", "encoder", "pool"]
    state: Literal["ok", "failed"]
    ms: float
    error: PartError | None


class Ready(BaseModel):
    """Whether requests can be worked on."""

    status: Literal["ok", "stale", "failed", "stopping"]
    parts: list[PartAnswer]


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
    """An import as it stands, or the encoding of faces with another model.

    Of such a reencoding `file_name` tells the model and what it takes its photos from; `faces` and
    `duplicates` mean nothing.
    """

    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    file_name: str
    kind: Literal["import", "reencoding"]
    collection: str
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


class MatchAnswer(BaseModel):
    """A known face; without a name where the database is away."""

    id: int
    person_name: str | None
    distance: float


class ProbeAnswer(BaseModel):
    """A face of the photo that was searched with."""

    box: BoxAnswer
    quality: dict[str, float] | None
    matches: list[MatchAnswer]


class Matches(BaseModel):
    """The matches of `face1`, `face2` and so on, from left to right."""

    matches: dict[str, list[MatchAnswer]]


class SearchResultAnswer(BaseModel):
    """The same with more about it; where it is `stale`, `seconds` since the copy was known to be level."""

    faces: list[ProbeAnswer]
    stale: bool
    seconds: float
    tolerance: float | None = None
    tolerance_extrapolated: bool | None = None


class SearchAnswer(BaseModel):
    """The known faces nearest to each face of a photo."""

    status: Literal["OK"]
    body: Matches
    result: SearchResultAnswer


class AddedResult(BaseModel):
    """The face that was stored."""

    id: int
    person_name: str
    box: BoxAnswer
    faces_found: int
    quality: dict[str, float] | None
    duplicate_of: int | None


class AddAnswer(BaseModel):
    """A sentence, and the face that was stored."""

    status: Literal["OK"]
    body: str
    result: AddedResult


class Place(BaseModel):
    """Where a photo was taken, in degrees."""

    latitude: float
    longitude: float


class Size(BaseModel):
    """The upright photo's size in pixels."""

    width: int
    height: int


class FaceInfo(BaseModel):
    """What is stored about a face; `date and time` is the older spelling of `date`."""

    model_config = ConfigDict(extra="allow")

    id: int
    person_name: str
    version: str
    date: str | None
    location: Place | None
    file_name: str
    size: Size | None
    box: BoxAnswer | None
    quality: dict[str, float] | None
    model: str
    dimension: int
    added_at: datetime
    external_id: str | None
    metadata: dict[str, str | int | float | bool]


class InfoAnswer(BaseModel):
    """What is stored about a face."""

    status: Literal["OK"]
    body: FaceInfo


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


class BulkFile(BaseModel):
    """What became of one file of a zip."""

    file: str
    status: Literal["inserted", "no_face", "duplicate", "failed", "skipped"]
    id: int | None
    person_name: str | None
    reason: str | None
    faces: list[FaceAnswer]
    duplicate_of: int | None


class BulkResult(BaseModel):
    """Counts, and a report for each file."""

    inserted: int
    no_face: int
    duplicate: int
    failed: int
    skipped: int
    files: list[BulkFile]


class BulkAnswer(BaseModel):
    """A sentence, and what became of each file."""

    status: Literal["OK"]
    body: str
    result: BulkResult


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
