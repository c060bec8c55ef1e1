"""Answers of the routes for faces, people and collections as examples, for the OpenAPI document."""

from collections.abc import Mapping
from typing import Any

from facesearch.web.examples import BOX, QUALITY

_MODEL = "dlib-resnet-v1-mirror"
_ADDED = "2026-01-02T03:04:05+00:00"
_METADATA = {"site": "Paris", "age": 34}

FACE: Mapping[str, Any] = {
    "id": 7,
    "person_id": 3,
    "person_name": "Aaron Eckhart",
    "external_id": "badge-17",
    "metadata": _METADATA,
    "file_name": "Aaron_Eckhart_0001.jpg",
    "size": {"width": 250, "height": 250},
    "taken_at": "2003-04-05T10:11:12",
    "location": {"latitude": 1.5, "longitude": -2.5},
    "box": BOX,
    "quality": QUALITY,
    "model": _MODEL,
    "dimension": 128,
    "added_at": _ADDED,
}
FACES: Mapping[str, Any] = {"faces": [FACE], "next": None}
ENROLLED: Mapping[str, Any] = {"faces": [FACE], "faces_found": 1, "duplicate_of": None}
DELETED: Mapping[str, Any] = {"deleted": [7]}
ASSIGNED: Mapping[str, Any] = {"assigned": [7, 8]}
UNASSIGNED: Mapping[str, Any] = {"unassigned": [7, 8]}
PERSON: Mapping[str, Any] = {
    "id": 3,
    "name": "Aaron Eckhart",
    "faces": 2,
    "cover_face": 7,
    "created_at": _ADDED,
}
NEW_PERSON: Mapping[str, Any] = {**PERSON, "faces": 0, "cover_face": None}
PEOPLE: Mapping[str, Any] = {"people": [PERSON], "next": None}
COLLECTION: Mapping[str, Any] = {
    "name": "visitors",
    "model": _MODEL,
    "next_model": None,
    "faces": 1234,
    "people": 567,
    "created_at": _ADDED,
}
NEW_COLLECTION: Mapping[str, Any] = {**COLLECTION, "model": None, "faces": 0, "people": 0}
COLLECTIONS: Mapping[str, Any] = {"collections": [COLLECTION], "next": None}
GONE: Mapping[str, Any] = {"deleted": "visitors"}
_MATCH = {
    "id": 7,
    "person_id": 3,
    "person_name": "Aaron Eckhart",
    "external_id": "badge-17",
    "metadata": _METADATA,
    "distance": 0.412345,
    "similarity": 95.2,
    "faces_within": None,
}
SEARCHED: Mapping[str, Any] = {
    "collection": "default",
    "model": _MODEL,
    "tolerance": 0.6,
    "tolerance_extrapolated": False,
    "faces": [{"box": BOX, "quality": QUALITY, "matches": [_MATCH]}],
    "stale": False,
    "seconds": 0.0,
}
SEARCHED_WITH_ONE: Mapping[str, Any] = {
    **SEARCHED,
    "faces": [{"box": None, "quality": None, "matches": [_MATCH]}],
}
