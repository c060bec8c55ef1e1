"""One import at work: from the files of an archive or a folder to faces and reports in the database."""

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple, TypeVar

from facesearch.config import QualitySettings
from facesearch.errors import (
    DatabaseUnavailable,
    FacesearchError,
    InvalidParameter,
    NoFaceFound,
    NotAnImage,
    SeveralFaces,
    Unavailable,
)
from facesearch.interfaces import ANY_FACE, ImageDatabase, JobStore, WorkerPool
from facesearch.records import (
    EncodedPhoto,
    FileReport,
    Job,
    NewFace,
    Outcome,
    PhotoFile,
    ReportedFace,
)
from facesearch.service.encode import LARGEST_FACE, EncodePhotos
from facesearch.service.enrol import LARGEST, Naming, new_faces
from facesearch.service.names import base_name
from facesearch.service.photo_source import Entry, PhotoSource, is_archive

# Small enough that a photo is findable soon after it was encoded, large enough to cost little.
_FACES_A_TRANSACTION = 64
_REPORTS_A_TRANSACTION = 500
_WRITE_EVERY_S = 2.0
_MOST_FACES = 5_000
# What the network gains from batches it has gained at four.
_PHOTOS_A_TASK = 4

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_POOL_TRIES = 3

_UNUSED = "people.csv names this file, but it is not there."

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run was asked to end before its job did."""


class _Photo(NamedTuple):
    position: int
    entry: Entry
    file: PhotoFile
    sha256: bytes


@dataclass
class _Found:
    """The faces of a photo that are to be stored, and after that, its report."""

    path: str
    sha256: bytes
    faces: list[NewFace]


_Result = FileReport | _Found


@dataclass(frozen=True)
class Enrolment:
    """The parts that an import is made with; they live as long as their process.

    Args:
        model_id: asks which vector space the gallery has by now.
        encode_photos: the pool's task.
        quality: what a face's picture must have.
    """

    database: ImageDatabase
    jobs: JobStore
    pool: WorkerPool
    model_id: Callable[[], str]
    encode_photos: EncodePhotos
    quality: QualitySettings


@dataclass
class ImportRun:
    """One job in the hands of one process. Lives as long as that; one thread uses it, any may set `stop`.

    A file's faces and its report are written in one transaction, in which the job must still be the owner's.
    So each file is done once, whoever dies or takes over when, and what has no report by then is still to
    do. While the database is away the run waits and goes on.

    Args:
        owner: who holds the job's lease.
        stop: set it to have the run end soon, with Stopped.
        on_report: called after reports were written.
    """

    parts: Enrolment
    job: Job
    source: PhotoSource
    owner: str
    stop: threading.Event
    on_report: Callable[[], None] = lambda: None
    _in_work: deque[list[_Photo]] = field(default_factory=deque)
    _results: dict[int, _Result] = field(default_factory=dict)
    _waiting_faces: int = 0

    def run(self) -> None:
        """Do every file that has no report.

        Raises:
            Stopped: `stop` was set.
            LeaseLost: the job was cancelled, or is another process's by now.
            FacesearchError: the job as a whole cannot be done.
        """
        self._written_at = time.monotonic()
        self._reported = self._patiently(lambda _: self.parts.jobs.reported(self.job.id))
        self._model_id = self._patiently(lambda _: self.parts.model_id())
        options = self.job.options
        self._task = replace(
            self.parts.encode_photos,
            model_id=self._model_id,
            wanted=LARGEST_FACE if options.faces == LARGEST else ANY_FACE,
        )
        people = self.source.people
        unused = people.unused(entry.path for entry in self.source) if people else []
        self._total = len(self.source) + len(unused)
        try:
            self._enrol()
            for position, path in enumerate(unused, len(self.source)):
                if position not in self._reported:
                    self._keep(position, FileReport(path, "failed", reason=_UNUSED))
            self._write()
        except Stopped:
            if self._results:  # what is encoded need not be encoded again by whoever goes on
                with suppress(FacesearchError):
                    self._write_once(again=True)
            raise

    def _enrol(self) -> None:
        outcomes = self._encoded()
        try:
            for group, encoded in outcomes:
                for photo, outcome in zip(group, encoded, strict=True):
                    self._take(photo, outcome)
                if self.stop.is_set():
                    raise Stopped
        finally:
            outcomes.close()

    def _encoded(self) -> Generator[tuple[list[_Photo], list[Outcome[EncodedPhoto]]]]:
        """Encode in groups, which share the network's batches; a group that is lost is done one by one."""
        for outcome in self.parts.pool.map(self._task, self._groups()):
            group = self._in_work.popleft()
            if outcome.value is not None:
                yield group, outcome.value
            else:
                yield group, [self._encoded_alone(photo, outcome, len(group)) for photo in group]

    def _encoded_alone(
        self, photo: _Photo, lost: Outcome[list[Outcome[EncodedPhoto]]], group: int
    ) -> Outcome[EncodedPhoto]:
        """Encode the photo of a group that was lost, unless it was lost by itself."""
        outcome, tries = lost, 1
        while outcome.value is None and (group > 1 or type(outcome.error) is Unavailable):
            if type(outcome.error) is Unavailable:  # none of the photos' faults
                if tries > _POOL_TRIES:
                    break
                self._pause(tries * _LONGEST_PAUSE_S)
            (outcome,) = self.parts.pool.map(self._task, [[photo.file]])
            group, tries = 1, tries + 1
        return outcome.value[0] if outcome.value else Outcome(error=outcome.error)

    def _groups(self) -> Iterator[list[PhotoFile]]:
        photos = self._photos()
        while group := list(islice(photos, _PHOTOS_A_TASK)):
            if self.job.options.skip_duplicates:
                group = self._without_stored(group)
            if group:
                self._in_work.append(group)
                yield [photo.file for photo in group]

    def _photos(self) -> Iterator[_Photo]:
        """Read what is worth encoding; the pool takes the next one only when it has room."""
        for position, entry in enumerate(self.source):
            if self.stop.is_set():
                raise Stopped
            if position in self._reported:
                continue
            if entry.reason_to_skip:
                self._keep(position, FileReport(entry.path, "skipped", reason=entry.reason_to_skip))
                continue
            try:
                data = entry.read()
            except FacesearchError as error:
                self._keep(position, FileReport(entry.path, "failed", reason=error.message))
                continue
            if is_archive(data):
                self._keep(
                    position, FileReport(entry.path, "skipped", reason="An archive inside the archive.")
                )
                continue
            yield _Photo(
                position, entry, PhotoFile(base_name(entry.path), data), hashlib.sha256(data).digest()
            )

    def _without_stored(self, group: list[_Photo]) -> list[_Photo]:
        """Report the photos that are stored already, which spares encoding them; return the others."""
        digests = [photo.sha256 for photo in group]
        stored = self._patiently(lambda _: self.parts.database.faces_of_photos(digests))
        for photo in group:
            if photo.sha256 in stored:
                self._keep(photo.position, _duplicate(photo.entry.path, stored[photo.sha256]))
        return [photo for photo in group if photo.sha256 not in stored]

    def _take(self, photo: _Photo, outcome: Outcome[EncodedPhoto]) -> None:
        path = photo.entry.path
        try:
            faces = new_faces(
                Naming.in_source(path, self.source),
                outcome.unwrap(),
                photo.sha256,
                self.parts.quality,
                self.job.options.faces,
            )
        except NoFaceFound as error:
            self._keep(photo.position, FileReport(path, "no_face", reason=error.message))
        except FacesearchError as error:
            other = isinstance(error, NotAnImage) and not photo.entry.claims_to_be_an_image
            boxes = outcome.value.faces if outcome.value and isinstance(error, SeveralFaces) else ()
            refused = tuple(ReportedFace(face.box) for face in boxes)
            status = "skipped" if other else "failed"
            self._keep(photo.position, FileReport(path, status, reason=error.message, faces=refused))
        else:
            self._keep(photo.position, _Found(path, photo.sha256, faces))

    def _keep(self, position: int, result: _Result) -> None:
        """Hold a result until there are enough for a transaction, or until the last one was a while ago."""
        faces = len(result.faces) if isinstance(result, _Found) else 0
        if self._waiting_faces + faces > _MOST_FACES:
            self._write()
        self._results[position] = result
        self._waiting_faces += faces
        if (
            self._waiting_faces >= _FACES_A_TRANSACTION
            or len(self._results) >= _REPORTS_A_TRANSACTION
            or time.monotonic() - self._written_at >= _WRITE_EVERY_S
        ):
            self._write()

    def _write(self) -> None:
        if not self._results:
            return
        try:
            self._patiently(self._write_once)
        except InvalidParameter as error:
            self._write_one_by_one(error)
        self._results.clear()
        self._waiting_faces = 0
        self._written_at = time.monotonic()
        self.on_report()

    def _write_one_by_one(self, error: InvalidParameter) -> None:
        """Find the photo that the database does not take, such as one with an endless name, and say so."""
        results = self._results
        for position, result in results.items():
            if len(results) > 1:
                self._results = {position: result}
                self._write()
            elif isinstance(result, _Found):
                self._results = {position: FileReport(result.path, "failed", reason=error.message)}
                self._patiently(self._write_once)
            else:
                raise error

    def _write_once(self, again: bool) -> None:
        """Store what was found and report every file, in one transaction."""
        jobs, results = self.parts.jobs, self._results
        with self.parts.database.alone():
            if again:  # the attempt before may have been committed and its answer lost
                there = jobs.reported(self.job.id)
                results = {position: result for position, result in results.items() if position not in there}
                if not results:
                    return
            worked_s = time.monotonic() - self._written_at
            jobs.report(self.job.id, self.owner, self._stored(results), self._total, worked_s)

    def _stored(self, results: Mapping[int, _Result]) -> dict[int, FileReport]:
        """Store the faces among the results, and return every file's report; nobody else adds meanwhile."""
        found = [result for result in results.values() if isinstance(result, _Found)]
        first = self.parts.database.faces_of_photos(list({photo.sha256 for photo in found}))
        adding = []
        coming = set(first)
        for photo in found:
            if not (self.job.options.skip_duplicates and photo.sha256 in coming):
                adding.append(photo)
            coming.add(photo.sha256)
        new = [face for photo in adding for face in photo.faces]
        ids = iter(self.parts.database.add_faces(new, self._model_id) if new else ())
        reports: dict[int, FileReport] = {}
        waiting = {id(photo) for photo in adding}
        for position, result in results.items():
            if isinstance(result, FileReport):
                reports[position] = result
            elif id(result) not in waiting:
                reports[position] = _duplicate(result.path, first[result.sha256])
            else:
                faces = tuple(ReportedFace(face.face.box, next(ids)) for face in result.faces)
                reports[position] = FileReport(
                    result.path,
                    "inserted",
                    faces[0].id,
                    result.faces[0].person_name,
                    faces=faces,
                    duplicate_of=first.get(result.sha256),
                )
                first.setdefault(result.sha256, faces[0].id or 0)
        return reports

    def _patiently(self, work: Callable[[bool], T]) -> T:
        """Do something that needs the database, again and again while it is away.

        Args:
            work: gets whether it was tried before.
        """
        pause, again = _FIRST_PAUSE_S, False
        while True:
            try:
                return work(again)
            except DatabaseUnavailable as error:
                if not again:
                    _log.warning("%s Job %s waits for it.", error.message, self.job.id)
                again = True
                self._pause(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped


def _duplicate(path: str, face_id: int) -> FileReport:
    reason = f"The same photo is stored already, as face {face_id}."
    return FileReport(path, "duplicate", face_id, reason=reason, duplicate_of=face_id)
