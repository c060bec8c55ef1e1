"""AGTAPI: the service's verbs, composed of a database and an encoder."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import BinaryIO

import numpy as np

from facesearch.config import LimitSettings
from facesearch.errors import DatabaseUnavailable, FaceNotFound, InvalidParameter
from facesearch.interfaces import API, FaceIndex, Image, ImageDatabase, ImageEncoder, WorkerPool
from facesearch.records import (
    AddedFace,
    BulkReport,
    EncodedPhoto,
    NamedMatch,
    PhotoFile,
    ProbeFace,
    StoredFace,
)
from facesearch.service.enrol import BulkEnrolment, new_face
from facesearch.service.names import base_name

LARGEST_K = 1000
LARGEST_TOLERANCE = 2.0

_log = logging.getLogger(__name__)


class AGTAPI(API):
    """Lives as long as its process, and owns the parts that it is made of. Any thread may call it.

    Args:
        database: the truth about faces.
        encoder: turns photos into embeddings in this process.
        index: the searchable copy of the database.
        pool: encodes the photos of a bulk side by side.
        open_image: decodes the bytes of a photo within limits.
        encode_photo: decodes a photo and encodes its largest face; picklable, runs in the pool.
        limits: what an archive may hold.
    """

    def __init__(
        self,
        database: ImageDatabase,
        encoder: ImageEncoder,
        index: FaceIndex,
        pool: WorkerPool,
        *,
        open_image: Callable[[bytes, str], Image],
        encode_photo: Callable[[PhotoFile], EncodedPhoto],
        limits: LimitSettings,
    ) -> None:
        self._database = database
        self._encoder = encoder
        self._index = index
        self._pool = pool
        self._open_image = open_image
        self._encode_photo = encode_photo
        self._limits = limits

    def open(self) -> None:
        """Prepare the database, or go on without it until it answers; load the models."""
        try:
            self._database.prepare()
        except DatabaseUnavailable as error:
            _log.warning("%s Requests that need it are refused until it answers.", error.message)
        self._encoder.ping()

    def search_faces(self, photo: bytes, file_name: str, k: int, tolerance: float | None) -> list[ProbeFace]:
        """See API."""
        if not 1 <= k <= LARGEST_K:
            raise InvalidParameter(f"k must be from 1 to {LARGEST_K}.")
        if tolerance is None:
            tolerance = self._encoder.tolerance
        if not 0 <= tolerance <= LARGEST_TOLERANCE:
            raise InvalidParameter(f"tolerance must be from 0 to {LARGEST_TOLERANCE:g}.")
        faces = self._encoder.encode(self._open_image(photo, base_name(file_name))).faces
        if not faces:
            return []
        self._index.catch_up(self._database)
        found = self._index.search(np.stack([face.embedding for face in faces]), k, tolerance)
        stored = self._database.get_faces(sorted({match.face_id for matches in found for match in matches}))
        return [
            ProbeFace(
                face.box,
                tuple(
                    NamedMatch(match.face_id, stored[match.face_id].person_name, match.distance)
                    for match in matches
                    if match.face_id in stored
                ),
            )
            for face, matches in zip(faces, found, strict=True)
        ]

    def add_face(self, photo: bytes, file_name: str) -> AddedFace:
        """See API."""
        name = base_name(file_name)
        encoded = self._encoder.encode(self._open_image(photo, name), only_largest=True)
        face = new_face(name, encoded)
        (face_id,) = self._database.add_faces([face], self._encoder.model_id)
        return AddedFace(face_id, face.person_name, face.face.box, encoded.faces_found)

    def add_faces_in_bulk(self, archive: BinaryIO) -> BulkReport:
        """See API."""
        bulk = BulkEnrolment(
            self._database, self._encoder.model_id, self._pool, self._encode_photo, self._limits
        )
        return bulk.run(archive)

    def get_face_info(self, face_id: int) -> StoredFace:
        """See API."""
        try:
            return self._database.get_faces([face_id])[face_id]
        except KeyError:
            raise FaceNotFound(f"There is no face with id {face_id}.") from None

    def close(self) -> None:
        """See API."""
        with ExitStack() as parts:
            parts.callback(self._database.close)
            parts.callback(self._index.close)
            parts.callback(self._pool.close)
