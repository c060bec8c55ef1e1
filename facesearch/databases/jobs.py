"""Jobs on any SQL database: written once, over the five verbs of the database of the faces."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from facesearch.databases.answers import COLLECTION, FACE, PERSON, SQLAnswers
from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.job_files import SQLJobFiles
from facesearch.databases.job_rows import JOB_COLUMNS, file_of, is_job_id, job_of, row_of_job, told
from facesearch.databases.pages import page_of, rows_to_ask
from facesearch.databases.statements import is_unicode
from facesearch.databases.tables import (
    COLLECTIONS,
    ERROR_CODE_WIDTH,
    JOBS,
    OWNER_WIDTH,
    PLACE_WIDTH,
    PLACES,
    REASON_WIDTH,
)
from facesearch.errors import (
    CollectionNotFound,
    Conflict,
    FacesearchError,
    InvalidParameter,
    JobNotFound,
    JobOver,
    LeaseLost,
    WorkerDied,
)
from facesearch.interfaces import JobStore
from facesearch.records import (
    CANCELLED,
    COMMANDS_PLACE,
    DONE,
    FAILED,
    FILE_STATUSES,
    QUEUED,
    RUNNING,
    FileReport,
    FirstAnswer,
    Job,
    NewJob,
    Once,
    Page,
)

JOBS_A_BATCH = 100
ABANDONED_S = 120.0
UNFINISHED = [QUEUED, RUNNING]
OVER = [DONE, FAILED, CANCELLED]

_NOBODY = {"owner": None, "lease_until": None}


def utc_now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


class SQLJobStore(JobStore):
    """Jobs, their files' reports and first answers, in the database of the faces.

    Lives as long as that database, whose connections and transactions it shares; any thread may call it.
    A job's row is locked by its number alone, and always after the counter of the faces' changes; `exists`,
    which locks nothing else, goes by its id.

    Args:
        clock: tells the time with its zone.
    """

    def __init__(self, database: SQLImageDatabase, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._files = SQLJobFiles(database)
        self._answers = SQLAnswers(database, self._now)

    def add(self, job: NewJob) -> Job:
        """Queue a job; a file name that is too long is shortened.

        Raises:
            InvalidParameter: the id or the kind is none, or the place is too long.
            Conflict: there is a job of this id.
            CollectionNotFound: the collection is gone.
        """
        row = row_of_job(job, self._now())
        with self._database.transaction():
            # Whoever deletes the collection waits for this, or this for that.
            there = {"number": job.collection, "deleted_at": None}
            if not self._database.update(COLLECTIONS, {"number": job.collection}, there):
                raise CollectionNotFound
            self._database.insert(JOBS, [row])
            return self.get(job.id)

    def get(self, job_id: str) -> Job:
        rows = self._of_id(job_id, JOB_COLUMNS)
        if not rows:
            raise JobNotFound
        return job_of(rows[0])

    def exists(self, job_id: str) -> bool:
        self._database.ready()
        # Reading would pass over a row that is not committed yet; a change waits for it.
        return is_job_id(job_id) and self._database.update(JOBS, {"id": job_id}, {"id": job_id}) > 0

    def jobs(self, limit: int, before: int | None = None, collection: int | None = None) -> Page[Job]:
        self._database.ready()
        where = {} if before is None else {"number <": before}
        if collection is not None:
            where["collection_number"] = collection
        rows = self._database.select(
            JOBS, JOB_COLUMNS, where, order_by="number", limit=rows_to_ask(limit), descending=True
        )
        return page_of([job_of(row) for row in rows], [row["number"] for row in rows], limit)

    def queued(self, place: str) -> int:
        self._database.ready()
        return self._in_state(place, QUEUED)

    def running(self, place: str) -> int:
        self._database.ready()
        return self._in_state(place, RUNNING)

    def claim(self, place: str, owner: str, lease_s: float, at_once: int) -> Job | None:
        """Take a job of a place that is queued, or running under a lease that has ended.

        Looks without a lock first. Then the place's row lets one claimer at a time through; a job that was
        cancelled, or whose lease was renewed, while this went on is passed over. Not to be called inside
        a transaction: it opens its own.

        Args:
            owner: at most 128 characters, drawn anew for each claim: whoever claims a job of his own again,
                because its lease has ended, is taken for somebody else then.
        """
        if len(owner) > OWNER_WIDTH or len(place) > PLACE_WIDTH or not is_unicode(owner):
            raise InvalidParameter("An owner or a place has too many characters.")
        self._database.ready()
        if not self._claimable(place, at_once):
            return None
        self._know(place)
        with self._database.transaction():
            self._database.update(PLACES, {"place": place}, {"place": place})
            for row in self._claimable(place, at_once):
                now = self._now()
                taken = {
                    "state": RUNNING,
                    "owner": owner,
                    "lease_until": now + timedelta(seconds=lease_s),
                    "started_at": row["started_at"] or now,
                    "attempts": row["attempts"] + 1,
                }
                unchanged = {name: row[name] for name in ("number", "state", "owner", "lease_until")}
                if self._database.update(JOBS, taken, unchanged):
                    return job_of(self._database.select(JOBS, JOB_COLUMNS, {"number": row["number"]})[0])
        return None

    def keep(self, job_id: str, owner: str, lease_s: float) -> None:
        self._update_own(job_id, owner, {"lease_until": self._now() + timedelta(seconds=lease_s)})

    def report(
        self, job_id: str, owner: str, files: Mapping[int, FileReport], total: int, worked_s: float
    ) -> None:
        """Write the reports of files by their position, and add them to the job's counts.

        Texts that are too long are shortened in their middle, and half surrogate pairs replaced.

        Raises:
            LeaseLost: the job is over, or another's.
            Conflict: one of these positions has its report; the transaction around can only be rolled back.
        """
        with self._database.transaction():
            # Locks the job's row, so that what is read below is not changed by others.
            number = self._update_own(job_id, owner, {"total": total})
            statuses = self._files.add(number, files)
            [sums] = self._database.select(JOBS, [*FILE_STATUSES, "worked_s"], {"number": number})
            for status in statuses:
                sums[status] += 1
            sums["worked_s"] += worked_s
            self._database.update(JOBS, {**sums, "attempts": 0}, {"number": number})

    def reported(self, job_id: str) -> frozenset[int]:
        return self._files.positions(self._number(job_id))

    def finish(self, job_id: str, owner: str, state: str, error: FacesearchError | None = None) -> None:
        if state not in (DONE, FAILED):
            raise InvalidParameter("A job ends as done or failed.")
        why = {
            "error_code": error and told(error.code, ERROR_CODE_WIDTH),
            "error": error and told(error.message, REASON_WIDTH),
        }
        self._update_own(job_id, owner, {"state": state, "finished_at": self._now(), **why, **_NOBODY})

    def release(self, job_id: str, owner: str) -> None:
        self._update_own(job_id, owner, {"state": QUEUED, **_NOBODY})

    def cancel(self, job_id: str) -> Job:
        number = self._number(job_id)
        cancelled = {"state": CANCELLED, "finished_at": self._now(), **_NOBODY}
        done = self._database.update(JOBS, cancelled, {"number": number, "state": UNFINISHED})
        job = self.get(job_id)
        if not done and job.state != CANCELLED:
            raise JobOver
        return job

    def files(
        self, job_id: str, limit: int, after: int | None = None, status: str | None = None
    ) -> Page[FileReport]:
        rows = self._files.page(self._number(job_id), rows_to_ask(limit), after, status)
        return page_of([file_of(row) for row in rows], [row["position"] for row in rows], limit)

    def first_answer(self, key: str) -> FirstAnswer | None:
        return self._answers.get(key)

    def add_answer(self, once: Once, content: str, about: Sequence[str] = ()) -> None:
        self._answers.add(once, content, about)

    def prune(self, keep_days: float) -> list[str]:
        """Forget answers of more than 24 hours ago, and jobs that were over for so many days; their ids.

        In many small transactions: one that is cut short is gone on with by the next call.
        """
        self._answers.prune()
        self._end_abandoned()
        old = {"state": OVER, "finished_at <=": self._now() - timedelta(days=keep_days)}
        gone: list[str] = []
        while rows := self._database.select(JOBS, ["number", "id"], old, "number", JOBS_A_BATCH):
            gone += [row["id"] for row in rows if self._forget_job(row["number"])]
        return gone

    def forget_faces(self, face_ids: Sequence[int]) -> None:
        """Leave of every report that tells of these faces its position and status alone.

        To be called in the transaction in which the faces are removed, after that: what is written about
        them is written under the counter's lock. Other faces of the same photos are forgotten by the
        reports too: those told the photo's name.
        """
        with self._database.transaction():
            self._files.forget_faces(face_ids)
            self._answers.forget_about(f"{FACE}{face_id}" for face_id in face_ids)

    def forget_person(self, person_id: int) -> None:
        self._answers.forget_about([f"{PERSON}{person_id}"])

    def forget_paths(self, collection: int, names: Callable[[str], bool]) -> None:
        with self._database.transaction():
            self._files.forget_paths(collection, names)

    def forget_collection(self, number: int) -> list[str]:
        """Forget a collection's jobs, with their reports, and the first answers about it; the jobs' ids.

        In many small transactions, unless there is one around: one that is cut short is gone on with by the
        next call. Whoever works on one of these jobs may write no more.
        """
        self._database.ready()
        gone: list[str] = []
        of_it = {"collection_number": number}
        while rows := self._database.select(JOBS, ["number", "id"], of_it, "number", JOBS_A_BATCH):
            for row in rows:
                ended = {"state": CANCELLED, "finished_at": self._now(), **_NOBODY}
                self._database.update(JOBS, ended, {"number": row["number"], "state": UNFINISHED})
                if self._forget_job(row["number"]):
                    gone.append(row["id"])
        self._answers.forget_about([f"{COLLECTION}{number}"])
        return gone

    def unfinished(self, collection: int) -> list[str]:
        self._database.ready()
        where = {"collection_number": collection, "state": UNFINISHED}
        return [row["id"] for row in self._database.select(JOBS, ["id"], where, "number")]

    def _end_abandoned(self) -> None:
        lapsed = {"state": RUNNING, "lease_until <": self._now() - timedelta(seconds=ABANDONED_S)}
        for row in self._database.select(JOBS, ["number", "place", "lease_until"], lapsed):
            if row.pop("place").startswith(COMMANDS_PLACE):
                error = WorkerDied("The command that worked on this ended before it.")
                ended = {"state": FAILED, "finished_at": self._now(), **_NOBODY}
                told_of = {"error_code": error.code, "error": error.message}
                self._database.update(JOBS, ended | told_of, {**row, "state": RUNNING})

    def _now(self) -> datetime:
        return self._clock().astimezone(UTC).replace(tzinfo=None)

    def _in_state(self, place: str, state: str) -> int:
        return len(self._database.select(JOBS, ["number"], {"place": place, "state": state}))

    def _of_id(self, job_id: str, columns: Sequence[str]) -> list[dict[str, Any]]:
        self._database.ready()
        return self._database.select(JOBS, columns, {"id": job_id}) if is_job_id(job_id) else []

    def _number(self, job_id: str) -> int:
        rows = self._of_id(job_id, ["number"])
        if not rows:
            raise JobNotFound
        return int(rows[0]["number"])

    def _update_own(self, job_id: str, owner: str, values: Mapping[str, Any]) -> int:
        """Change a running job of this owner, and return its number."""
        try:
            number = self._number(job_id)
        except JobNotFound:
            raise LeaseLost from None
        own = {"number": number, "owner": owner, "state": RUNNING}
        if not self._database.update(JOBS, values, own):
            raise LeaseLost
        return number

    def _claimable(self, place: str, at_once: int) -> list[dict[str, Any]]:
        """The jobs of a place that may be taken, in order; none where enough are being worked on."""
        columns = ["number", "state", "waited_for", "owner", "lease_until", "started_at", "attempts"]
        rows = self._database.select(JOBS, columns, {"place": place, "state": UNFINISHED})
        now = self._now()
        free = [row for row in rows if row["state"] == QUEUED or row["lease_until"] <= now]
        if len(rows) - len(free) >= at_once:
            return []
        return sorted(free, key=lambda row: (not row["waited_for"], row["number"]))

    def _know(self, place: str) -> None:
        """Make the place's row, of which claimers take the lock."""
        if not self._database.select(PLACES, ["place"], {"place": place}):
            try:
                self._database.insert(PLACES, [{"place": place}])
            except Conflict:
                return  # another claimer made it

    def _forget_job(self, number: int) -> bool:
        """Delete a job that is over, and its reports before it; whether it was there."""
        self._files.forget_job(number)
        return self._database.delete(JOBS, {"number": number}) > 0
