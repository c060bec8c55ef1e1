"""Which faces a query means, as a statement. Pure functions, safe from any thread."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, FromClause, Select, Table, exists, false, func, literal, or_, select

from facesearch.databases.metadata_values import value_columns
from facesearch.databases.statements import MAX_LIST, checked_value, known_ids
from facesearch.errors import InvalidParameter
from facesearch.records import (
    ABOVE,
    AT_LEAST,
    AT_MOST,
    BELOW,
    EVERY_FACE,
    EXISTS,
    IN,
    MAX_CONDITIONS,
    MAX_VALUES,
    MISSING,
    Condition,
    FaceQuery,
)

_RANGES = {ABOVE: "__gt__", AT_LEAST: "__ge__", BELOW: "__lt__", AT_MOST: "__le__"}
NOBODY = 0
_LONGEST_TEXT = 255
# From here on, two whole numbers may be one as a float.
_MAX_EXACT = 2**53


class FaceTables(NamedTuple):
    """The tables that a query is about."""

    face: Table
    value: Table
    change: Table


class Selection(NamedTuple):
    """A statement that gives ids of faces, each once, in no order, and its column."""

    statement: Select[Any]
    face_id: ColumnElement[int]


def selected_faces(
    tables: FaceTables, collection: int, query: FaceQuery, changed_after: int | None = None
) -> Selection:
    """Return the statement for the faces of a collection that satisfy a query.

    It begins with the metadata where a condition says what they are: there are indexes by value.

    Raises:
        InvalidParameter: a condition cannot be asked for.
    """
    check_query(query)
    wanted: dict[str, list[Condition]] = {}
    for condition in query.conditions:
        if condition.operator != MISSING:
            wanted.setdefault(condition.name, []).append(condition)
    values = [tables.value.alias(f"value{n}") for n in range(len(wanted))]
    face_id: ColumnElement[int] = values[0].c.face_id if values else tables.face.c.id
    source: FromClause = values[0] if values else tables.face
    restrictions: list[ColumnElement[bool]] = []
    for value, (name, conditions) in zip(values, wanted.items(), strict=True):
        if value is not values[0]:
            source = source.join(value, value.c.face_id == face_id)
        restrictions += [value.c.collection_number == collection, value.c.name == _encoded(name)]
        restrictions += [_holds(value, condition) for condition in conditions if condition.operator != EXISTS]
    of_face = list(_of_face(tables.face, query))
    if values and of_face:
        source = source.join(tables.face, tables.face.c.id == face_id)
    elif not values:
        restrictions.append(tables.face.c.collection_number == collection)
    if changed_after is not None:
        change = tables.change
        source = source.join(change, change.c.face_id == face_id)
        restrictions += [change.c.collection_number == collection, change.c.change_number > changed_after]
    restrictions += of_face
    restrictions += [
        ~_has(tables.value, face_id, condition.name)
        for condition in query.conditions
        if condition.operator == MISSING
    ]
    return Selection(select(face_id).select_from(source).where(*restrictions), face_id)


def parts_of_query(query: FaceQuery) -> tuple[list[FaceQuery], list[FaceQuery]]:
    """Cut a query for all faces into ones that an index answers alone: to satisfy all, and to satisfy none.

    To join two that each mean half of a million faces takes a server ten times as long as to give both. What
    an external id is asked for besides is not cut off: few faces have it.
    """
    if query.external_id is not None:
        return [query], []
    by_name: dict[str, list[Condition]] = {}
    unwanted: list[FaceQuery] = []
    for condition in query.conditions:
        if condition.operator == MISSING:
            unwanted.append(FaceQuery(conditions=(Condition(condition.name, EXISTS),)))
        else:
            by_name.setdefault(condition.name, []).append(condition)
    wanted = [FaceQuery(conditions=tuple(conditions)) for conditions in by_name.values()]
    if query.people is not None:
        wanted.append(FaceQuery(people=query.people))
    return wanted or [EVERY_FACE], unwanted


def packed(selection: Selection) -> Select[Any]:
    """Return a statement for the ids of a selection in words of 64, as MySQL can give them; see `unpacked`.

    A row for each id takes a driver five times as long, where they are half of a million.
    """
    word = selection.face_id.bitwise_rshift(6)
    bits = func.bit_or(literal(1).bitwise_lshift(selection.face_id.bitwise_and(63)))
    return selection.statement.with_only_columns(word, bits).group_by(word).order_by(None)


def unpacked(rows: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    """Return the ids that `packed` gave, ascending."""
    words = np.array([row[0] for row in rows], np.int64)
    bits = np.array([row[1] for row in rows], "<u8")
    order = np.argsort(words)
    found = np.unpackbits(bits[order].view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    places, offsets = np.nonzero(found)
    return words[order][places] * 64 + offsets


def check_query(query: FaceQuery) -> None:
    """Raise InvalidParameter where a query cannot be asked."""
    if len(query.conditions) > MAX_CONDITIONS:
        raise InvalidParameter(f"A filter has at most {MAX_CONDITIONS} conditions.")
    if query.people is not None and len(query.people) > MAX_LIST:
        raise InvalidParameter(f"A filter names at most {MAX_LIST} persons.")
    for condition in query.conditions:
        count = len(condition.values)
        if condition.operator == IN:
            if count > MAX_VALUES:
                raise InvalidParameter(f"A condition names at most {MAX_VALUES} values.")
        elif condition.operator in _RANGES:
            if count != 1 or isinstance(condition.values[0], bool):
                raise InvalidParameter("The end of a range is one number or one text.")
        elif condition.operator not in (EXISTS, MISSING) or count:
            raise InvalidParameter("A condition has an operator that is not known, or values it cannot have.")
        for value in condition.values:
            if not isinstance(checked_value(value), str | int | float):
                raise InvalidParameter("A condition's values are texts, numbers and booleans.")


def _of_face(face: Table, query: FaceQuery) -> Iterator[ColumnElement[bool]]:
    if query.people is not None:
        people = [NOBODY, *known_ids(query.people)] if NOBODY in query.people else known_ids(query.people)
        yield face.c.person_number.in_(people) if people else false()
    if query.external_id is not None:
        yield face.c.external_id == checked_value(query.external_id)


def _has(value: Table, face_id: ColumnElement[int], name: str) -> ColumnElement[bool]:
    other = value.alias()
    return exists().where(other.c.face_id == face_id, other.c.name == _encoded(name)).correlate_except(other)


def _holds(value: FromClause, condition: Condition) -> ColumnElement[bool]:
    if condition.operator == IN:
        return _is_one_of(value, condition.values)
    [end] = condition.values
    if isinstance(end, str):
        column, bound = value.c.text_value, value_columns(end)["text_value"]
    else:
        column, bound = value.c.number_value, float(end)
    result: ColumnElement[bool] = getattr(column, _RANGES[condition.operator])(bound)
    return result


def _is_one_of(value: FromClause, wanted: Sequence[Any]) -> ColumnElement[bool]:
    """Numbers are compared by value, texts and booleans by how they are spelled."""
    numbers = [float(one) for one in wanted if _is_number(one)]
    texts = [value_columns(one) for one in wanted if not _is_number(one)]
    short = [one["text_value"] for one in texts if len(one["text_value"].decode()) < _LONGEST_TEXT]
    # Whether a stored text was cut is in no index, and only one of this length may have been.
    long = [
        one["text_value"]
        for one in texts
        if len(one["text_value"].decode()) == _LONGEST_TEXT and not one["is_cut"]
    ]
    choices: list[ColumnElement[bool]] = []
    if numbers:
        choices.append(value.c.number_value.in_(numbers))
    if short:
        choices.append(value.c.text_value.in_(short))
    if long:
        choices.append(value.c.text_value.in_(long) & (value.c.is_cut == 0))
    return or_(*choices) if choices else false()


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < _MAX_EXACT


def _encoded(name: str) -> bytes:
    return str(checked_value(name)).encode()
