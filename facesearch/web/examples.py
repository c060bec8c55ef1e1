"""Answers and errors as examples, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from facesearch import __version__
from facesearch.config import IntakeSettings, LimitSettings, ServerSettings
from facesearch.errors import (
    Busy,
    CollectionNotAllowed,
    FacesearchError,
    KeyMissing,
    KeyRefused,
    LocalOnly,
    RateLimited,
    ScopeNotAllowed,
)
from facesearch.web.envelope import status_of
from facesearch.web.schemas import Limits, OldError, V1Error

Responses = dict[int | str, dict[str, Any]]

_JSON = "application/json"
_NULL = "(null)"
_ANYWHERE = (KeyMissing, KeyRefused, LocalOnly, ScopeNotAllowed, RateLimited, Busy)
_ANYWHERE_ELSE = (*_ANYWHERE, CollectionNotAllowed)  # than on the old routes, which name no collection
BOX = {"top": 71, "right": 176, "bottom": 175, "left": 72}
QUALITY = {
    "size_px": 105,
    "score": 1.321,
    "sharpness": 812.4,
    "brightness": 127.6,
    "roll_deg": -1.2,
    "yaw_deg": 4.5,
    "pitch_deg": 0.8,
}
_MATCH = {"id": 7, "person_name": "Aaron Eckhart", "distance": 0.412345}
_JOB_ID = "0f8fad5bd9cb469fa16570867728950e"
_HERE = f"/v1/jobs/{_JOB_ID}"
_JOB = {
    "id": _JOB_ID,
    "state": "running",
    "file_name": "holiday.zip",
    "kind": "import",
    "collection": "default",
    "faces": "largest",
    "duplicates": "skip",
    "counts": {"total": 120, "inserted": 57, "no_face": 2, "duplicate": 1, "failed": 0, "skipped": 0},
    "done": 60,
    "rate": 11.2,
    "left_s": 5.4,
    "created_at": "2026-01-02T03:04:05+00:00",
    "started_at": "2026-01-02T03:04:06+00:00",
    "finished_at": None,
    "error": None,
    "links": {
        "self": _HERE,
        "files": f"{_HERE}/files",
        "report": f"{_HERE}/report.csv",
        "events": f"{_HERE}/events",
    },
}
_STORED = {
    "status": "inserted",
    "id": 8,
    "person_name": "Aaron Eckhart",
    "reason": None,
    "faces": [{"id": 8, "box": BOX}],
    "duplicate_of": None,
}
_COUNTS = {"inserted": 1, "no_face": 0, "duplicate": 0, "failed": 0, "skipped": 0}
_SECTIONS = (LimitSettings(), IntakeSettings(), ServerSettings())
_KNOWN = {name: value for section in _SECTIONS for name, value in section.model_dump().items()}


def _part(name: str, ms: float, error: Mapping[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "state": "failed" if error else "ok", "ms": ms, "error": error}


_AWAY = {"code": "database_unavailable", "message": "The database cannot be reached right now."}
_OTHERS = [_part("index", 0.21), _part("encoder", 0.02), _part("pool", 0.01)]

ANSWERS: Mapping[str, Any] = {
    "search": {
        "status": "OK",
        "body": {"matches": {"face1": [_MATCH]}},
        "result": {
            "faces": [{"box": BOX, "quality": QUALITY, "matches": [_MATCH]}],
            "stale": False,
            "seconds": 0.0,
        },
    },
    "add": {
        "status": "OK",
        "body": "Added Aaron Eckhart with id 7.",
        "result": {
            "id": 7,
            "person_name": "Aaron Eckhart",
            "box": BOX,
            "faces_found": 1,
            "quality": QUALITY,
            "duplicate_of": None,
        },
    },
    "bulk": {
        "status": "OK",
        "body": "Inserted 1 images in database.",
        "result": {**_COUNTS, "files": [{"file": "Aaron_Eckhart_0002.jpg", **_STORED}]},
    },
    "face": {
        "status": "OK",
        "body": {
            "id": 7,
            "person_name": "Aaron Eckhart",
            "version": "0001",
            "date": "2003-04-05T10:11:12",
            "date and time": "2003-04-05T10:11:12",
            "location": {"latitude": 1.5, "longitude": -2.5},
            "file_name": "Aaron_Eckhart_0001.jpg",
            "size": {"width": 250, "height": 250},
            "box": BOX,
            "quality": QUALITY,
            "model": "dlib-resnet-v1-mirror",
            "dimension": 128,
            "added_at": "2026-01-02T03:04:05+00:00",
            "external_id": None,
            "metadata": {},
        },
    },
    "job": _JOB,
    "jobs": {"jobs": [_JOB], "next": None},
    "cancelled": {**_JOB, "state": "cancelled", "left_s": None, "finished_at": "2026-01-02T03:04:12+00:00"},
    "files": {"files": [{"path": "2026/Aaron_Eckhart_0002.jpg", **_STORED}], "next": None},
    "info": {"version": __version__, "limits": {name: _KNOWN[name] for name in Limits.model_fields}},
    "alive": {"status": "ok"},
    "ready": {"status": "ok", "parts": [_part("database", 0.42), *_OTHERS]},
    "not_ready": {"status": "failed", "parts": [_part("database", 2000.1, _AWAY), *_OTHERS]},
}


def kept(example: Any) -> Any:
    """An example with a mark for each null: FastAPI leaves nulls out of its document. See `with_nulls`."""
    return _replaced(example, None, _NULL)


def with_nulls(document: Any) -> Any:
    """The document with the nulls of its examples."""
    return _replaced(document, _NULL, None)


def _replaced(value: Any, this: str | None, that: str | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _replaced(inner, this, that) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, this, that) for inner in value]
    return that if value == this else value


def shown(name: str, status: int = 200, model: type[BaseModel] | None = None) -> Responses:
    """An answer with its example, as a route's `responses`.

    Args:
        name: a key of ANSWERS.
        model: its schema, where the route's `response_model` is not it.
    """
    answer: dict[str, Any] = {"content": {_JSON: {"example": kept(ANSWERS[name])}}}
    if status >= 400:
        answer["description"] = "Not now"
    return {status: answer if model is None else {**answer, "model": model}}


def example(answer: Mapping[str, Any], status: int = 200) -> Responses:
    """An answer as an example, as a route's `responses`; its schema is the route's `response_model`."""
    return {status: {"content": {_JSON: {"example": kept(answer)}}}}


def shown_text(kind: str, example: str) -> Responses:
    """An answer that is no JSON, with its example.

    Args:
        kind: its media type.
    """
    return {200: {"content": {kind: {"schema": {"type": "string"}, "example": example}}}}


def shown_picture(*kinds: str) -> Responses:
    """An answer that is a picture, of one of some media types, or the note that the client has it already."""
    schema = {"type": "string", "contentMediaType": "application/octet-stream"}
    content = {kind: {"schema": schema, "example": "(bytes)"} for kind in kinds}
    return {200: {"content": content}, 304: {"description": "The client's copy is good: its ETag was sent."}}


def anywhere(*, old: bool = False) -> Responses:
    """What any route may answer instead, as a router's `responses`.

    Args:
        old: whether the routes are the four old ones.
    """
    kinds = _ANYWHERE if old else _ANYWHERE_ELSE
    examples = {error.code: _example(error, old) for error in (kind() for kind in kinds)}
    return {
        "default": {
            "model": OldError if old else V1Error,
            "description": "Error",
            "content": {_JSON: {"examples": examples}},
        }
    }


def refused(*kinds: type[FacesearchError], old: bool = False) -> Responses:
    """The errors that a route is known for, one example each, as a route's `responses`.

    Args:
        old: whether the route is one of the four old ones.
    """
    responses: Responses = {}
    for error in (kind() for kind in kinds):
        answer = responses.setdefault(
            status_of(error),
            {
                "model": OldError if old else V1Error,
                "description": "Error",
                "content": {_JSON: {"examples": {}}},
            },
        )
        answer["content"][_JSON]["examples"][error.code] = _example(error, old)
    return responses


def _example(error: FacesearchError, old: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"code": error.code, "message": error.message, "details": {}}
    if old:
        told = {"status": "ERROR", "body": error.message, "result": {"code": error.code}}
    return {"summary": error.message, "value": told}
