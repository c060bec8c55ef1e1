"""Which faces of a collection a request means: persons, an external id, and conditions on metadata.

A filter is one JSON object: a value that the metadata of a name must equal, or an object of operators.
`{"site": "Paris", "team": {"in": ["a", "b"]}, "age": {"gte": 30, "lt": 40}, "badge": {"exists": true}}`
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Form, Query

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
from facesearch.web.ids import LARGEST, MOST

Value = str | int | float | bool

_RANGE = (ABOVE, AT_LEAST, BELOW, AT_MOST)
_LONGEST = 16_384
# A server takes a request line of 64 KiB, in which a character may be twelve bytes.
_LONGEST_IN_URL = 2_048
_LONGEST_ID = 255
EXAMPLE = (
    '{"site": "Paris", "team": {"in": ["a", "b"]}, "age": {"gte": 30, "lt": 40}, "badge": {"exists": true}}'
)


async def _query(
    person: Annotated[
        list[Annotated[int, Query(ge=0, le=LARGEST)]] | None,
        Query(max_length=MOST, description="Only faces of this person's id, or of these; 0 is nobody."),
    ] = None,
    external_id: Annotated[
        str | None, Query(max_length=_LONGEST_ID, description="Only faces of this external id.")
    ] = None,
    filter_text: Annotated[
        str | None,
        Query(
            alias="filter",
            max_length=_LONGEST_IN_URL,
            description="Only faces whose metadata is so, as a JSON object: a value, or an object of `in`, "
            "`gt`, `gte`, `lt`, `lte` and `exists`, by name.",
            examples=[EXAMPLE],
        ),
    ] = None,
) -> FaceQuery:
    people = None if person is None else frozenset(person)
    conditions = () if filter_text is None else conditions_of(filter_text)
    query = FaceQuery(people, external_id, conditions)
    return EVERY_FACE if query == EVERY_FACE else query


Among = Annotated[FaceQuery, Depends(_query)]
_IN_FORM = "Counts where the query names none."


async def _query_or_form(
    in_query: Among,
    external_id: Annotated[str | None, Form(max_length=_LONGEST_ID, description=_IN_FORM)] = None,
    filter_text: Annotated[
        str | None, Form(alias="filter", max_length=_LONGEST, description=_IN_FORM, examples=[EXAMPLE])
    ] = None,
) -> FaceQuery:
    query = in_query
    if external_id is not None and query.external_id is None:
        query = replace(query, external_id=external_id)
    if filter_text is not None and not query.conditions:
        query = replace(query, conditions=conditions_of(filter_text))
    return query


AmongOfForm = Annotated[FaceQuery, Depends(_query_or_form)]
"""As `Among`, for requests that carry a form: what is personal need not be in the URL then."""


def chosen(query: FaceQuery) -> tuple[object, ...]:
    """Return what a query asks for, in one order however it was written; see `cursors`."""
    people = None if query.people is None else sorted(query.people)
    return people, query.external_id, sorted(query.conditions, key=repr)


def conditions_of(text: str) -> tuple[Condition, ...]:
    """Read a filter, in the order of its names and operators.

    Raises:
        InvalidParameter: it is none.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise _refusal("filter is not JSON, or has a name twice.") from None
    if not isinstance(content, dict):
        raise _refusal("filter must be a JSON object.")
    conditions = tuple(condition for name, wanted in content.items() for condition in _of(name, wanted))
    if len(conditions) > MAX_CONDITIONS:
        raise _refusal(f"filter has more than {MAX_CONDITIONS} conditions.")
    return conditions


def _refusal(sentence: str) -> InvalidParameter:
    return InvalidParameter(sentence, ["filter"])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name comes twice")
    return content


def _of(name: str, wanted: Any) -> Iterator[Condition]:
    _check_text(name)
    if not isinstance(wanted, dict):
        yield Condition(name, IN, (_value(wanted),))
        return
    if not wanted:
        raise _refusal("filter has a name with neither a value nor an operator.")
    for operator, operand in wanted.items():
        yield _condition(name, operator, operand)


def _condition(name: str, operator: str, operand: Any) -> Condition:
    if operator == IN:
        if not isinstance(operand, list) or len(operand) > MAX_VALUES:
            raise _refusal(f"`in` of filter takes a list of at most {MAX_VALUES} values.")
        return Condition(name, IN, tuple(_value(value) for value in operand))
    if operator == EXISTS:
        if not isinstance(operand, bool):
            raise _refusal("`exists` of filter takes true or false.")
        return Condition(name, EXISTS if operand else MISSING)
    if operator not in _RANGE:
        raise _refusal(f"filter knows the operators in, {', '.join(_RANGE)} and exists.")
    if isinstance(operand, bool):
        raise _refusal(f"`{operator}` of filter takes a number or a text.")
    return Condition(name, operator, (_value(operand),))


def _value(value: Any) -> Value:
    if isinstance(value, str):
        return _check_text(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise _refusal("filter compares with texts, finite numbers of at most 64 bits, and booleans.")


def _check_text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _refusal("filter holds half a character.") from None
    return text
