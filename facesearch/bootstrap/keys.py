"""The keys of clients, for the command line."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from facesearch.bootstrap.direct import refuse_older_tables
from facesearch.bootstrap.service import key_access
from facesearch.config import Settings
from facesearch.databases import open_image_database, open_key_store
from facesearch.records import Key
from facesearch.service.keys.issuing import KeyDesk

__all__ = ["KeyDesk", "key_desk", "stored_keys"]


def stored_keys(settings: Settings) -> tuple[Key, ...]:
    """Return all keys, the oldest first; nothing is changed.

    Raises:
        Conflict: the tables are not of this version; nothing was migrated.
        DatabaseUnavailable: there is no database yet, or it cannot be reached.
    """
    with closing(open_image_database(settings, read_only=True)) as database:
        return open_key_store(database).keys()


@contextmanager
def key_desk(settings: Settings, *, makes_database: bool = False) -> Iterator[KeyDesk]:
    """Where keys are made and revoked, on the database that the settings name.

    Args:
        makes_database: where there is none; the first key is made before the first start.

    Raises:
        Conflict: the tables are not of this version; nothing was migrated.
        DatabaseUnavailable: there is no database, or it cannot be reached.
    """
    if makes_database:
        refuse_older_tables(settings)
    else:
        with closing(open_image_database(settings, read_only=True)) as reading:
            reading.prepare()
    with closing(open_image_database(settings)) as database:
        store = open_key_store(database)
        with closing(key_access(settings, store)) as access:
            yield KeyDesk(store, access.record)
