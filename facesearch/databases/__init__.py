"""SQL databases behind the ports of interfaces.py that speak of what is stored.

`open_image_database` and the other `open_...` are what `bootstrap` calls. The classes are
reached through this package without being loaded by it: SQLAlchemy and the drivers are imported when the
first database is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from facesearch.databases.factory import (
    open_collection_store,
    open_image_database,
    open_job_store,
    open_key_store,
    open_reencoding_store,
    open_transfer_store,
)

if TYPE_CHECKING:
    from facesearch.databases.collections import SQLCollectionStore
    from facesearch.databases.faces import SQLImageDatabase
    from facesearch.databases.jobs import SQLJobStore
    from facesearch.databases.keys import SQLKeyStore
    from facesearch.databases.mysql import MySQLDatabase, MySQLImageDatabase
    from facesearch.databases.people import SQLPersonStore
    from facesearch.databases.reencoding import SQLReencodingStore
    from facesearch.databases.sql import SQLDatabase
    from facesearch.databases.sqlite import SQLiteDatabase, SQLiteImageDatabase
    from facesearch.databases.transfers import SQLTransferStore

__all__ = [
    "MySQLDatabase",
    "MySQLImageDatabase",
    "SQLCollectionStore",
    "SQLDatabase",
    "SQLImageDatabase",
    "SQLJobStore",
    "SQLKeyStore",
    "SQLPersonStore",
    "SQLReencodingStore",
    "SQLTransferStore",
    "SQLiteDatabase",
    "SQLiteImageDatabase",
    "open_collection_store",
    "open_image_database",
    "open_job_store",
    "open_key_store",
    "open_reencoding_store",
    "open_transfer_store",
]

_HOMES = {
    "MySQLDatabase": "mysql",
    "MySQLImageDatabase": "mysql",
    "SQLCollectionStore": "collections",
    "SQLDatabase": "sql",
    "SQLImageDatabase": "faces",
    "SQLJobStore": "jobs",
    "SQLKeyStore": "keys",
    "SQLPersonStore": "people",
    "SQLReencodingStore": "reencoding",
    "SQLTransferStore": "transfers",
    "SQLiteDatabase": "sqlite",
    "SQLiteImageDatabase": "sqlite",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
