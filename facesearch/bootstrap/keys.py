"""The keys of clients, for the command line."""

from collections.abc import Iterator
from contextlib import contextmanager

from facesearch.bootstrap.service import key_access
from facesearch.config import Settings
from facesearch.databases import open_image_database, open_key_store
from facesearch.service.keys.issuing import KeyDesk

__all__ = ["KeyDesk", "key_desk"]


@contextmanager
def key_desk(settings: Settings) -> Iterator[KeyDesk]:
    """Where keys are made and revoked, on the database that the settings name.

    Raises:
        DatabaseUnavailable: it cannot be reached.
    """
    database = open_image_database(settings)
    try:
        store = open_key_store(database)
        access = key_access(settings, store)
        try:
            yield KeyDesk(store, access.record)
        finally:
            access.close()
    finally:
        database.close()
