"""Makes the image database that the settings name, and the stores of what else lies in it."""

from facesearch.config import Settings
from facesearch.errors import InvalidConfig
from facesearch.interfaces import (
    CollectionStore,
    ImageDatabase,
    JobStore,
    KeyStore,
    ReencodingStore,
    TransferStore,
)

SQLITE_FILE = "facesearch.db"


def open_image_database(settings: Settings, *, read_only: bool = False) -> ImageDatabase:
    """Return the database that the settings name, without connecting to it.

    Call it before anything loads dlib or ONNX Runtime: the MySQL driver has to be loaded first, and
    that happens here where the engine is mysql. The embedded database lies in `data_dir`, which is made
    for its owner alone where it is missing.

    Args:
        read_only: nothing is made, migrated or changed; where the tables are not of this version, whoever
            asks gets Conflict.

    Raises:
        InvalidConfig: `data_dir` cannot be made, or the driver cannot be loaded.
    """
    if settings.database.engine == "mysql":
        from facesearch.databases.mysql import MySQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy

        server = MySQLImageDatabase(settings.database, read_only=read_only)
        server.tell_slow_statements(settings.log.slow_statement_ms)
        return server
    from facesearch.databases.sqlite import SQLiteImageDatabase  # noqa: PLC0415  loads SQLAlchemy

    file = settings.data_dir / SQLITE_FILE
    try:
        if not read_only:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidConfig(f"data_dir: the folder cannot be made: {error.strerror}.") from None
    embedded = SQLiteImageDatabase(
        file,
        connections=settings.database.connections,
        wait_s=settings.database.wait_s,
        read_only=read_only,
    )
    embedded.tell_slow_statements(settings.log.slow_statement_ms)
    return embedded


def open_collection_store(database: ImageDatabase) -> CollectionStore:
    """Return the store of the collections in a database of `open_image_database`; as `open_job_store`."""
    from facesearch.databases.collections import SQLCollectionStore  # noqa: PLC0415  loads SQLAlchemy
    from facesearch.databases.faces import SQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy

    if not isinstance(database, SQLImageDatabase):
        raise TypeError("Collections lie in an SQL database.")
    return SQLCollectionStore(database)


def open_job_store(database: ImageDatabase) -> JobStore:
    """Return the store of the jobs that lie in a database of `open_image_database`.

    It shares the database's connections and transactions, and is closed with it.
    """
    from facesearch.databases.faces import SQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy
    from facesearch.databases.jobs import SQLJobStore  # noqa: PLC0415  loads SQLAlchemy

    if not isinstance(database, SQLImageDatabase):
        raise TypeError("Jobs lie in an SQL database.")
    return SQLJobStore(database)


def open_key_store(database: ImageDatabase) -> KeyStore:
    """Return the store of the keys that lie in a database of `open_image_database`; as `open_job_store`."""
    from facesearch.databases.faces import SQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy
    from facesearch.databases.keys import SQLKeyStore  # noqa: PLC0415  loads SQLAlchemy

    if not isinstance(database, SQLImageDatabase):
        raise TypeError("Keys lie in an SQL database.")
    return SQLKeyStore(database)


def open_transfer_store(database: ImageDatabase) -> TransferStore:
    """Return what copies the collections of a database of `open_image_database`; as `open_job_store`."""
    from facesearch.databases.faces import SQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy
    from facesearch.databases.transfers import SQLTransferStore  # noqa: PLC0415  loads SQLAlchemy

    if not isinstance(database, SQLImageDatabase):
        raise TypeError("Collections are copied from and into an SQL database.")
    return SQLTransferStore(database)


def open_reencoding_store(database: ImageDatabase) -> ReencodingStore:
    """Return the store of next vectors in a database of `open_image_database`; as `open_job_store`."""
    from facesearch.databases.faces import SQLImageDatabase  # noqa: PLC0415  loads SQLAlchemy
    from facesearch.databases.reencoding import SQLReencodingStore  # noqa: PLC0415  loads SQLAlchemy

    if not isinstance(database, SQLImageDatabase):
        raise TypeError("Next vectors lie in an SQL database.")
    return SQLReencodingStore(database)
