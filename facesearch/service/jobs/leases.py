"""Jobs that the calling thread does itself, and keeps its own meanwhile."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from facesearch.errors import DatabaseUnavailable, FacesearchError, LeaseLost
from facesearch.interfaces import JobStore
from facesearch.records import DONE, FAILED, Job
from facesearch.service.jobs.patience import Stopped


def done_here(
    jobs: JobStore,
    job_id: str,
    owner: str,
    lease_s: float,
    work: Callable[[threading.Event, Callable[[], None]], None],
    on_progress: Callable[[Job], None],
) -> Job:
    """Do a claimed job in this thread, and return it as it is at its end.

    Args:
        work: does it to its end, or raises Stopped soon after the event was set; calls the function that it
            gets after some of the job is done.
        on_progress: called with the job then.

    Raises:
        KeyboardInterrupt: the job is cancelled; what was stored stays.
        LeaseLost: the job was cancelled.
        FacesearchError: the job failed.
    """
    stop = threading.Event()

    def tell() -> None:
        with suppress(DatabaseUnavailable):
            on_progress(jobs.get(job_id))

    with _kept_lease(jobs, job_id, owner, lease_s, stop):
        try:
            work(stop, tell)
            jobs.finish(job_id, owner, DONE)
        except (KeyboardInterrupt, DatabaseUnavailable):
            with suppress(FacesearchError):
                jobs.cancel(job_id)
            raise
        except Stopped:
            raise LeaseLost from None
        except LeaseLost:
            raise
        except FacesearchError as error:
            with suppress(FacesearchError):
                jobs.finish(job_id, owner, FAILED, error)
            raise
    return jobs.get(job_id)


@contextmanager
def _kept_lease(
    jobs: JobStore, job_id: str, owner: str, lease_s: float, stop: threading.Event
) -> Iterator[None]:
    """Renew a lease meanwhile; `stop` is set where it was lost."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(min(1.0, lease_s / 3)):
            with suppress(DatabaseUnavailable):
                try:
                    jobs.keep(job_id, owner, lease_s)
                except LeaseLost:
                    stop.set()

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
