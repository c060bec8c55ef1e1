"""What the records look like as JSON."""

import json
from dataclasses import asdict
from typing import Any

from facesearch.records import (
    FILE_STATUSES,
    AddedFace,
    Box,
    BulkReport,
    FileReport,
    Job,
    Quality,
    SearchResult,
    StoredFace,
)


def text(value: Any) -> str:
    """JSON on one line, as compact as it gets."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def box(value: Box) -> dict[str, int]:
    """A box as its four sides, in pixels of the upright photo."""
    return {"top": value.top, "right": value.right, "bottom": value.bottom, "left": value.left}


def quality(value: Quality | None) -> dict[str, float] | None:
    """A face's quality, rounded to what the estimates are good for."""
    if value is None:
        return None
    return {name: round(number, 3) for name, number in asdict(value).items()}


def searched(found: SearchResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """The body and the result of a search; only the answer rounds a distance, to 6 digits."""
    lists = [
        [
            {
                "id": match.face_id,
                "person_name": match.person_name,
                "distance": round(match.distance, 6),
            }
            for match in face.matches
        ]
        for face in found.faces
    ]
    body = {"matches": {f"face{number}": matches for number, matches in enumerate(lists, 1)}}
    result = {
        "faces": [
            {"box": box(face.box), "quality": quality(face.quality), "matches": matches}
            for face, matches in zip(found.faces, lists, strict=True)
        ],
        "stale": found.stale_s is not None,
        "seconds": round(found.stale_s or 0.0, 3),
    }
    if found.chosen is not None:
        result["tolerance"] = round(found.chosen.tolerance, 6)
        result["tolerance_extrapolated"] = found.chosen.extrapolated
    return body, result


def added(face: AddedFace) -> tuple[str, dict[str, Any]]:
    """The body and the result of an enrolment."""
    return _sentence(face), {
        "id": face.id,
        "person_name": face.person_name,
        "box": box(face.box),
        "faces_found": face.faces_found,
        "quality": quality(face.quality),
        "duplicate_of": face.duplicate_of,
    }


def _sentence(face: AddedFace) -> str:
    if face.duplicate_of == face.id:
        return f"The same photo is stored already: {face.person_name} with id {face.id}. Nothing was added."
    others = face.faces_found - 1
    note = f" It is the largest of {face.faces_found} faces in the photo." if others else ""
    known = "" if face.duplicate_of is None else f" The same photo is stored with id {face.duplicate_of} too."
    return f"Added {face.person_name} with id {face.id}.{note}{known}"


def added_in_bulk(report: BulkReport) -> tuple[str, dict[str, Any]]:
    """The body and the result of a bulk enrolment."""
    files = [_file("file", file) for file in report.files]
    inserted = report.counts["inserted"]
    return f"Inserted {inserted} images in database.", {**report.counts, "files": files}


def file(report: FileReport) -> dict[str, Any]:
    """What became of one file of an import."""
    return _file("path", report)


def _file(path_key: str, report: FileReport) -> dict[str, Any]:
    return {
        path_key: report.path,
        "status": report.status,
        "id": report.id,
        "person_name": report.person_name,
        "reason": report.reason,
        "faces": [{"id": face.id, "box": box(face.box)} for face in report.faces],
        "duplicate_of": report.duplicate_of,
    }


def job(value: Job) -> dict[str, Any]:
    """An import as it stands; `rate` is in files per second, `left_s` in seconds."""
    here = f"/v1/jobs/{value.id}"
    return {
        "id": value.id,
        "state": value.state,
        "file_name": value.file_name,
        "kind": value.kind,
        "collection": value.options.collection,
        "faces": value.options.faces,
        "duplicates": "skip" if value.options.skip_duplicates else "store",
        "counts": {"total": value.total, **{status: value.counts.get(status, 0) for status in FILE_STATUSES}},
        "done": value.done,
        "rate": None if value.rate is None else round(value.rate, 3),
        "left_s": None if value.left_s is None else round(max(value.left_s, 0.0), 1),
        "created_at": value.created_at.isoformat(),
        "started_at": value.started_at and value.started_at.isoformat(),
        "finished_at": value.finished_at and value.finished_at.isoformat(),
        "error": value.error_code and {"code": value.error_code, "message": value.error},
        "links": {
            "self": here,
            "files": f"{here}/files",
            "report": f"{here}/report.csv",
            "events": f"{here}/events",
        },
    }


def info(face: StoredFace) -> dict[str, Any]:
    """The body of a face's information."""
    place = face.photo.location
    return {
        "id": face.id,
        "person_name": face.person_name,
        "version": face.version,
        "date": face.photo.taken_at,
        "date and time": face.photo.taken_at,  # the older spelling, which programs in use read
        "location": place and {"latitude": place.latitude, "longitude": place.longitude},
        "file_name": face.photo.file_name,
        "size": {"width": face.photo.width, "height": face.photo.height} if face.photo.width else None,
        "box": box(face.box) if face.box.area else None,
        "quality": quality(face.quality),
        "model": face.model_id,
        "dimension": face.dimension,
        "added_at": face.added_at.isoformat(),
        "external_id": face.external_id,
        "metadata": dict(face.metadata),
    }
