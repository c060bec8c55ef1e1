"""MySQL and MariaDB behind the five verbs, through mysql-connector-python's C extension."""

import hashlib
import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, text

from facesearch.config import DatabaseSettings
from facesearch.databases.faces import SQLImageDatabase
from facesearch.databases.sql import SQLDatabase, give_back
from facesearch.errors import Conflict, DatabaseUnavailable, FacesearchError, InvalidConfig, InvalidParameter
from facesearch.interfaces import ImageDatabase

# Compares by code point, as SQLite does, and is known to MySQL and MariaDB alike.
COLLATION = "utf8mb4_bin"
MIGRATION_WAIT_S = 60
MIGRATION_READ_TIMEOUT_S = 3600

_SESSION = (
    "SET SESSION"
    " sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION',"
    " time_zone = '+00:00', innodb_lock_wait_timeout = {wait}, lock_wait_timeout = {wait},"
    # A host that froze or lost its network in a transaction would keep its locks from all others for hours.
    " /*M! idle_transaction_timeout = {idle}, */ wait_timeout = LEAST(@@wait_timeout, {unused})"
)
# In waits for a lock: long enough for a process that is short of breath, and a minute by default.
_IDLE_WAITS = 12
_UNUSED_S = 600

_MEANINGS: dict[type[FacesearchError], dict[str, frozenset[int]]] = {
    DatabaseUnavailable: {
        "The database cannot be reached right now.": frozenset(
            {
                1042,
                1043,
                1047,
                1053,
                1077,
                1079,
                1080,
                1152,
                *range(1158, 1162),
                1184,
                1927,
                *range(2000, 2100),
                4031,
            }
        ),
        "The database has no connection left for this service.": frozenset({1040, 1129, 1135, 1203, 1226}),
        "The database refuses this service's user, password or database.": frozenset(
            {1044, 1045, 1049, 1130, 1142, 1143, 1227, 1251, 1698, 3118, 4151}
        ),
        "The database is busy: another change held its locks for too long.": frozenset(
            {1205, 1206, 1213, 1317, 1969, 3024, 3058, 3572}
        ),
        "The database's disk is full or cannot be written.": frozenset(
            {1020, 1021, 1026, 1030, 1036, 1037, 1041, 1114, 1180, 1290, 1792, 1836}
        ),
    },
    Conflict: {
        "The change contradicts what is stored.": frozenset({1022, 1062, 1451, 1452, 1557, 1586, 4025, 3819})
    },
    InvalidParameter: {
        "A value does not fit its column.": frozenset(
            {1048, 1153, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1441, 1690, 3140}
        ),
        "There is no such table or column.": frozenset({1051, 1054, 1146}),
    },
}


class MySQLDatabase(SQLDatabase):
    """The five verbs on a MySQL or MariaDB server.

    Lives as long as its process, and pools its connections. Any thread may call it; a transaction
    belongs to the thread that opened it. Not to be carried over a fork. Making it loads the driver and
    does not connect.

    Transactions read what is committed at each statement (READ COMMITTED): whoever waited for a row's
    lock then sees what the lock's last holder wrote, and no gaps between rows are locked.

    Args:
        settings: `wait_s`, rounded up to whole seconds, bounds each wait: for a free connection, for
            the server's greeting and for a lock. The wait for an answer is bounded a little later.
        read_only: the server refuses every write of these connections.

    Raises:
        InvalidConfig: the driver's C extension cannot be loaded.
    """

    def __init__(self, settings: DatabaseSettings, *, read_only: bool = False) -> None:
        self._driver_errors = _load_driver()
        self._read_only = read_only
        self._settings = settings
        self._wait_s = max(1, math.ceil(settings.wait_s))
        engine = self._engine_with(
            # A lock's timeout has to come first, or a held lock would look like a lost connection.
            read_timeout_s=self._wait_s + 5,
            poolclass=QueuePool,
            pool_size=settings.connections,
            max_overflow=0,
            pool_timeout=settings.wait_s,
            pool_pre_ping=True,
            # Firewalls forget idle connections without telling either end.
            pool_recycle=_UNUSED_S,
            pool_use_lifo=True,
            # Every connection comes back with its transaction ended; see sql.give_back.
            pool_reset_on_return=None,
        )
        super().__init__(engine)

    def _engine_with(self, read_timeout_s: int, **pool: Any) -> Engine:
        settings = self._settings
        url = URL.create(
            "mysql+mysqlconnector",
            username=settings.user,
            password=settings.password.get_secret_value(),
            host=settings.host,
            port=settings.port,
            database=settings.database,
        )
        arguments = {
            "use_pure": False,
            "charset": "utf8mb4",
            "collation": COLLATION,
            "connection_timeout": self._wait_s,
            "read_timeout": read_timeout_s,
            "write_timeout": read_timeout_s,
            "allow_local_infile": False,
        }
        engine = create_engine(
            url, connect_args=arguments, isolation_level="READ COMMITTED", hide_parameters=True, **pool
        )
        event.listen(engine, "connect", self._start_session)
        return engine

    def _start_session(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        try:
            idle_s = _IDLE_WAITS * self._wait_s
            cursor.execute(_SESSION.format(wait=self._wait_s, idle=idle_s, unused=max(idle_s, _UNUSED_S)))
            if self._read_only:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
        finally:
            cursor.close()

    def _moment_statements(self) -> tuple[str, ...]:
        # For the next transaction alone; the snapshot is that of its begin, of all tables.
        return (
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
        )

    def _table_options(self) -> str:
        return f" ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE {COLLATION}"

    def _meaning(self, error: BaseException) -> FacesearchError | None:
        if not isinstance(error, self._driver_errors):
            return None
        number = getattr(error, "errno", None)
        for kind, messages in _MEANINGS.items():
            for message, numbers in messages.items():
                if number in numbers:
                    return kind(message)
        if number in (None, -1) and type(error).__name__ in ("InterfaceError", "OperationalError"):
            return DatabaseUnavailable()
        return None


class MySQLImageDatabase(MySQLDatabase, SQLImageDatabase, ImageDatabase):
    """The truth about faces on a MySQL or MariaDB server; lifetime and threads as for MySQLDatabase."""

    _packs_ids = True

    def wipe(self) -> None:
        """Do nothing: when a server overwrites its files is for its configuration to say."""
        if self._transaction is not None:
            raise InvalidParameter("What a transaction removes is there until its end.")
        self.ready()

    @contextmanager
    def _migrating(self) -> Iterator[Connection]:
        """A connection that alone may migrate: the server's named lock ends with it, however it ends."""
        name = "facesearch." + hashlib.sha256(self._settings.database.encode()).hexdigest()[:32]
        engine = self._engine_with(MIGRATION_READ_TIMEOUT_S, poolclass=NullPool, pool_reset_on_return=None)
        with self._translated():
            connection = engine.connect()
            try:
                take = text("SELECT GET_LOCK(:name, :wait)")
                if connection.execute(take, {"name": name, "wait": MIGRATION_WAIT_S}).scalar() != 1:
                    raise DatabaseUnavailable("Another process has been migrating the database for too long.")
                connection.commit()
                yield connection
                connection.commit()
            finally:
                give_back(connection)


def _load_driver() -> tuple[type[BaseException], ...]:
    """Load the driver's C extension, and return the bases of its errors.

    It is loaded by its own name and first: once dlib or ONNX Runtime are in the process, it may find no
    room for its thread-local data, and the driver would fall back to pure Python, four times slower,
    without a word.
    """
    try:
        extension = importlib.import_module("_mysql_connector")
        driver = importlib.import_module("mysql.connector")
    except ImportError:
        raise InvalidConfig(
            "database.engine: the C extension of mysql-connector-python cannot be loaded. It has to be"
            " installed, and loaded before dlib and ONNX Runtime."
        ) from None
    return (driver.Error, extension.MySQLError)
