"""What commands have changed, for the audit log."""

from contextlib import closing

from facesearch.bootstrap.service import key_access
from facesearch.config import Settings
from facesearch.databases import open_key_store
from facesearch.interfaces import ImageDatabase
from facesearch.records import LOCAL, Deed


def note_deed(settings: Settings, database: ImageDatabase, what: str, *ids: int | str) -> None:
    """Append a change to the audit log: what was done, and faces, jobs and labels of what it was done to."""
    with closing(key_access(settings, open_key_store(database))) as access:
        access.record(Deed(LOCAL.who, LOCAL.name, what, ids))
