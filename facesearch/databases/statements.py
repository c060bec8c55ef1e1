"""The checked parts that statements are built of: names, values, conditions, column types.

Pure functions, safe from any thread. All of them raise InvalidParameter.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Table, and_, false, or_

from facesearch.errors import InvalidParameter

T = TypeVar("T")

MAX_LIST = 10_000
IDS_A_QUERY = 1_000
MAX_ROWS_A_STATEMENT = 500
# MariaDB takes 16 MiB a statement by default, and escaping may double a value.
MAX_BYTES_A_STATEMENT = 4 * 1024**2
INT64 = range(-(2**63), 2**63)
MAX_ID = 2**63 - 1

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_COLUMN_TYPE = re.compile(
    r"[A-Za-z]+"
    r"(?: ?\(\d{1,5}(?:, ?\d{1,5})?\))?"
    r"(?: (?:[A-Za-z_][A-Za-z0-9_]*|-?\d+(?:\.\d+)?|'[A-Za-z0-9 _.:-]*'))*"
)
_CONDITION = re.compile(r"(?P<column>.*?)\s*(?P<comparison><=|>=|<|>)?", re.DOTALL)
_COMPARISONS = {"<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}


def checked_identifier(name: str) -> str:
    """Return a name that a new table or column may have: letters, digits and underscores, at most 64."""
    if not _IDENTIFIER.fullmatch(name):
        raise InvalidParameter("A table or column name has letters, digits and underscores, at most 64.")
    return name


def checked_type(sql_type: str) -> str:
    """Return a column type like `VARCHAR(255) NOT NULL DEFAULT ''`; never a nested statement."""
    if len(sql_type) > 200 or not _COLUMN_TYPE.fullmatch(sql_type):
        raise InvalidParameter("A column has a type that is not accepted.")
    return sql_type


def checked_value(value: Any) -> Any:
    """Return a value as a type that every driver binds without loss.

    NaN and infinities are refused (SQLite would store NULL, MySQL fails), as are integers beyond 64 bits
    and text that is not Unicode (half of a surrogate pair).
    """
    match value:
        case None | datetime() | date() | time():
            return value
        case bool() | int():
            if int(value) not in INT64:
                raise InvalidParameter("A whole number has more than 64 bits.")
            return int(value)
        case float():
            if not math.isfinite(value):
                raise InvalidParameter("A number is not finite.")
            return float(value)
        case Decimal():
            if not value.is_finite():
                raise InvalidParameter("A number is not finite.")
            return value
        case str():
            if not is_unicode(value):
                raise InvalidParameter("A text is not valid Unicode.")
            return str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value)
    raise InvalidParameter(f"A value of type {type(value).__name__} cannot be stored.")


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with every value checked."""
    return {name: checked_value(value) for name, value in row.items()}


def same_columns(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the columns that all rows have."""
    names = {frozenset(row) for row in rows}
    if len(names) != 1 or not (columns := names.pop()):
        raise InvalidParameter("Rows that are inserted together have the same columns, at least one.")
    return columns


def batches(rows: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut rows into lists that one statement can carry."""
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        row_size = sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        if batch and (len(batch) == MAX_ROWS_A_STATEMENT or size + row_size > MAX_BYTES_A_STATEMENT):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row_size
    if batch:
        yield batch


def parts(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into lists that one query can name."""
    for start in range(0, len(values), IDS_A_QUERY):
        yield values[start : start + IDS_A_QUERY]


def known_ids(ids: Iterable[int]) -> list[int]:
    """Return the ids that may be there, ascending, each once."""
    return sorted({i for i in ids if 0 < i <= MAX_ID})


def condition_column(key: str) -> str:
    """Return the column that a key of `where` names."""
    return _split(key)[0]


def condition(table: Table, where: Mapping[str, Any]) -> ColumnElement[bool]:
    """Turn a non-empty `where` into one condition; its columns are known to be the table's."""
    return and_(*(_one_condition(table.c[condition_column(key)], key, value) for key, value in where.items()))


def _one_condition(column: Column[Any], key: str, value: Any) -> ColumnElement[bool]:
    _, comparison = _split(key)
    if isinstance(value, list | tuple | set | frozenset):
        if comparison:
            raise InvalidParameter("A comparison takes one value, not a list.")
        return _one_of(column, list(value))
    value = checked_value(value)
    if comparison:
        if value is None:
            raise InvalidParameter("A comparison takes a value.")
        result: ColumnElement[bool] = getattr(column, _COMPARISONS[comparison])(value)
        return result
    return column.is_(None) if value is None else column == value


def _one_of(column: Column[Any], values: list[Any]) -> ColumnElement[bool]:
    if len(values) > MAX_LIST:
        raise InvalidParameter(f"A list of values has more than {MAX_LIST} entries.")
    values = [checked_value(value) for value in values]
    known = [value for value in values if value is not None]
    parts = [column.in_(known)] if known else []
    if len(known) < len(values):
        parts.append(column.is_(None))
    return or_(false(), *parts)


def _split(key: str) -> tuple[str, str | None]:
    found = _CONDITION.fullmatch(key)
    assert found is not None, "the pattern matches every text"
    return found["column"], found["comparison"]
