"""Brings a database's tables to this program's version. Alembic is loaded only when there is work."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from facesearch.databases.tables import FACES, SCHEMA_VERSION, VERSIONS
from facesearch.errors import Conflict, ForeignTable

MIGRATIONS = Path(__file__).parent / "migrations"


def stored_version(connection: Connection) -> str | None:
    """Return the version of the tables: None where this program made none, "" where it was cut short."""
    if not inspect(connection).has_table(VERSIONS):
        return None
    quoted = connection.dialect.identifier_preparer.quote_identifier(VERSIONS)
    return connection.execute(text(f"SELECT version_num FROM {quoted}")).scalar() or ""  # noqa: S608


def check(connection: Connection, version: str | None) -> None:
    """Refuse a database that is another program's, or a newer version's; nothing in it is touched.

    Raises:
        ForeignTable: there is a table IMAGE_DATASET that this program did not make.
        Conflict: a newer version of this program has migrated the database.
    """
    # Looked at once more: between the two questions another process may have made the tables.
    if version is None and inspect(connection).has_table(FACES) and stored_version(connection) is None:
        raise ForeignTable(
            f"The database holds a table {FACES} of another program; it was neither read nor changed."
            " Name another database in the configuration, or rename that table, and add the photos again."
        )
    if version is not None and version > SCHEMA_VERSION:
        raise Conflict("The database was made by a newer version of this program.")


def upgrade(connection: Connection, to: str = "head") -> None:
    """Run the missing migrations on a connection that no other process migrates beside."""
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory(MIGRATIONS)
    context = EnvironmentContext(
        Config(),
        script,
        fn=lambda revision, _context: script._upgrade_revs(to, revision),
        destination_rev=to,
    )
    with context:
        context.configure(
            connection=connection,
            version_table=VERSIONS,
            # SQLite's schema takes part in transactions, which Alembic does not assume.
            transactional_ddl=connection.dialect.name == "sqlite",
        )
        with context.begin_transaction():
            context.run_migrations()
