"""The names that a request gives to what it brings: nothing that its route does not know, and nothing twice.

What a route passed over would be a misspelt tolerance that does not count, or a photo that is lost.
"""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from starlette.datastructures import FormData

from facesearch.errors import InvalidParameter
from facesearch.web.envelope import plain

QUERY, FORM = "a parameter of this route", "a field of this route's form"


async def check_parameters(request: Request) -> None:
    """Check the query of a request, and its form where the route takes one.

    Raises:
        InvalidParameter: it brings what the route does not know, or more than one of what is taken once.
    """
    query, form = _known(request.scope["route"].dependant)
    _check(request.query_params.multi_items(), query, QUERY)
    if form:
        _check((await request.form()).multi_items(), form, FORM)


def check_given_once(form: FormData, name: str) -> None:
    """Raise InvalidParameter where a form brings several of a name: all but one would be lost."""
    if len(form.getlist(name)) > 1:
        raise given_twice(name)


def given_twice(name: str) -> InvalidParameter:
    """Return the error for what is taken once."""
    return InvalidParameter(f"{plain(name)} is given more than once.", [name])


def unknown(name: str, known: Iterable[str], what: str) -> InvalidParameter:
    """Return the error for a name that is not known, with the nearest one that is.

    Args:
        what: QUERY or FORM.
    """
    shown = plain(name)
    near = get_close_matches(shown, known, 1)
    return InvalidParameter(
        f"{shown or 'An empty name'} is not {what}{f'; {near[0]} is' if near else ''}.", [name]
    )


def _check(given: Iterable[tuple[str, object]], known: Mapping[str, bool], what: str) -> None:
    seen: set[str] = set()
    for name, _ in given:
        if name not in known:
            raise unknown(name, known, what)
        if name in seen and not known[name]:
            raise given_twice(name)
        seen.add(name)


def _known(dependant: Dependant) -> tuple[Mapping[str, bool], Mapping[str, bool]]:
    """What a route takes in its query and in its form, and of each whether it takes several."""
    query: dict[str, bool] = {}
    form: dict[str, bool] = {}
    for one in _all_of(dependant):
        query |= {field.alias: _is_list(field.field_info.annotation) for field in one.query_params}
        form |= {
            field.alias: _is_list(field.field_info.annotation)
            for field in one.body_params
            if isinstance(field.field_info, Form)
        }
    return query, form


def _all_of(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for below in dependant.dependencies:
        yield from _all_of(below)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(map(_is_list, get_args(annotation)))
