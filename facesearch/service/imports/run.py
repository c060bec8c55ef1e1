"""One import at work: from the files of an archive or a folder to faces and reports in the database."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from facesearch.config import QualitySettings
from facesearch.errors import (
    CollectionNotFound,
    FacesearchError,
    ModelMismatch,
    NoFaceFound,
    NotAnImage,
    SeveralFaces,
    Unavailable,
)
from facesearch.interfaces import ANY_FACE, JobStore, WorkerPool
from facesearch.records import EncodedPhoto, FileReport, Job, Outcome, PhotoFile, ReportedFace
from facesearch.service.encode import LARGEST_FACE, EncodePhotos
from facesearch.service.enrol import LARGEST, Fingerprint, new_faces
from facesearch.service.first_answers import FirstAnswers
from facesearch.service.galleries import Galleries
from facesearch.service.imports.writer import ERASED, FoundFaces, ResultWriter, duplicate
from facesearch.service.intake.names import base_name
from facesearch.service.intake.naming import Naming
from facesearch.service.intake.photo_source import Entry, PhotoSource, is_archive
from facesearch.service.jobs.lost_groups import encoded_alone
from facesearch.service.jobs.patience import Patience, Stopped

# What the network gains from batches it has gained at four; of large photos it gains nothing.
_PHOTOS_A_TASK = 4
_BYTES_A_TASK = 4 * 1024**2

_UNUSED = "people.csv names this file, but it is not there."


class _Photo(NamedTuple):
    position: int
    entry: Entry
    file: PhotoFile
    known_by: Fingerprint


@dataclass(frozen=True)
class Enrolment:
    """The parts that imports are made with; they live as long as their process.

    Args:
        galleries: know each collection's faces and its model by now.
        encode_photos: the pool's task.
        quality: what a face's picture must have.
    """

    galleries: Galleries
    answers: FirstAnswers
    jobs: JobStore
    pool: WorkerPool
    encode_photos: EncodePhotos
    quality: QualitySettings


class ImportRun:
    """One job in the hands of one process. Lives as long as that, and belongs to its thread.

    A file's faces and its report are written in one transaction, in which the job must still be the owner's.
    So each file is done once, whoever dies or takes over when, and what has no report by then is still to
    do. While the database is away the run waits and goes on.

    Args:
        owner: who holds the job's lease.
        stop: set, by any thread, to have the run end soon, with Stopped.
        on_report: called after reports were written.
        erased: asks for the positions of files that were erased from the source by now.
    """

    def __init__(
        self,
        parts: Enrolment,
        job: Job,
        source: PhotoSource,
        owner: str,
        stop: threading.Event,
        on_report: Callable[[], None] = lambda: None,
        erased: Callable[[], frozenset[int]] = frozenset,
    ) -> None:
        self._parts = parts
        self._job = job
        self._source = source
        self._owner = owner
        self._stop = stop
        self._on_report = on_report
        self._erased = erased
        self._database = parts.galleries.database(job.collection)
        self._patiently = Patience(job.id, stop)
        self._in_work: deque[list[_Photo]] = deque()

    def run(self) -> None:
        """Do every file that has no report; begin again where the collection's model is switched meanwhile.

        Raises:
            Stopped: `stop` was set.
            LeaseLost: the job was cancelled, or is another process's by now.
            FacesearchError: the job as a whole cannot be done.
        """
        model_id = self._patiently(lambda _: self._model_id())
        while True:
            try:
                return self._run(model_id)
            except ModelMismatch:
                used, model_id = model_id, self._patiently(lambda _: self._model_id())
                if model_id == used:
                    raise
                self._in_work.clear()

    def _model_id(self) -> str:
        galleries, collection = self._parts.galleries, self._job.options.collection
        found = galleries.find(collection)
        if found.number != self._job.collection:
            raise CollectionNotFound(f"The collection {collection} is not the one of this import.")
        return galleries.encoder_of(found).model_id

    def _run(self, model_id: str) -> None:
        parts, options = self._parts, self._job.options
        self._reported = self._patiently(lambda _: parts.jobs.reported(self._job.id))
        self._task = replace(
            parts.encode_photos,
            model_id=model_id,
            wanted=LARGEST_FACE if options.faces == LARGEST else ANY_FACE,
        )
        people = self._source.people
        unused = people.unused(entry.path for entry in self._source) if people else []
        self._writer = ResultWriter(
            self._database,
            parts.jobs,
            self._job,
            self._owner,
            model_id,
            len(self._source) + len(unused),
            self._patiently,
            self._on_report,
            self._erased,
        )
        try:
            self._enrol()
            for position, path in enumerate(unused, len(self._source)):
                if position not in self._reported:
                    self._writer.keep(position, FileReport(path, "failed", reason=_UNUSED))
            self._writer.write()
        except (Stopped, Unavailable):
            with suppress(FacesearchError):  # what is encoded need not be encoded again by who goes on
                self._writer.write_at_once()
            raise

    def _enrol(self) -> None:
        outcomes = self._encoded()
        try:
            for group, encoded in outcomes:
                for photo, outcome in zip(group, encoded, strict=True):
                    self._take(photo, outcome)
                if self._stop.is_set():
                    raise Stopped
        finally:
            outcomes.close()

    def _encoded(self) -> Generator[tuple[list[_Photo], list[Outcome[EncodedPhoto]]]]:
        """Encode in groups, which share the network's batches; a group that is lost is done one by one."""
        for outcome in self._parts.pool.map(self._task, self._groups()):
            group = self._in_work.popleft()
            encoded = outcome.value or [
                encoded_alone(
                    self._parts.pool, self._task, one.file, outcome, len(group), self._patiently.pause
                )
                for one in group
            ]
            yield group, encoded

    def _groups(self) -> Iterator[list[PhotoFile]]:
        for group in _grouped(self._photos()):
            if self._job.options.skip_duplicates:
                group = self._without_stored(group)
            if group:
                self._in_work.append(group)
                yield [photo.file for photo in group]

    def _photos(self) -> Iterator[_Photo]:
        """Read what is worth encoding; the pool takes the next one only when it has room."""
        erased = self._erased()
        for position, entry in enumerate(self._source):
            if self._stop.is_set():
                raise Stopped
            if position in self._reported:
                continue
            if position in erased:
                self._writer.keep(position, ERASED)
                continue
            if entry.reason_to_skip:
                self._writer.keep(position, FileReport(entry.path, "skipped", reason=entry.reason_to_skip))
                continue
            try:
                data = entry.read()
            except FacesearchError as error:
                self._writer.keep(position, FileReport(entry.path, "failed", reason=error.message))
                continue
            if is_archive(data):
                self._writer.keep(
                    position, FileReport(entry.path, "skipped", reason="An archive inside the archive.")
                )
                continue
            yield _Photo(position, entry, PhotoFile(base_name(entry.path), data), Fingerprint.of(data))

    def _without_stored(self, group: list[_Photo]) -> list[_Photo]:
        """Report the photos that are stored already, which spares encoding them; return the others."""
        digests = [photo.known_by.sha256 for photo in group]
        stored = self._patiently(lambda _: self._database.faces_of_photos(digests))
        for photo in group:
            if photo.known_by.sha256 in stored:
                self._writer.keep(photo.position, duplicate(photo.entry.path, stored[photo.known_by.sha256]))
        return [photo for photo in group if photo.known_by.sha256 not in stored]

    def _take(self, photo: _Photo, outcome: Outcome[EncodedPhoto]) -> None:
        path = photo.entry.path
        try:
            faces = new_faces(
                Naming.in_source(path, self._source),
                outcome.unwrap(),
                photo.known_by,
                self._parts.quality,
                self._job.options.faces,
            )
        except NoFaceFound as error:
            self._writer.keep(photo.position, FileReport(path, "no_face", reason=error.message))
        except FacesearchError as error:
            other = isinstance(error, NotAnImage) and not photo.entry.claims_to_be_an_image
            boxes = outcome.value.faces if outcome.value and isinstance(error, SeveralFaces) else ()
            refused = tuple(ReportedFace(face.box) for face in boxes)
            status = "skipped" if other else "failed"
            self._writer.keep(photo.position, FileReport(path, status, reason=error.message, faces=refused))
        else:
            self._writer.keep(photo.position, FoundFaces(path, photo.known_by.sha256, faces))


def _grouped(photos: Iterator[_Photo]) -> Iterator[list[_Photo]]:
    group: list[_Photo] = []
    size = 0
    for photo in photos:
        if group and (len(group) == _PHOTOS_A_TASK or size + len(photo.file.data) > _BYTES_A_TASK):
            yield group
            group, size = [], 0
        group.append(photo)
        size += len(photo.file.data)
    if group:
        yield group
