"""What an import has found out, on its way into the database: faces and their files' reports together."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from facesearch.errors import InvalidParameter
from facesearch.interfaces import ImageDatabase, JobStore
from facesearch.records import FileReport, Job, NewFace, ReportedFace
from facesearch.service.jobs.patience import Patience

# Small enough that a photo is findable soon after it was encoded, large enough to cost little.
_FACES_A_TRANSACTION = 64
_REPORTS_A_TRANSACTION = 500
_WRITE_EVERY_S = 2.0
_MOST_FACES = 5_000


@dataclass
class FoundFaces:
    """The faces of a photo that are to be stored."""

    path: str
    sha256: bytes
    faces: list[NewFace]


Result = FileReport | FoundFaces

ERASED = FileReport("", "failed", reason="It was erased while it waited.")


@dataclass
class ResultWriter:
    """Writes results a few at a time. Lives as long as one run of a job, and belongs to its thread.

    Faces are stored and files reported in one transaction, in which the job must still be the owner's.

    Args:
        owner: who holds the job's lease.
        model_id: the vector space of the faces.
        total: how many files the job has.
        on_report: called after reports were written.
        erased: asks for the positions of files that were erased from their source.
    """

    database: ImageDatabase
    jobs: JobStore
    job: Job
    owner: str
    model_id: str
    total: int
    patiently: Patience
    on_report: Callable[[], None]
    erased: Callable[[], frozenset[int]] = frozenset
    _results: dict[int, Result] = field(default_factory=dict)
    _waiting_faces: int = 0
    _written_at: float = field(default_factory=time.monotonic)

    def keep(self, position: int, result: Result) -> None:
        """Hold a result until there are enough for a transaction, or until the last one was a while ago."""
        faces = len(result.faces) if isinstance(result, FoundFaces) else 0
        if self._waiting_faces + faces > _MOST_FACES:
            self.write()
        self._results[position] = result
        self._waiting_faces += faces
        if (
            self._waiting_faces >= _FACES_A_TRANSACTION
            or len(self._results) >= _REPORTS_A_TRANSACTION
            or time.monotonic() - self._written_at >= _WRITE_EVERY_S
        ):
            self.write()

    def write(self) -> None:
        """Write what is held.

        Raises:
            LeaseLost: the job was cancelled, or is another process's by now.
            Stopped: the job was stopped while the database was away.
        """
        if not self._results:
            return
        try:
            self.patiently(self._write_once)
        except InvalidParameter as error:
            self._write_one_by_one(error)
        self._results.clear()
        self._waiting_faces = 0
        self._written_at = time.monotonic()
        self.on_report()

    def write_at_once(self) -> None:
        """Write what is held in one attempt; raises any FacesearchError."""
        if self._results:
            self._write_once(again=True)

    def _write_one_by_one(self, error: InvalidParameter) -> None:
        """Find the photo that the database does not take, such as one with an endless name, and say so."""
        results = self._results
        for position, result in results.items():
            if len(results) > 1:
                self._results = {position: result}
                self.write()
            elif isinstance(result, FoundFaces):
                self._results = {position: FileReport(result.path, "failed", reason=error.message)}
                self.patiently(self._write_once)
            else:
                raise error

    def _write_once(self, again: bool) -> None:
        """Store what was found and report every file, in one transaction."""
        results = self._results
        with self.database.alone():
            if again:  # the attempt before may have been committed and its answer lost
                there = self.jobs.reported(self.job.id)
                results = {position: result for position, result in results.items() if position not in there}
                if not results:
                    return
            results = self._without_erased(results)
            worked_s = time.monotonic() - self._written_at
            self.jobs.report(self.job.id, self.owner, self._stored(results), self.total, worked_s)

    def _without_erased(self, results: Mapping[int, Result]) -> dict[int, Result]:
        """Tell nothing of what was erased since it was found; nobody removes faces meanwhile.

        Whoever erases notes the files before the faces are removed.
        """
        gone = self.erased()
        told_of = {r.id for r in results.values() if isinstance(r, FileReport) and r.id is not None}
        there = self.database.get_faces(sorted(told_of)) if told_of else {}
        left: dict[int, Result] = {}
        for position, result in results.items():
            if position in gone:
                result = ERASED
            elif isinstance(result, FileReport) and result.id is not None and result.id not in there:
                result = FileReport("", result.status)
            left[position] = result
        return left

    def _stored(self, results: Mapping[int, Result]) -> dict[int, FileReport]:
        """Store the faces among the results, and return every file's report; nobody else adds meanwhile."""
        found = [result for result in results.values() if isinstance(result, FoundFaces)]
        first = self.database.faces_of_photos(list({photo.sha256 for photo in found}))
        adding = []
        coming = set(first)
        for photo in found:
            if not (self.job.options.skip_duplicates and photo.sha256 in coming):
                adding.append(photo)
            coming.add(photo.sha256)
        new = [face for photo in adding for face in photo.faces]
        ids = iter(self.database.add_faces(new, self.model_id) if new else ())
        reports: dict[int, FileReport] = {}
        waiting = {id(photo) for photo in adding}
        for position, result in results.items():
            if isinstance(result, FileReport):
                reports[position] = result
            elif id(result) not in waiting:
                reports[position] = duplicate(result.path, first[result.sha256])
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


def duplicate(path: str, face_id: int) -> FileReport:
    """The report of a file whose bytes are stored already, as a face of this id."""
    reason = f"The same photo is stored already, as face {face_id}."
    return FileReport(path, "duplicate", face_id, reason=reason, duplicate_of=face_id)
