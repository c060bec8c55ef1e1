"""What the records look like as JSON."""

from dataclasses import asdict
from typing import Any

from facesearch.records import AddedFace, Box, BulkReport, Quality, SearchResult, StoredFace


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
    others = face.faces_found - 1
    note = f" It is the largest of {face.faces_found} faces in the photo." if others else ""
    return f"Added {face.person_name} with id {face.id}.{note}", {
        "id": face.id,
        "person_name": face.person_name,
        "box": box(face.box),
        "faces_found": face.faces_found,
        "quality": quality(face.quality),
    }


def added_in_bulk(report: BulkReport) -> tuple[str, dict[str, Any]]:
    """The body and the result of a bulk enrolment."""
    files = [
        {
            "file": file.path,
            "status": file.status,
            "id": file.id,
            "person_name": file.person_name,
            "reason": file.reason,
        }
        for file in report.files
    ]
    inserted = report.counts["inserted"]
    return f"Inserted {inserted} images in database.", {**report.counts, "files": files}


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
    }
