"""Jobs that were added while the database went away, and may not have come to be."""

import threading
from collections.abc import Callable

from facesearch.errors import FacesearchError
from facesearch.interfaces import JobStore

_AGAIN_S = 2.0


class DoubtfulJobs:
    """Has the archive of a job that did not come to be forgotten: each repetition would leave one more.

    Lives as long as its process. Any thread may call it. It has a thread of its own as long as the database
    does not say of some job whether it is there.

    Args:
        forget: called with a job that is not there.
    """

    def __init__(self, jobs: JobStore, forget: Callable[[str], None]) -> None:
        self._jobs = jobs
        self._forget = forget
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._ending = threading.Event()

    def settle(self, job_id: str) -> None:
        """Find out about a job, now or as soon as the database says."""
        if self._is_settled(job_id):
            return
        with self._lock:
            self._open.add(job_id)
            if len(self._open) == 1:
                threading.Thread(target=self._settle_all, name="doubtful-jobs", daemon=True).start()

    def stop(self) -> None:
        """Ask the thread to end; what is open is left to whoever tidies up."""
        self._ending.set()

    def _settle_all(self) -> None:
        while not self._ending.wait(_AGAIN_S):
            with self._lock:
                jobs = list(self._open)
            settled = [job_id for job_id in jobs if self._is_settled(job_id)]
            with self._lock:
                self._open.difference_update(settled)
                if not self._open:
                    return

    def _is_settled(self, job_id: str) -> bool:
        try:
            if not self._jobs.exists(job_id):
                self._forget(job_id)
        except FacesearchError:
            return False
        return True
