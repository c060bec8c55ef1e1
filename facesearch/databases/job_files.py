"""The reports of jobs' files on any SQL database, and which faces they tell of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.job_rows import FILE_COLUMNS, faces_of_report, row_of_file
from facesearch.databases.statements import parts
from facesearch.databases.tables import JOB_FACES, JOB_FILES, JOBS
from facesearch.records import FILE_STATUSES, FileReport

FILES_A_BATCH = 2_000

_NOT_STORED = tuple(status for status in FILE_STATUSES if status != "inserted")
# A report's status and position say what became of a file; these say whose file it was.
_TELLING = {
    "path": "",
    "person_name": None,
    "reason": None,
    "face_id": None,
    "duplicate_of": None,
    "faces": None,
}


class SQLJobFiles:
    """Reports of files under their jobs' numbers. Lives and locks as SQLJobStore.

    Rows of JOB_FACE say in which reports a face appears, so that those can be found when it is erased.
    """

    def __init__(self, database: SQLImageDatabase) -> None:
        self._database = database

    def add(self, number: int, files: Mapping[int, FileReport]) -> list[str]:
        """Write reports by their position; return their statuses. Needs the lock of the job's row."""
        rows = [row_of_file(number, position, report) for position, report in sorted(files.items())]
        self._database.insert(JOB_FILES, rows)
        about = [
            {"face_id": face_id, "job_number": number, "position": position}
            for position, report in sorted(files.items())
            for face_id in sorted(faces_of_report(report))
        ]
        self._database.insert(JOB_FACES, about)
        return [row["status"] for row in rows]

    def positions(self, number: int) -> frozenset[int]:
        """The positions of the files that have their report."""
        rows = self._database.select(JOB_FILES, ["position"], {"job_number": number})
        return frozenset(row["position"] for row in rows)

    def page(self, number: int, limit: int, after: int | None, status: str | None) -> list[dict[str, Any]]:
        """Return at most `limit` rows in the order of positions."""
        where: dict[str, Any] = {"job_number": number}
        if status is not None:
            where["status"] = status
        if after is not None:
            where["position >"] = after
        return self._database.select(JOB_FILES, FILE_COLUMNS, where, "position", limit)

    def forget_faces(self, face_ids: Sequence[int]) -> None:
        """Leave of every report that tells of one of these faces its position and status alone.

        Its other faces are forgotten too: they were in the same photo, whose name it told. Needs a
        transaction in which nobody else adds reports about these faces.
        """
        self._forget(self._positions_about(face_ids))

    def forget_paths(self, collection: int, names: Callable[[str], bool]) -> None:
        """Leave of reports of files that were not stored, and have such a path, position and status alone.

        Needs a transaction in which nobody else adds reports.
        """
        of_it = {"collection_number": collection}
        jobs = self._database.select(JOBS, ["number", "file_name", *_NOT_STORED], of_it, "number")
        told = {
            job["number"]: self._positions_of(job["number"], names)
            for job in jobs
            if any(job[status] for status in _NOT_STORED)
        }
        self._forget({number: positions for number, positions in told.items() if positions})
        for job in jobs:
            if names(job["file_name"]):
                self._database.update(JOBS, {"file_name": ""}, {"number": job["number"]})

    def _forget(self, told: Mapping[int, Sequence[int]]) -> None:
        """Blank reports by their positions, under their jobs' numbers, in order."""
        for number in told:  # first, and in order, as whoever writes a report does
            self._database.update(JOBS, {"number": number}, {"number": number})
        for number, positions in told.items():
            for part in parts(positions):
                where = {"job_number": number, "position": part}
                self._database.update(JOB_FILES, _TELLING, where)
                self._database.delete(JOB_FACES, where)
            if not self._database.select(JOB_FACES, ["position"], {"job_number": number}, limit=1):
                self._database.update(JOBS, {"file_name": ""}, {"number": number})

    def forget_job(self, number: int) -> None:
        """Delete all reports of a job, some at a time."""
        for table in (JOB_FACES, JOB_FILES):
            where = {"job_number": number}
            while rows := self._database.select(table, ["position"], where, "position", FILES_A_BATCH):
                self._database.delete(table, {**where, "position <=": rows[-1]["position"]})

    def _positions_of(self, number: int, names: Callable[[str], bool]) -> list[int]:
        """The positions of a job's reports of files that were not stored and have such a path, in order."""
        where: dict[str, Any] = {"job_number": number, "status": list(_NOT_STORED)}
        found: list[int] = []
        while rows := self._database.select(
            JOB_FILES, ["position", "path"], where, "position", FILES_A_BATCH
        ):
            found += [row["position"] for row in rows if names(row["path"])]
            where["position >"] = rows[-1]["position"]
        return found

    def _positions_about(self, face_ids: Sequence[int]) -> dict[int, list[int]]:
        """The positions of the reports that tell of one of these faces, by their jobs' numbers, in order."""
        columns = ["job_number", "position"]
        entries = {
            (row["job_number"], row["position"])
            for part in parts(sorted(set(face_ids)))
            for row in self._database.select(JOB_FACES, columns, {"face_id": part})
        }
        told: dict[int, list[int]] = {}
        for number, position in sorted(entries):
            told.setdefault(number, []).append(position)
        return told
