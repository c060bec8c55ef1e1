"""Putting faces into the gallery: one photo, or all photos of an archive."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from facesearch.config import LimitSettings, QualitySettings
from facesearch.errors import DatabaseUnavailable, FacesearchError, NoFaceFound, NotAnImage
from facesearch.interfaces import ImageDatabase, WorkerPool
from facesearch.records import BulkReport, EncodedPhoto, FileReport, NewFace, Outcome, PhotoFile
from facesearch.service.archive import Entry, PhotoArchive, is_archive
from facesearch.service.encode import EncodePhotos
from facesearch.service.names import base_name, person_and_version
from facesearch.service.refusal import check_quality

# Small enough that a photo is findable soon after it was encoded, large enough to cost little.
_FACES_PER_TRANSACTION = 64

# What the network gains from batches it has gained at four.
_PHOTOS_PER_TASK = 4


class _Photo(NamedTuple):
    position: int
    entry: Entry
    file: PhotoFile


def new_face(
    path: str, encoded: EncodedPhoto, quality: QualitySettings, only_top_folder: str | None = None
) -> NewFace:
    """Name the one face of an encoded photo by the photo's path.

    Raises:
        NoFaceFound: the photo has no face.
        FaceRefused: its quality is below a limit.
    """
    if not encoded.faces:
        raise NoFaceFound
    check_quality(encoded.faces[0], quality)
    person_name, version = person_and_version(path, only_top_folder)
    return NewFace(person_name, version, encoded.info, encoded.faces[0])


class BulkEnrolment:
    """One archive on its way into the database. Lives as long as one request; one thread uses it."""

    def __init__(
        self,
        database: ImageDatabase,
        model_id: str,
        pool: WorkerPool,
        encode_photos: EncodePhotos,
        limits: LimitSettings,
        quality: QualitySettings,
    ) -> None:
        self._database = database
        self._model_id = model_id
        self._pool = pool
        self._encode_photos = encode_photos
        self._limits = limits
        self._quality = quality
        self._reports: dict[int, FileReport] = {}
        self._in_work: deque[list[_Photo]] = deque()
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
            for group, outcome in self._encoded(archive):
                for photo, encoded in zip(group, outcome, strict=True):
                    self._take(photo, encoded, only_top_folder)
            self._write()
        finally:
            archive.close()
        return BulkReport(tuple(self._reports[position] for position in sorted(self._reports)))

    def _encoded(self, archive: PhotoArchive) -> Iterator[tuple[list["_Photo"], list[Outcome[EncodedPhoto]]]]:
        """Encode in groups, which share the network's batches; a group that is lost is done one by one."""
        for outcome in self._pool.map(self._encode_photos, self._groups(archive)):
            group = self._in_work.popleft()
            if outcome.value is not None:
                yield group, outcome.value
            elif len(group) == 1:
                yield group, [Outcome(error=outcome.error)]
            else:
                alone = self._pool.map(self._encode_photos, ([photo.file] for photo in group))
                yield group, [one.value[0] if one.value else Outcome(error=one.error) for one in alone]

    def _take(self, photo: "_Photo", encoded: Outcome[EncodedPhoto], only_top_folder: str | None) -> None:
        try:
            face = new_face(photo.entry.path, encoded.unwrap(), self._quality, only_top_folder)
        except FacesearchError as error:
            self._refuse(photo.position, photo.entry, error)
            return
        self._unwritten.append((photo.position, photo.entry, face))
        if len(self._unwritten) >= _FACES_PER_TRANSACTION:
            self._write()

    def _groups(self, archive: PhotoArchive) -> Iterator[list[PhotoFile]]:
        photos = self._photos(archive)
        while group := list(islice(photos, _PHOTOS_PER_TASK)):
            self._in_work.append(group)
            yield [photo.file for photo in group]

    def _photos(self, archive: PhotoArchive) -> Iterator["_Photo"]:
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
            yield _Photo(position, entry, PhotoFile(base_name(entry.path), data))

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
