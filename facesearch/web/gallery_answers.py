"""What faces, people, collections and searches look like as JSON below /v1.

Distances are rounded to 6 digits, similarities to 2; what is within was decided before.
"""

from typing import Any

from facesearch.records import (
    Collection,
    EnrolledPhoto,
    NamedMatch,
    Person,
    SearchResult,
    StoredFace,
)
from facesearch.web.answers import box, quality
from facesearch.web.photos_answers import similarity


def face(value: StoredFace) -> dict[str, Any]:
    """What is stored about a face."""
    place = value.photo.location
    return {
        "id": value.id,
        "person_id": value.person_id,
        "person_name": value.person_name or None,
        "external_id": value.external_id,
        "metadata": dict(value.metadata),
        "file_name": value.photo.file_name,
        "size": {"width": value.photo.width, "height": value.photo.height} if value.photo.width else None,
        "taken_at": value.photo.taken_at,
        "location": place and {"latitude": place.latitude, "longitude": place.longitude},
        "box": box(value.box) if value.box.area else None,
        "quality": quality(value.quality),
        "model": value.model_id,
        "dimension": value.dimension,
        "added_at": value.added_at.isoformat(),
    }


def enrolled(photo: EnrolledPhoto) -> dict[str, Any]:
    """What became of a photo."""
    return {
        "faces": [face(one) for one in photo.faces],
        "faces_found": photo.faces_found,
        "duplicate_of": photo.duplicate_of,
    }


def person(value: Person) -> dict[str, Any]:
    """A person."""
    return {
        "id": value.id,
        "name": value.name,
        "faces": value.faces,
        "cover_face": value.cover_face,
        "created_at": value.created_at and value.created_at.isoformat(),
    }


def collection(value: Collection) -> dict[str, Any]:
    """A collection with its counts."""
    return {
        "name": value.name,
        "model": value.model_id,
        "next_model": value.next_model_id,
        "faces": value.faces,
        "people": value.people,
        "created_at": value.created_at.isoformat(),
    }


def searched(found: SearchResult, collection_name: str) -> dict[str, Any]:
    """Probes with their matches in a collection."""
    return {
        "collection": collection_name,
        "model": found.model_id,
        "tolerance": None if found.tolerance is None else round(found.tolerance, 6),
        "tolerance_extrapolated": found.chosen is not None and found.chosen.extrapolated,
        "faces": [
            {
                "box": box(probe.box) if probe.box.area else None,
                "quality": quality(probe.quality),
                "matches": [_match(match) for match in probe.matches],
            }
            for probe in found.faces
        ],
        "stale": found.stale_s is not None,
        "seconds": round(found.stale_s or 0.0, 3),
    }


def _match(match: NamedMatch) -> dict[str, Any]:
    return {
        "id": match.face_id,
        "person_id": match.person_id,
        "person_name": match.person_name or None,
        "external_id": match.external_id,
        "metadata": dict(match.metadata),
        "distance": round(match.distance, 6),
        "similarity": similarity(match.similarity),
        "faces_within": match.faces_within,
    }
