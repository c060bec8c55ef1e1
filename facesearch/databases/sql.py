"""The five verbs over SQLAlchemy Core, for any SQL database."""

import threading
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine, Float, MetaData, Table, delete, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError, NoSuchTableError, SQLAlchemyError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.sql import quoted_name

from facesearch.databases.slow_statements import tell_slow_statements
from facesearch.databases.statements import (
    batches,
    checked_identifier,
    checked_row,
    checked_type,
    condition,
    condition_column,
    same_columns,
)
from facesearch.errors import Conflict, DatabaseUnavailable, FacesearchError, InvalidParameter
from facesearch.interfaces import DatabaseCRUD
from facesearch.timings import stage

MAX_NAME = 64
WRITES = "facesearch_writes"


class _Transaction:
    """A thread's open transaction; lives as long as its `with` block.

    Once a part of it failed, it can only be rolled back: which of its statements still hold is then
    different from database to database.
    """

    def __init__(self, connection: Connection, *, reads_only: bool = False) -> None:
        self.connection = connection
        self.reads_only = reads_only
        self.failure: FacesearchError | None = None

    def fail(self, error: BaseException) -> None:
        if self.failure is None:
            known = isinstance(error, FacesearchError)
            self.failure = error if known else Conflict("A part of the transaction failed.")  # type: ignore[assignment]


class SQLDatabase(DatabaseCRUD):
    """The five verbs on one SQLAlchemy engine.

    Lives as long as its process, and pools its connections. Any thread may call it; a transaction
    belongs to the thread that opened it. Not to be carried over a fork.

    A subclass makes the engine, and says what its driver's errors mean. One that is opened for reading alone
    lets the database refuse every write.
    """

    _read_only = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tables: dict[str, Table] = {}
        self._local = threading.local()

    @abstractmethod
    def _meaning(self, error: BaseException) -> FacesearchError | None:
        """What an error of the driver means to a caller; None where that is not known."""

    def _table_options(self) -> str:
        """What follows the columns in CREATE TABLE."""
        return ""

    def _moment_statements(self) -> tuple[str, ...]:
        """What begins a transaction that sees the database as it is at its first look."""
        return ("BEGIN",)

    def _ping_statement(self) -> str:
        return "SELECT 1"

    def create(self, table: str, columns: Mapping[str, str]) -> None:
        if self._transaction is not None:
            # MySQL would commit the transaction at this point, without a word.
            raise InvalidParameter("A table cannot be created inside a transaction.")
        if not columns:
            raise InvalidParameter("A table has at least one column.")
        quote = self._engine.dialect.identifier_preparer.quote_identifier
        name = quote(checked_identifier(table))
        body = ", ".join(f"{quote(checked_identifier(c))} {checked_type(t)}" for c, t in columns.items())
        try:
            with self._connection(writes=True) as connection:
                connection.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS {name} ({body}){self._table_options()}"
                )
        except FacesearchError as error:
            if type(error) is FacesearchError:
                raise InvalidParameter("The database does not accept these columns.") from error.__cause__
            raise
        self._tables.pop(table, None)

    def insert(self, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        target = self._table(table, same_columns(rows))
        checked = [checked_row(row) for row in rows]
        with self._connection(writes=True) as connection:
            for batch in batches(checked):
                connection.execute(insert(target), batch)

    def select(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: Mapping[str, Any] | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> list[dict[str, Any]]:
        names = [*(columns or ()), *map(condition_column, where or ()), *([order_by] if order_by else ())]
        source = self._table(table, names)
        wanted = list(source.c.keys() if columns is None else columns)
        if not wanted:
            raise InvalidParameter("At least one column is selected.")
        query = select(*(source.c[name] for name in wanted))
        if where:
            query = query.where(condition(source, where))
        if order_by is not None:
            query = query.order_by(source.c[order_by].desc() if descending else source.c[order_by])
        if limit is not None:
            if limit < 0:
                raise InvalidParameter("A limit is not negative.")
            query = query.limit(limit)
        with self._connection(writes=False) as connection:
            rows = connection.execute(query).all()
        return [dict(zip(wanted, row, strict=True)) for row in rows]

    def update(self, table: str, values: Mapping[str, Any], where: Mapping[str, Any]) -> int:
        if not values or not where:
            raise InvalidParameter("An update names columns to set, and conditions.")
        target = self._table(table, [*values, *map(condition_column, where)])
        statement = update(target).where(condition(target, where)).values(checked_row(values))
        with self._connection(writes=True) as connection:
            return connection.execute(statement).rowcount

    def delete(self, table: str, where: Mapping[str, Any]) -> int:
        if not where:
            raise InvalidParameter("A deletion names conditions.")
        target = self._table(table, list(map(condition_column, where)))
        with self._connection(writes=True) as connection:
            return connection.execute(delete(target).where(condition(target, where))).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Join this thread's verbs into one transaction: committed at the end, rolled back on an error.

        An inner `transaction()` joins the outer one. After an error inside, the whole of it can only be
        rolled back: later verbs and the end raise that error again.
        """
        outer = self._transaction
        if outer is not None:
            try:
                yield
            except BaseException as error:
                outer.fail(error)
                raise
            return
        with self._begun() as connection:
            current = _Transaction(connection)
            self._local.transaction = current
            try:
                yield
            finally:
                self._local.transaction = None
            if current.failure is not None:
                raise current.failure

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """Let all verbs of this thread see the database as it is now; those that write are refused.

        It takes no lock, and others write meanwhile: what they replace is kept for as long as this lasts.

        Raises:
            InvalidParameter: this thread is in a transaction already.
        """
        if self._transaction is not None:
            raise InvalidParameter("One moment is read in a transaction of its own.")
        with self._reading() as connection:
            for statement in self._moment_statements():
                connection.exec_driver_sql(statement)
            self._local.transaction = _Transaction(connection, reads_only=True)
            try:
                yield
            finally:
                self._local.transaction = None

    def ping(self) -> None:
        with self._connection(writes=False) as connection:
            connection.execute(text(self._ping_statement())).all()

    def tell_slow_statements(self, limit_ms: float) -> None:
        """Have the log told of statements that take longer; called once, before the first."""
        tell_slow_statements(self._engine, limit_ms)

    def close(self) -> None:
        self._engine.dispose()

    @property
    def _transaction(self) -> _Transaction | None:
        return getattr(self._local, "transaction", None)

    @contextmanager
    def _connection(self, *, writes: bool) -> Iterator[Connection]:
        """The connection for one verb: the transaction's, or one of the verb's own."""
        current = self._transaction
        with stage("database"):
            if current is None:
                with self._begun() if writes else self._reading() as connection:
                    yield connection
                return
            if current.failure is not None:
                raise current.failure
            if writes and current.reads_only:
                raise InvalidParameter("Nothing is written while one moment is read.")
            try:
                with self._translated():
                    yield current.connection
            except FacesearchError as error:
                current.fail(error)
                raise

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._translated():
            connection = self._engine.connect()
            try:
                yield connection
            finally:
                give_back(connection)

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """A writing transaction on a connection of its own."""
        with self._translated():
            with stage("database"):
                connection = self._engine.connect().execution_options(**{WRITES: True})
            try:
                with stage("database"):
                    connection.begin()
                yield connection
                with stage("database"):
                    connection.commit()
            finally:
                give_back(connection)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let nothing but this project's errors out, and no host, user or SQL in their messages."""
        try:
            yield
        except PoolTimeout:
            raise DatabaseUnavailable("All connections to the database are in use.") from None
        except StatementError as error:
            driver_error = error.orig or error
            known = self._meaning(driver_error)
            if known is not None:
                raise known from None
            if isinstance(error, DBAPIError):
                raise FacesearchError("The database could not carry out a statement.") from error
            raise InvalidParameter("A value does not fit its column.") from error
        except SQLAlchemyError as error:
            raise FacesearchError("The database could not be used as expected.") from error
        except FacesearchError:
            raise
        except Exception as error:
            # A driver may raise past SQLAlchemy: a lost connection shows so at COMMIT in MySQL's.
            known = self._meaning(error)
            if known is None:
                raise
            raise known from None

    def _table(self, name: str, columns: Sequence[str] | frozenset[str]) -> Table:
        """Return a table of the database that has these columns; what is not known yet is looked up."""
        table = self._tables.get(name)
        if table is None or not _has(table, columns):
            table = self._reflected(name)
            if not _has(table, columns):
                raise InvalidParameter("The table has no such column.")
            self._tables[name] = table
        return table

    def _reflected(self, name: str) -> Table:
        metadata = MetaData()
        event.listen(metadata, "column_reflect", _as_wanted)
        if 0 < len(name) <= MAX_NAME and name.isprintable():
            quoted = quoted_name(name, quote=True)
            with self._connection(writes=False) as connection, suppress(NoSuchTableError):
                return Table(quoted, metadata, autoload_with=connection, resolve_fks=False)
        raise InvalidParameter("There is no such table.")


def _has(table: Table, columns: Sequence[str] | frozenset[str]) -> bool:
    return all(column in table.c for column in columns)


def _as_wanted(_inspector: Any, _table: Table, column: Any) -> None:
    # Words become keywords: VECTOR is one since MySQL 9 and MariaDB 11.7.
    column["name"] = quoted_name(column["name"], quote=True)
    if isinstance(column["type"], Float):
        # SQLAlchemy reads MySQL's DOUBLE as a decimal of ten digits.
        column["type"].asdecimal = False


def give_back(connection: Connection) -> None:
    """End what is open and return the connection to the pool; one that cannot do that is thrown away."""
    try:
        if connection.in_transaction():
            connection.rollback()
    except Exception:
        connection.invalidate()
    connection.close()
