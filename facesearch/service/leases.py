"""Keeping a job one's own while a thread works on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from facesearch.errors import DatabaseUnavailable, LeaseLost
from facesearch.interfaces import JobStore


@contextmanager
def kept_lease(
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
