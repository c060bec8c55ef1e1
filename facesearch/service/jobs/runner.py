"""The thread of a server process that finds jobs to work on, and keeps them its own meanwhile."""

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from facesearch.config import IntakeSettings
from facesearch.errors import (
    DatabaseUnavailable,
    FacesearchError,
    JobNotFound,
    LeaseLost,
    TaskFailed,
    Unavailable,
    WorkerDied,
)
from facesearch.interfaces import JobStore
from facesearch.logs import where
from facesearch.records import DONE, FAILED, Job
from facesearch.service.jobs.patience import Stopped

_LOOK_EVERY_S = 1.0
_TIDY_EVERY_S, _TIDY_AGAIN_S = 600.0, 60.0
_STOP_LIMIT_S = 10.0
# So often in a row may a job be begun without a report: then it is the job that ends its processes.
_MOST_ATTEMPTS = 10

_log = logging.getLogger(__name__)

Work = Callable[[Job, str, threading.Event], None]


@dataclass
class _Running:
    job: Job
    owner: str
    stop: threading.Event
    thread: threading.Thread


class JobRunner:
    """Works on the jobs of one place, each in a thread of its own. Lives as long as its process.

    Each server process has one, and they share the work through the database: a job's lease is renewed
    about once a second, and taken over where that ends. Any thread may call it.

    Args:
        jobs: where jobs are.
        place: whose jobs these are.
        work: does a job until its end, until its event is set (raising Stopped), or until it raises.
        forget: called with a job that is over.
        tidy: called every ten minutes or so.
    """

    def __init__(
        self,
        jobs: JobStore,
        place: Callable[[], str],
        work: Work,
        forget: Callable[[str], None],
        tidy: Callable[[], None],
        settings: IntakeSettings,
    ) -> None:
        self._jobs = jobs
        self._place = place
        self._work = work
        self._forget = forget
        self._tidy = tidy
        self._settings = settings
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._over = threading.Condition()
        self._awake = threading.Event()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether jobs that are queued now will be seen."""
        return self._thread is not None and self._thread.is_alive() and not self._ending.is_set()

    def start(self) -> None:
        """Begin to look for jobs."""
        self._thread = threading.Thread(target=self._look_after_jobs, name="job-runner", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for a job now."""
        self._awake.set()

    def interrupt(self, job_id: str) -> None:
        """Have this process stop working on a job soon."""
        with self._lock:
            if running := self._running.get(job_id):
                running.stop.set()

    def wait_for_end(self, limit_s: float) -> None:
        """Wait until some job of this process is over, or for `limit_s`."""
        with self._over:
            self._over.wait(limit_s)

    def stop(self) -> None:
        """Ask all to end; what they were at goes back into the queue."""
        self._ending.set()
        self._awake.set()
        with self._lock:
            for running in self._running.values():
                running.stop.set()
        with self._over:
            self._over.notify_all()

    def join(self, limit_s: float = _STOP_LIMIT_S) -> None:
        """Wait for the end after `stop`."""
        deadline = time.monotonic() + limit_s
        if self._thread is not None:  # first: until its end it may begin with a job
            self._thread.join(limit_s)
        with self._lock:
            threads = [running.thread for running in self._running.values()]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _look_after_jobs(self) -> None:
        failure = None
        tidying = threading.Thread(target=self._tidy_now_and_then, daemon=True)
        tidying.start()
        while not self._ending.is_set():
            try:
                self._keep_leases()
                while not self._ending.is_set() and self._begin():
                    pass
                failure = None
            except DatabaseUnavailable:
                pass  # whoever works on a job says so
            except Exception as error:
                if failure != (failure := where(error)):
                    _log.error("Looking for jobs failed: %s", failure)
            self._awake.wait(_LOOK_EVERY_S)
            self._awake.clear()
        tidying.join()

    def _tidy_now_and_then(self) -> None:
        """In a thread of its own: leases are renewed meanwhile."""
        pause_s = 0.0
        while not self._ending.wait(pause_s):
            pause_s = _TIDY_EVERY_S
            try:
                self._tidy()
            except DatabaseUnavailable:
                pause_s = _TIDY_AGAIN_S
            except Exception as error:
                _log.error("Tidying jobs up failed: %s", where(error))

    def _keep_leases(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for one in running:
            try:
                self._jobs.keep(one.job.id, one.owner, self._settings.lease_s)
            except LeaseLost:
                one.stop.set()

    def _begin(self) -> bool:
        """Take a job and begin with it; return whether there was one."""
        owner = uuid.uuid4().hex
        settings = self._settings
        job = self._jobs.claim(self._place(), owner, settings.lease_s, settings.imports_at_once)
        if job is None:
            return False
        stop = threading.Event()
        thread = threading.Thread(target=self._carry_out, args=(job, owner, stop), daemon=True)
        with self._lock:
            if before := self._running.get(job.id):  # its lease had ended, and it has not noticed yet
                before.stop.set()
            thread.start()
            self._running[job.id] = _Running(job, owner, stop, thread)
            if self._ending.is_set():
                stop.set()
        return True

    def _carry_out(self, job: Job, owner: str, stop: threading.Event) -> None:
        try:
            self._settle(job, owner, stop, self._end_of(job, owner, stop))
        except LeaseLost:
            _log.info("Job %s was cancelled, has ended, or is another process's.", job.id)
            with suppress(DatabaseUnavailable):
                if self._is_over(job.id):
                    self._forget(job.id)
        except Exception as error:
            _log.error("Job %s is left to whoever takes it over: %s", job.id, where(error))
        finally:
            with self._lock:
                if (mine := self._running.get(job.id)) and mine.owner == owner:
                    del self._running[job.id]
            with self._over:
                self._over.notify_all()
            self._awake.set()

    def _is_over(self, job_id: str) -> bool:
        try:
            return self._jobs.get(job_id).is_over
        except JobNotFound:  # it was erased with its collection
            return True

    def _end_of(self, job: Job, owner: str, stop: threading.Event) -> FacesearchError | bool:
        """Work on a job; return True where it is done, False where it was interrupted, or its error."""
        if job.attempts > _MOST_ATTEMPTS:
            return WorkerDied("The processes that worked on this import died again and again.")
        try:
            self._work(job, owner, stop)
        except Stopped:
            return False
        except LeaseLost:
            raise
        except FacesearchError as error:
            # The pool's end, or its absence: somebody may have more luck, a bounded number of times.
            return False if type(error) is Unavailable else error
        except Exception as error:
            _log.error("Job %s failed: %s", job.id, where(error))
            return TaskFailed()
        return True

    def _settle(self, job: Job, owner: str, stop: threading.Event, end: FacesearchError | bool) -> None:
        """Write down how a job ended. While the database is away this is tried again and again."""
        while True:
            with suppress(DatabaseUnavailable):
                if end is False:
                    self._jobs.release(job.id, owner)
                    return
                error = end if isinstance(end, FacesearchError) else None
                self._jobs.finish(job.id, owner, FAILED if error else DONE, error)
                self._forget(job.id)
                return
            if self._ending.wait(_LOOK_EVERY_S):
                return
