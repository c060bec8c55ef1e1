"""Putting faces into the gallery: one photo, or all photos of an archive."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import BinaryIO

from facesearch.config import LimitSettings
from facesearch.errors import DatabaseUnavailable, FacesearchError, NoFaceFound, NotAnImage
from facesearch.interfaces import ImageDatabase, WorkerPool
from facesearch.records import BulkReport, EncodedPhoto, FileReport, NewFace, PhotoFile
from facesearch.service.archive import Entry, PhotoArchive, is_archive
from facesearch.service.names import base_name, person_and_version

# Small enough that a photo is findable soon after it was encoded, large enough to cost little.
_FACES_PER_TRANSACTION = 64

_log = logging.getLogger(__name__)


def new_face(path: str, encoded: EncodedPhoto, only_top_folder: str | None = None) -> NewFace:
    """Name the one face of an encoded photo by the photo's path.

    Raises:
        NoFaceFound: the photo has no face.
    """
    if not encoded.faces:
        raise NoFaceFound
    person_name, version = person_and_version(path, only_top_folder)
    return NewFace(person_name, version, encoded.info, encoded.faces[0])


class BulkEnrolment:
    """One archive on its way into the database. Lives as long as one request; one thread uses it."""

    def __init__(
        self,
        database: ImageDatabase,
        model_id: str,
        pool: WorkerPool,
        encode_photo: Callable[[PhotoFile], EncodedPhoto],
        limits: LimitSettings,
    ) -> None:
        self._database = database
        self._model_id = model_id
        self._pool = pool
        self._encode_photo = encode_photo
        self._limits = limits
        self._reports: dict[int, FileReport] = {}
        self._in_work: deque[tuple[int, Entry]] = deque()
        self._unwritten: list[tuple[int, Entry, NewFace]] = []

    def run(self, file: BinaryIO) -> BulkReport:
        """Enrol the largest face of every photo; one bad file never costs the others.

        Raises:
            NotAnArchive, BrokenArchive, TooLarge: nothing was stored.
            DatabaseUnavailable: the message says how many faces had been stored before.
        """
        archive = PhotoArchive(file, self._limits)
        try:
            only_top_folder = archive.only_top_folder
            for outcome in self._pool.map(self._encode_photo, self._photos(archive)):
                position, entry = self._in_work.popleft()
                try:
                    face = new_face(entry.path, outcome.unwrap(), only_top_folder)
                except FacesearchError as error:
                    self._refuse(position, entry, error)
                    continue
                self._unwritten.append((position, entry, face))
                if len(self._unwritten) >= _FACES_PER_TRANSACTION:
                    self._write()
            self._write()
        finally:
            archive.close()
        return BulkReport(tuple(self._reports[position] for position in sorted(self._reports)))

    def _photos(self, archive: PhotoArchive) -> Iterator[PhotoFile]:
        """Read what is worth encoding; the pool takes the next one only when it has room."""
        for position, entry in enumerate(archive):
            if entry.reason_to_skip:
                self._report(position, entry, "skipped", entry.reason_to_skip)
                continue
            try:
                data = entry.read()
            except FacesearchError as error:
                self._report(position, entry, "failed", error.message)
                continue
            if is_archive(data):
                self._report(position, entry, "skipped", "An archive inside the archive.")
                continue
            self._in_work.append((position, entry))
            yield PhotoFile(base_name(entry.path), data)

    def _refuse(self, position: int, entry: Entry, error: FacesearchError) -> None:
        if isinstance(error, NoFaceFound):
            self._report(position, entry, "no_face", error.message)
        elif isinstance(error, NotAnImage) and not entry.claims_to_be_an_image:
            self._report(position, entry, "skipped", error.message)
        else:
            self._report(position, entry, "failed", error.message)

    def _write(self) -> None:
        if not self._unwritten:
            return
        try:
            ids = self._database.add_faces([face for _, _, face in self._unwritten], self._model_id)
        except DatabaseUnavailable as error:
            stored = sum(report.status == "inserted" for report in self._reports.values())
            raise DatabaseUnavailable(f"{error.message} {stored} faces had been stored before.") from None
        for (position, entry, face), face_id in zip(self._unwritten, ids, strict=True):
            self._reports[position] = FileReport(entry.path, "inserted", face_id, face.person_name)
        self._unwritten.clear()

    def _report(self, position: int, entry: Entry, status: str, reason: str) -> None:
        self._reports[position] = FileReport(entry.path, status, reason=reason)
