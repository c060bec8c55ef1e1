"""Looks at the database as it is, for whoever asks whether it is in order; changes nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from facesearch.config import Settings
from facesearch.databases.prepared import PreparedDatabase
from facesearch.databases.statements import MAX_BYTES_A_STATEMENT
from facesearch.databases.tables import COLLECTIONS, FACES, MODELS, SCHEMA_VERSION, STATE, VERSIONS
from facesearch.errors import FacesearchError
from facesearch.records import OK, PROBLEM, WARNING, Finding

_RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "ALTER", "INDEX"})
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?:TABLE )?(?P<on>\S+) TO ", re.IGNORECASE)
_COLLATION = "utf8mb4_bin"
_OTHERS = "FACESEARCH_"
# The tables may be checked page by page while they are this small.
_CHECKED_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class CollectionState:
    """What a collection holds; without a model it has no faces yet.

    `dimension` is that of the model's vectors, 0 without one, and `next_model_id` that of vectors that are
    being made to take the place of these.
    """

    number: int
    name: str
    model_id: str | None
    dimension: int
    faces: int
    newest_change: int
    next_model_id: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What the database holds.

    `collections`, by their numbers, are empty and `database_id` is None where the tables are not of this
    version. `clock_ahead_s` is how far the server's clock is ahead of this host's, None where there is no
    server.
    """

    version: str | None
    collections: tuple[CollectionState, ...] = ()
    database_id: str | None = None
    clock_ahead_s: float | None = None

    @property
    def faces(self) -> int:
        """How many there are in all collections."""
        return sum(collection.faces for collection in self.collections)


def state_of(database: PreparedDatabase) -> DatabaseState:
    """Read what a database holds.

    Raises:
        DatabaseUnavailable: it cannot be reached.
        ForeignTable, Conflict: it is another program's, or a newer version's.
    """
    version = database.checked_version()
    ahead = database.look(_clock_ahead)
    if version != SCHEMA_VERSION:
        return DatabaseState(version, clock_ahead_s=ahead)
    [state] = database.select(STATE, ["database_id"])
    models = {row["model_id"]: row["dimension"] for row in database.select(MODELS)}
    faces = database.look(_count_faces)
    columns = ["number", "name", "model_id", "next_model_id", "newest_change"]
    rows = database.select(COLLECTIONS, columns, {"deleted_at": None}, "number")
    collections = tuple(
        CollectionState(
            row["number"],
            row["name"].decode(),
            row["model_id"],
            models.get(row["model_id"], 0),
            faces.get(row["number"], 0),
            row["newest_change"],
            row["next_model_id"],
        )
        for row in rows
    )
    return DatabaseState(version, collections, str(state["database_id"]), ahead)


def inspect_tables(state: DatabaseState, where: str) -> Finding:
    """Say of which version the tables are, and how many faces they hold."""
    if state.version is None:
        return Finding("tables", OK, f"{where}: no tables yet; the service makes them when it starts.")
    if state.version != SCHEMA_VERSION:
        return Finding(
            "tables",
            PROBLEM if not state.version else WARNING,
            f"{where}: the tables are of version {state.version or 'none'}, and this program needs "
            f"{SCHEMA_VERSION}.",
            "Make a backup, then run `facesearch migrate`; the service does the same when it starts.",
        )
    models = {collection.model_id for collection in state.collections} - {None}
    held = f"{state.faces:,} {'face' if state.faces == 1 else 'faces'}"
    if len(state.collections) > 1:
        held += f" in {len(state.collections):,} collections"
    if len(models) == 1:
        held += f" of {models.pop()}"
    return Finding("tables", OK, f"{where}: version {state.version}, {held}.")


def inspect_server(database: PreparedDatabase, settings: Settings) -> Iterator[Finding]:
    """Look at a MySQL or MariaDB server: this user's rights, and what the server is set to."""
    yield database.look(lambda connection: _rights(connection, settings.database.database))
    yield database.look(lambda connection: _server(connection, settings))


def inspect_file(database: PreparedDatabase, file: Path) -> Finding:
    """Look at an SQLite file: its journal, and, where it is small, every page."""
    size = file.stat().st_size

    def look(connection: Connection) -> Finding:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        if mode != "wal":
            return Finding(
                "database file",
                WARNING,
                f"The journal of the file is {mode}, not WAL: readers wait for writers.",
                "Start the service; it switches the file to WAL.",
            )
        if size > _CHECKED_BYTES:
            return Finding("database file", OK, f"WAL, {size / 1e6:,.0f} MB; too large to check every page.")
        said = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if said != "ok":
            return Finding(
                "database file",
                PROBLEM,
                "The file is damaged.",
                "Stop the service and put a backup in its place; `sqlite3 FILE .recover` saves what it can.",
            )
        return Finding("database file", OK, f"WAL, {size / 1e6:,.1f} MB, every page as it should be.")

    return database.look(look)


def why_unreachable(error: FacesearchError, settings: Settings) -> Finding:
    """Say what to do about a database that could not be read."""
    name = "SQLite" if settings.database.engine == "sqlite" else "MySQL"
    if settings.database.engine == "sqlite":
        advice = "See that this user may read and write the data folder and facesearch.db in it."
    else:
        server = f"{settings.database.host}:{settings.database.port}"
        advice = (
            f"See that a server listens on {server}, and that database.user, database.password and "
            "database.database name a user and a database of it."
        )
    return Finding("database", PROBLEM, f"{name}: {error.message}", advice)


def _count_faces(connection: Connection) -> dict[int, int]:
    """How many faces each collection has, by its number."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    number = quote("collection_number")
    counts = text(f"SELECT {number}, COUNT(*) FROM {quote(FACES)} GROUP BY {number}")  # noqa: S608
    return {int(row[0]): int(row[1]) for row in connection.execute(counts)}


def _clock_ahead(connection: Connection) -> float | None:
    if connection.dialect.name == "sqlite":
        return None
    before = datetime.now(UTC)
    theirs = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar()
    after = datetime.now(UTC)
    if not isinstance(theirs, datetime):
        return None
    return (theirs.replace(tzinfo=UTC) - (before + (after - before) / 2)).total_seconds()


def _rights(connection: Connection, database: str) -> Finding:
    lines = [str(row[0]) for row in connection.exec_driver_sql("SHOW GRANTS")]
    missing = sorted(_RIGHTS - granted(lines, database))
    if not missing:
        return Finding("database rights", OK, "This user may read, write and migrate the tables.")
    if any(" ON " not in line for line in lines):
        return Finding(
            "database rights",
            WARNING,
            f"Of {', '.join(missing)} this user has no grant of its own; its roles were not looked at.",
            "See that its roles grant them, and that it has them by default.",
        )
    return Finding(
        "database rights",
        PROBLEM,
        f"This user lacks {', '.join(missing)}.",
        f"As an administrator: GRANT {', '.join(missing)} ON {database}.* TO this user.",
    )


def granted(lines: list[str], database: str) -> frozenset[str]:
    """Return which rights lines of SHOW GRANTS give on a whole database."""
    rights: set[str] = set()
    for line in lines:
        grant = _GRANT.match(line)
        if grant is None:
            continue
        on = grant["on"].replace("`", "").replace("\\", "")
        if on in ("*.*", f"{database}.*"):
            names = {name.strip().upper() for name in grant["rights"].split(",")}
            rights |= _RIGHTS if names & {"ALL", "ALL PRIVILEGES"} else names
    return frozenset(rights)


def _server(connection: Connection, settings: Settings) -> Finding:
    row = connection.exec_driver_sql(
        "SELECT @@version, @@max_allowed_packet, @@max_connections, @@read_only, @@collation_database"
    ).one()
    version, packet, connections, read_only = str(row[0]), int(row[1]), int(row[2]), bool(row[3])
    needed = 4 * MAX_BYTES_A_STATEMENT
    wanted = settings.database.connections * settings.server.workers
    if read_only:
        return Finding(
            "database server",
            PROBLEM,
            f"{version} is set to read_only.",
            "Name the primary server in database.host, or SET GLOBAL read_only = OFF.",
        )
    if packet < needed:
        return Finding(
            "database server",
            PROBLEM if packet < needed // 2 else WARNING,
            f"max_allowed_packet is {packet / 1024**2:g} MiB; a statement may need {needed // 1024**2} MiB.",
            f"Set max_allowed_packet = {needed // 1024**2}M for the server.",
        )
    foreign = [
        table for table, collation in _collations(connection).items() if collation and collation != _COLLATION
    ]
    if foreign:
        return Finding(
            "database server",
            WARNING,
            f"{foreign[0]} has another collation than {_COLLATION}, so names may be told apart differently.",
            f"ALTER TABLE {foreign[0]} CONVERT TO CHARACTER SET utf8mb4 COLLATE {_COLLATION}.",
        )
    if connections < wanted:
        return Finding(
            "database server",
            WARNING,
            f"max_connections is {connections}; {settings.server.workers} workers with "
            f"{settings.database.connections} connections each may want {wanted}.",
            "Raise max_connections, or lower database.connections.",
        )
    return Finding(
        "database server", OK, f"{version}, packets of {packet / 1024**2:g} MiB, {connections} connections."
    )


def _collations(connection: Connection) -> dict[str, str | None]:
    if not inspect(connection).has_table(FACES):
        return {}
    rows = connection.exec_driver_sql(
        "SELECT TABLE_NAME, TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
    )
    ours = (FACES, _OTHERS)
    found = {str(name).upper(): collation for name, collation in rows}
    # The one of the versions is made by Alembic, and holds four digits.
    return {
        name: collation for name, collation in found.items() if name.startswith(ours) and name != VERSIONS
    }
