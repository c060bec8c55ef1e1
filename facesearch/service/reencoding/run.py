"""One reencoding at work: from kept crops, or from photos given again, to vectors of the next model."""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from facesearch.errors import FacesearchError, Unavailable
from facesearch.interfaces import CollectionStore, ImageDatabase, JobStore, ReencodingStore, WorkerPool
from facesearch.records import (
    Embedding,
    FileReport,
    Job,
    Outcome,
    PhotoFile,
    ReportedFace,
    UnreencodedFace,
)
from facesearch.service.encode import EncodePhotos
from facesearch.service.intake.names import base_name
from facesearch.service.intake.photo_source import PhotoSource
from facesearch.service.jobs.lost_groups import encoded_alone
from facesearch.service.jobs.patience import Patience, Stopped
from facesearch.service.reencoding.known_photos import EncodeKnownPhotos, KnownPhoto

_PHOTOS_A_TASK = 4
_FACES_A_LOOK = 500
_REPORTS_A_TRANSACTION = 64
_WRITE_EVERY_S = 2.0

_NO_CROP = "No crop of the face is kept."
_NO_PHOTO = "The photo of the face was not among those given."


@dataclass(frozen=True)
class ReencodingParts:
    """What reencodings are made with; lives as long as its process.

    Args:
        database: the faces of the default collection, whose transactions all stores share.
        encode_photos: opens photos, and builds encoders in the pool's processes.
        lease_s: for how long a job stays a process's own that says nothing any more.
    """

    database: ImageDatabase
    collections: CollectionStore
    store: ReencodingStore
    jobs: JobStore
    pool: WorkerPool
    encode_photos: EncodePhotos
    lease_s: float


@dataclass
class _Work:
    """A photo and the faces whose vectors are wanted of it, with their boxes' places in the result."""

    photo: KnownPhoto
    faces: Sequence[UnreencodedFace]
    path: str


@dataclass
class ReencodingRun:
    """One job in the hands of one process. Lives as long as that, and belongs to its thread.

    A face's vector and its report are written in one transaction, in which the job must still be the owner's.
    Which faces lack a vector, the database tells; so whoever goes on after a kill does just those. While the
    database is away the run waits.

    Args:
        model_id: the collection's next model.
        photos: where the photos are; None takes the kept crops.
        owner: who holds the job's lease.
        stop: set, by any thread, to have the run end soon, with Stopped.
        on_report: called after reports were written.
    """

    parts: ReencodingParts
    job: Job
    model_id: str
    photos: PhotoSource | None
    owner: str
    stop: threading.Event
    on_report: Callable[[], None] = lambda: None
    _results: dict[int, tuple[FileReport, int, Embedding | None]] = field(default_factory=dict)
    _next_position: int = 0
    _total: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def run(self) -> None:
        """Encode every face that has no vector of the next model and can have one.

        Raises:
            Stopped: `stop` was set.
            LeaseLost: the job was cancelled, or is another process's by now.
            Conflict: the reencoding was abandoned or switched meanwhile.
            FacesearchError: the job as a whole cannot be done.
        """
        self._patiently = Patience(self.job.id, self.stop)
        reported = self._patiently(lambda _: self.parts.jobs.reported(self.job.id))
        progress = self._patiently(lambda _: self.parts.store.progress(self.job.collection))
        self._next_position = max(reported, default=-1) + 1
        self._total = len(reported) + progress.faces - progress.reencoded
        encode = replace(self.parts.encode_photos, model_id=self.model_id, crop_style=None)
        self._task = EncodeKnownPhotos(encode)
        try:
            self._encode_all(self._from_crops() if self.photos is None else self._from_photos(self.photos))
            if self.photos is not None:
                self._report_missing()
            self._write()
        except (Stopped, Unavailable):
            with suppress(FacesearchError):  # what is encoded need not be encoded again by who goes on
                self._write_once(again=True)
            raise

    def _from_crops(self) -> Iterator[_Work]:
        faces = self.parts.collections.faces(self.job.collection)
        for face in self._missing():
            crop = self._patiently(lambda _, face=face: faces.crop(face.id))  # type: ignore[misc]
            if crop is None:
                self._keep(face, FileReport(face.file_name, "skipped", reason=_NO_CROP))
            else:
                photo = KnownPhoto(PhotoFile(base_name(face.file_name), crop.data))
                yield _Work(photo, [face], face.file_name)

    def _from_photos(self, photos: PhotoSource) -> Iterator[_Work]:
        """Read the photos one after the other; those of whose faces none waits are passed over."""
        store, collection = self.parts.store, self.job.collection
        seen: set[bytes] = set()
        for entry in photos:
            if self.stop.is_set():
                raise Stopped
            if entry.reason_to_skip:
                continue
            try:
                data = entry.read()
            except FacesearchError:
                continue  # its faces are told of at the end
            digest = hashlib.sha256(data).digest()
            if digest in seen:
                continue
            seen.add(digest)
            found = self._patiently(lambda _, d=digest: store.missing_of_photos(collection, [d]))  # type: ignore[misc]
            faces = [face for face in found.get(digest, ()) if face.box.area > 0]
            if faces:
                photo = PhotoFile(base_name(entry.path), data)
                yield _Work(KnownPhoto(photo, tuple(face.box for face in faces)), faces, entry.path)

    def _missing(self) -> Iterator[UnreencodedFace]:
        store, last = self.parts.store, 0
        while some := self._patiently(
            lambda _, after=last: store.missing(self.job.collection, _FACES_A_LOOK, after)  # type: ignore[misc]
        ):
            for face in some:
                if self.stop.is_set():
                    raise Stopped
                yield face
            last = some[-1].id

    def _report_missing(self) -> None:
        self._write()
        failed = self._failed
        for face in self._missing():
            if face.id not in failed:
                self._keep(face, FileReport(face.file_name, "skipped", reason=_NO_PHOTO))

    def _encode_all(self, work: Iterator[_Work]) -> None:
        self._in_work: deque[list[_Work]] = deque()
        self._failed: set[int] = set()
        outcomes = self.parts.pool.map(self._task, self._groups(work))
        for outcome in outcomes:
            group = self._in_work.popleft()
            encoded = outcome.value or [
                encoded_alone(
                    self.parts.pool, self._task, one.photo, outcome, len(group), self._patiently.pause
                )
                for one in group
            ]
            for one, result in zip(group, encoded, strict=True):
                self._take(one, result)
            if self.stop.is_set():
                raise Stopped

    def _groups(self, work: Iterator[_Work]) -> Iterator[list[KnownPhoto]]:
        group: list[_Work] = []
        for one in work:
            group.append(one)
            if len(group) == _PHOTOS_A_TASK:
                self._in_work.append(group)
                yield [each.photo for each in group]
                group = []
        if group:
            self._in_work.append(group)
            yield [each.photo for each in group]

    def _take(self, work: _Work, outcome: Outcome[list[Embedding]]) -> None:
        if outcome.value is None:
            reason = outcome.error.message if outcome.error else None
            for face in work.faces:
                self._failed.add(face.id)
                self._keep(face, FileReport(work.path, "failed", reason=reason))
            return
        for face, embedding in zip(work.faces, outcome.value, strict=True):
            self._keep(face, FileReport(work.path, "inserted"), embedding)

    def _keep(self, face: UnreencodedFace, report: FileReport, embedding: Embedding | None = None) -> None:
        """Hold a result until there are enough for a transaction, or until the last one was a while ago."""
        report = replace(report, id=face.id, faces=(ReportedFace(face.box, face.id),))
        self._results[self._next_position] = (report, face.id, embedding)
        self._next_position += 1
        late = time.monotonic() - self._written_at >= _WRITE_EVERY_S
        if late or len(self._results) >= _REPORTS_A_TRANSACTION:
            self._write()

    def _write(self) -> None:
        if self._results:
            self._patiently(self._write_once)
            self._results.clear()
            self._written_at = time.monotonic()
            self.on_report()

    def _write_once(self, again: bool) -> None:
        results = self._results
        parts, job = self.parts, self.job
        with parts.database.alone():
            if again:  # the attempt before may have been committed and its answer lost
                there = parts.jobs.reported(job.id)
                results = {position: one for position, one in results.items() if position not in there}
            if not results:
                return
            vectors = {face_id: vector for _, face_id, vector in results.values() if vector is not None}
            stored = parts.store.put(job.collection, self.model_id, vectors)
            reports = self._reports(results, stored)
            worked_s = time.monotonic() - self._written_at
            parts.jobs.report(job.id, self.owner, reports, self._total, worked_s)

    def _reports(
        self, results: Mapping[int, tuple[FileReport, int, Embedding | None]], stored: frozenset[int]
    ) -> dict[int, FileReport]:
        """The reports; nothing is told of a face that was removed meanwhile."""
        faces = self.parts.collections.faces(self.job.collection)
        there = stored | set(faces.get_faces([face_id for _, face_id, _ in results.values()]))
        return {
            position: report if face_id in there else FileReport("", "skipped")
            for position, (report, face_id, _) in results.items()
        }
