"""The file that a collection is exported as: names of its members, and people and faces as lines of JSON.

A zip, to be read by other programs too; docs/export.md describes it. Pure functions, safe from any thread.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from facesearch.errors import Invalid
from facesearch.records import (
    Box,
    CopiedFace,
    CopiedPerson,
    Location,
    Metadata,
    PhotoInfo,
    Quality,
    StoredFace,
)

FORMAT, VERSION = "facesearch-collection", 1
MANIFEST, PEOPLE, FACES, VECTORS = "manifest.json", "people.jsonl", "faces.jsonl", "vectors.npy"
CROPS = "crops/{:05}.tar"
CROP_SUFFIXES = {"image/jpeg": "jpg", "image/webp": "webp", "image/png": "png"}

CROPS_A_MEMBER = 10_000
CROP_BYTES_A_MEMBER = 128 * 1024**2
LONGEST_LINE = 512 * 1024

_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)
_IDS = range(1, 2**63)
_NAME, _FILE_NAME, _TAKEN_AT, _METADATA_BYTES = 255, 1024, 40, 16 * 1024


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """What the manifest tells of a member: its bytes, unpacked, and their SHA-256 in hexadecimal."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file holds. Without a face it may name no model, and its vectors have no dimension."""

    collection: str
    model_id: str | None
    dimension: int | None
    people: int
    faces: int
    crops: int
    exported_at: str
    members: Mapping[str, MemberInfo]

    def as_json(self) -> bytes:
        """The manifest as its member holds it."""
        told = {"format": FORMAT, "version": VERSION, **asdict(self)}
        return json.dumps(told, indent=1, ensure_ascii=False).encode()

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read a manifest.

        Raises:
            Invalid: it is none, or of a version that this program does not know.
        """
        told = parse_object(data)
        if told.get("format") != FORMAT:
            raise Invalid("The file is no exported collection.")
        if told.get("version") != VERSION:
            raise Invalid("The file is of a version that this program does not know; a newer one may.")
        members = told.get("members")
        if not isinstance(members, dict):
            raise Invalid("The manifest names no members.")
        faces = _whole(told, "faces", range(2**40))
        return cls(
            _text(told, "collection", _NAME),
            _text(told, "model_id", 64) if faces else _optional_text(told, "model_id", 64),
            _whole(told, "dimension", range(1, 1025)) if faces else None,
            _whole(told, "people", range(2**40)),
            faces,
            _whole(told, "crops", range(2**40)),
            _text(told, "exported_at", 64),
            {str(name): _member(info) for name, info in members.items()},
        )


def person_line(person: CopiedPerson) -> bytes:
    """A person as a line."""
    created_at = person.created_at and person.created_at.isoformat()
    return _line({**asdict(person), "created_at": created_at})


def person_of(line: bytes) -> CopiedPerson:
    """Read a line of people.jsonl.

    Raises:
        Invalid: it cannot be used.
    """
    told = parse_object(line)
    kept = told.get("kept")
    if not isinstance(kept, bool):
        raise Invalid('"kept" is not true or false')
    name = _text(told, "name", _NAME)
    if not name.strip():
        raise Invalid('"name" is empty')
    cover = None if told.get("cover_face") is None else _whole(told, "cover_face", _IDS)
    created_at = None if told.get("created_at") is None else _moment(told, "created_at")
    return CopiedPerson(_whole(told, "id", _IDS), name, kept, cover, created_at)


def face_line(face: CopiedFace) -> bytes:
    """A face as a line, without its vector, its crop and its person's name."""
    stored, photo = face.stored, face.stored.photo
    place = photo.location
    told = {
        "id": stored.id,
        "person": stored.person_id,
        "external_id": stored.external_id,
        "metadata": dict(stored.metadata),
        "version": stored.version,
        "photo": {
            "file_name": photo.file_name,
            "width": photo.width,
            "height": photo.height,
            "taken_at": photo.taken_at,
            "location": None if place is None else [place.latitude, place.longitude],
            "sha256": face.photo_sha256 and face.photo_sha256.hex(),
            "bytes": face.photo_bytes,
        },
        "box": asdict(stored.box),
        "quality": None if stored.quality is None else asdict(stored.quality),
        "added_at": stored.added_at.isoformat(),
    }
    return _line(told)


def face_of(line: bytes, model_id: str, dimension: int) -> CopiedFace:
    """Read a line of faces.jsonl; the face has no person's name.

    Raises:
        Invalid: it cannot be used.
    """
    told = parse_object(line)
    photo = _object(told, "photo")
    digest = None if photo.get("sha256") is None else _digest(photo)
    stored = StoredFace(
        id=_whole(told, "id", _IDS),
        person_name="",
        version=_text(told, "version", _NAME),
        photo=PhotoInfo(
            _text(photo, "file_name", _FILE_NAME),
            _whole(photo, "width", _INT32),
            _whole(photo, "height", _INT32),
            _optional_text(photo, "taken_at", _TAKEN_AT),
            _location(photo),
        ),
        box=Box(**{side: _whole(_object(told, "box"), side, _INT32) for side in _names(Box)}),
        model_id=model_id,
        dimension=dimension,
        added_at=_moment(told, "added_at"),
        quality=_quality(told),
        external_id=_optional_text(told, "external_id", _NAME),
        metadata=_metadata(told),
        person_id=None if told.get("person") is None else _whole(told, "person", _IDS),
    )
    size = None if photo.get("bytes") is None else _whole(photo, "bytes", range(2**63))
    return CopiedFace(stored, digest, size)


def parse_object(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        Invalid: it is none.
    """
    try:
        told = json.loads(data.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Invalid("it is no JSON") from None
    if not isinstance(told, dict):
        raise Invalid("it is no JSON object")
    return told


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _no_number(_: str) -> float:
    raise ValueError


def _names(record: type) -> list[str]:
    return [one.name for one in fields(record)]


def _member(info: object) -> MemberInfo:
    if not isinstance(info, dict):
        raise Invalid("The manifest says nothing of a member.")
    _digest(info)
    return MemberInfo(_whole(info, "bytes", range(2**63)), info["sha256"])


def _object(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = told.get(name)
    if not isinstance(value, dict):
        raise Invalid(f'"{name}" is no object')
    return value


def _whole(told: Mapping[str, Any], name: str, within: range) -> int:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value not in within:
        raise Invalid(f'"{name}" is no whole number, or out of range')
    return value


def _number(told: Mapping[str, Any], name: str) -> float:
    value = told.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise Invalid(f'"{name}" is no number')
    return value


def _is_finite(value: float) -> bool:
    return value in _INT64 if isinstance(value, int) else math.isfinite(value)


def _text(told: Mapping[str, Any], name: str, most: int) -> str:
    value = told.get(name)
    if not isinstance(value, str) or len(value) > most or not _is_unicode(value):
        raise Invalid(f'"{name}" is no text of at most {most} characters')
    return value


def _optional_text(told: Mapping[str, Any], name: str, most: int) -> str | None:
    return None if told.get(name) is None else _text(told, name, most)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _moment(told: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(told, name, 64))
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Invalid(f'"{name}" is no time with its zone') from None


def _digest(told: Mapping[str, Any]) -> bytes:
    try:
        digest = bytes.fromhex(_text(told, "sha256", 64))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Invalid('"sha256" is no digest')
    return digest


def _location(photo: Mapping[str, Any]) -> Location | None:
    place = photo.get("location")
    if place is None:
        return None
    if not isinstance(place, list) or len(place) != 2:
        raise Invalid('"location" is no place')
    told = dict(zip(("latitude", "longitude"), place, strict=True))
    latitude, longitude = float(_number(told, "latitude")), float(_number(told, "longitude"))
    if abs(latitude) > 90 or abs(longitude) > 180:
        raise Invalid('"location" is outside the globe')
    return Location(latitude, longitude)


def _quality(told: Mapping[str, Any]) -> Quality | None:
    if told.get("quality") is None:
        return None
    quality = _object(told, "quality")
    measures = {name: float(_number(quality, name)) for name in _names(Quality) if name != "size_px"}
    return Quality(size_px=_whole(quality, "size_px", _INT64), **measures)


def _metadata(told: Mapping[str, Any]) -> Metadata:
    metadata = _object(told, "metadata")
    for name, value in metadata.items():
        good = _is_unicode(value) if isinstance(value, str) else isinstance(value, int | float)
        if not good or len(name) > _NAME or not _is_unicode(name):
            raise Invalid('"metadata" holds what is no text, number or boolean by its name')
        if not isinstance(value, str) and not _is_finite(value):
            raise Invalid('"metadata" holds a number that is out of range')
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > _METADATA_BYTES:
        raise Invalid(f'"metadata" has more than {_METADATA_BYTES // 1024} KiB')
    return metadata
