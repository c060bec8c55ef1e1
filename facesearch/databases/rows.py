"""Faces as rows of IMAGE_DATASET and back. Pure functions, safe from any thread."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np

from facesearch.databases.statements import INT64, is_unicode
from facesearch.databases.tables import (
    DIGEST_BYTES,
    FILE_NAME_WIDTH,
    MAX_DIMENSION,
    MAX_METADATA_BYTES,
    METADATA_NAME_WIDTH,
    MODEL_ID_WIDTH,
    NAME_WIDTH,
    TAKEN_AT_WIDTH,
)
from facesearch.errors import Conflict, InvalidParameter
from facesearch.records import (
    Box,
    Embedding,
    FaceChanges,
    FaceEdit,
    Location,
    Metadata,
    NewFace,
    PhotoInfo,
    Quality,
    StoredFace,
)

FACE_COLUMNS = [
    "id",
    "person_name",
    "version",
    "file_name",
    "photo_width",
    "photo_height",
    "box_top",
    "box_right",
    "box_bottom",
    "box_left",
    "taken_at",
    "latitude",
    "longitude",
    "model_id",
    "dimension",
    "quality",
    "added_at",
    "external_id",
    "metadata",
    "person_number",
]

_METADATA = ("metadata",)
_INT32 = range(-(2**31), 2**31)


def row_of(face: NewFace, model_id: str, added_at: datetime) -> dict[str, Any]:
    """Return a face's row without its collection and its person; `added_at` is UTC without a zone.

    A face that says when it was added keeps that.

    Raises:
        InvalidParameter: a text is too long, or a number, the digest or the embedding cannot be stored.
    """
    if face.photo_sha256 is not None and len(face.photo_sha256) != DIGEST_BYTES:
        raise InvalidParameter(f"A photo's digest has {DIGEST_BYTES} bytes.")
    photo, box, place = face.photo, face.face.box, face.photo.location
    row = {
        "person_name": _text(face.person_name, NAME_WIDTH, "person's name"),
        "version": _text(face.version, NAME_WIDTH, "version"),
        "file_name": _text(photo.file_name, FILE_NAME_WIDTH, "file's name"),
        "taken_at": None if photo.taken_at is None else _text(photo.taken_at, TAKEN_AT_WIDTH, "photo's date"),
        "latitude": None if place is None else _degrees(place.latitude, 90),
        "longitude": None if place is None else _degrees(place.longitude, 180),
        "model_id": _text(model_id, MODEL_ID_WIDTH, "model's id"),
        "dimension": face.face.embedding.size,
        "vector": vector_of(face.face.embedding),
        "quality": _quality_text(face.face.quality),
        "added_at": added_at if face.added_at is None else _utc(face.added_at),
        "photo_sha256": face.photo_sha256,
        "photo_bytes": face.photo_bytes,
        **_client_columns(face.external_id, face.metadata),
    }
    sizes = {
        "photo_width": photo.width,
        "photo_height": photo.height,
        "box_top": box.top,
        "box_right": box.right,
        "box_bottom": box.bottom,
        "box_left": box.left,
    }
    if not all(value in _INT32 for value in sizes.values()):
        raise InvalidParameter("A size or a box is out of range.")
    return {**row, **{name: int(value) for name, value in sizes.items()}}


def edited_columns(edit: FaceEdit) -> dict[str, Any]:
    """Return the columns that an edit sets.

    Raises:
        InvalidParameter: it names a field that cannot be edited, or a value cannot be stored.
    """
    columns = _client_columns(edit.external_id, edit.metadata)
    if not edit.fields <= columns.keys():
        raise InvalidParameter(f"Of a face, {' and '.join(columns)} can be changed.")
    return {name: value for name, value in columns.items() if name in edit.fields}


def _client_columns(external_id: str | None, metadata: Metadata) -> dict[str, str | None]:
    named = None if external_id is None else _text(external_id, NAME_WIDTH, "external id", ["external_id"])
    return {"external_id": named, "metadata": _metadata_text(metadata)}


def embedding_of(row: Mapping[str, Any]) -> Embedding:
    """Return the embedding of a row with id, dimension and vector.

    Raises:
        Conflict: it is damaged.
    """
    if len(row["vector"]) != 4 * row["dimension"]:
        raise Conflict(f"The stored vector of face {row['id']} is damaged.")
    return np.frombuffer(row["vector"], "<f4").astype(np.float32, copy=False)


def face_of(row: Mapping[str, Any]) -> StoredFace:
    """Return the record of a row with FACE_COLUMNS.

    Raises:
        Conflict: the stored quality or metadata is damaged.
    """
    latitude, longitude = row["latitude"], row["longitude"]
    place = None if latitude is None or longitude is None else Location(latitude, longitude)
    return StoredFace(
        id=row["id"],
        person_name=row["person_name"],
        version=row["version"],
        photo=PhotoInfo(row["file_name"], row["photo_width"], row["photo_height"], row["taken_at"], place),
        box=Box(row["box_top"], row["box_right"], row["box_bottom"], row["box_left"]),
        model_id=row["model_id"],
        dimension=row["dimension"],
        added_at=row["added_at"].replace(tzinfo=UTC),
        quality=_quality(row["id"], row["quality"]),
        external_id=row["external_id"],
        metadata=_metadata(row["id"], row["metadata"]),
        person_id=row["person_number"] or None,
    )


def changes_of(rows: Sequence[Sequence[Any]]) -> FaceChanges:
    """Return one model's history: number, face's id, person, dimension and vector each, by columns.

    None as a dimension is a removal.

    Raises:
        Conflict: a vector's length is not its dimension's, or a dimension not that of the others.
    """
    # Columns at a time: a rebuild brings a million rows through here.
    numbers, ids, persons, dimensions, vectors = zip(*rows, strict=True) if rows else ((),) * 5
    removed = np.array([dimension is None for dimension in dimensions], bool)
    dimension = next((d for d in dimensions if d is not None), 0)
    if removed.any():
        blank = bytes(4 * dimension)
        vectors = tuple(blank if d is None else v for d, v in zip(dimensions, vectors, strict=True))
    if not set(dimensions) <= {dimension, None} or not set(map(len, vectors)) <= {4 * dimension}:
        fits = [
            d in (dimension, None) and len(v) == 4 * dimension
            for d, v in zip(dimensions, vectors, strict=True)
        ]
        raise Conflict(f"The stored vector of face {ids[fits.index(False)]} is damaged.")
    embeddings = np.frombuffer(b"".join(vectors), "<f4").astype(np.float32, copy=False)
    return FaceChanges(
        np.array(numbers, np.int64),
        np.array(ids, np.int64),
        np.where(removed, 0, np.array(persons, np.int64)),
        removed,
        embeddings.reshape(len(rows), dimension),
    )


def vector_of(embedding: Embedding) -> bytes:
    """Return an embedding as little-endian float32 bytes.

    Raises:
        InvalidParameter: it is not one row of 1 to 1,024 finite numbers.
    """
    if embedding.ndim != 1 or not 1 <= embedding.size <= MAX_DIMENSION:
        raise InvalidParameter(f"An embedding has 1 to {MAX_DIMENSION} numbers.")
    with np.errstate(over="ignore"):
        vector = embedding.astype("<f4")
    if not np.isfinite(vector).all():
        raise InvalidParameter("An embedding has finite numbers.")
    return vector.tobytes()


def _quality_text(quality: Quality | None) -> str | None:
    return None if quality is None else json.dumps(asdict(quality))


def _quality(face_id: int, text: str | None) -> Quality | None:
    try:
        return None if text is None else Quality(**json.loads(text))
    except (TypeError, ValueError):
        raise Conflict(f"The stored quality of face {face_id} is damaged.") from None


def _metadata_text(metadata: Metadata) -> str | None:
    if not metadata:
        return None
    for name, value in metadata.items():
        _text(name, METADATA_NAME_WIDTH, "name of a face's metadata", _METADATA)
        if not isinstance(value, str | int | float) or (
            isinstance(value, float) and not math.isfinite(value)
        ):
            raise InvalidParameter(
                "Metadata are texts, finite numbers and booleans by their names.", _METADATA
            )
        if isinstance(value, int) and value not in INT64:
            raise InvalidParameter("A whole number in a face's metadata has more than 64 bits.", _METADATA)
        if isinstance(value, str) and not is_unicode(value):
            raise InvalidParameter("A text is not valid Unicode.", _METADATA)
    # Characters stand for themselves, so that the limit is the same in all languages' scripts.
    text = json.dumps(dict(metadata), ensure_ascii=False)
    if len(text.encode()) > MAX_METADATA_BYTES:
        most = MAX_METADATA_BYTES // 1024
        raise InvalidParameter(f"A face's metadata has more than {most} KiB.", _METADATA)
    return text


def _metadata(face_id: int, text: str | None) -> Metadata:
    try:
        return {} if text is None else dict(json.loads(text))
    except (TypeError, ValueError):
        raise Conflict(f"The stored metadata of face {face_id} is damaged.") from None


def _text(text: str, width: int, what: str, parameters: Sequence[str] = ()) -> str:
    if not isinstance(text, str) or not is_unicode(text):
        raise InvalidParameter(f"The {what} is no valid text.", parameters)
    if len(text) > width:
        raise InvalidParameter(f"The {what} has more than {width} characters.", parameters)
    return text


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidParameter("A time has its zone.")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _degrees(value: float, limit: int) -> float:
    if not (math.isfinite(value) and abs(value) <= limit):
        raise InvalidParameter("A place is outside the globe.")
    return float(value)
