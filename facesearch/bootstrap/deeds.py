"""What commands have changed, for the audit log."""

from collections.abc import Callable
from contextlib import closing

from facesearch.bootstrap.service import key_access
from facesearch.config import Settings
from facesearch.databases import open_key_store
from facesearch.interfaces import ImageDatabase
from facesearch.records import LOCAL, Deed, Job


def note_deed(settings: Settings, database: ImageDatabase, what: str, *ids: int | str) -> None:
    """Append a change to the audit log: what was done, and faces, jobs and labels of what it was done to."""
    with closing(key_access(settings, open_key_store(database))) as access:
        access.record(Deed(LOCAL.who, LOCAL.name, what, ids))


def noted_job(
    run: Callable[[Callable[[Job], None]], Job],
    on_progress: Callable[[Job], None],
    note: Callable[[str], None],
) -> Job:
    """Do a job, and note its id in the end, however it ends: what was stored by then stays.

    Args:
        run: does it, calling what it is given with the job as it goes on.
        note: called with the id of a job that was begun.
    """
    begun: set[str] = set()

    def show(job: Job) -> None:
        begun.add(job.id)
        on_progress(job)

    try:
        job = run(show)
        begun.add(job.id)
        return job
    finally:
        for job_id in begun:
            note(job_id)
