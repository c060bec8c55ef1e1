"""Who sends a request, on which collection it works, and what it was about: for those who work on it."""

import unicodedata
from typing import cast

from fastapi import Request
from starlette.types import Scope

from facesearch.errors import CollectionNotAllowed, CollectionNotFound
from facesearch.records import ALL_COLLECTIONS, DEFAULT_COLLECTION, Caller

CALLER = "facesearch.caller"

_CHANGED = "facesearch.changed_ids"
_ASKED = "facesearch.asked_ids"

_LONGEST_NAME = 255


def caller_of(request: Request) -> Caller:
    """Who sends it, as the gate has found out."""
    return cast(Caller, request.scope[CALLER])


def is_restricted(caller: Caller) -> bool:
    """Whether a caller may use one collection only."""
    return caller.collection != ALL_COLLECTIONS


def collection_of(caller: Caller, wanted: str | None) -> str:
    """Return the name of the collection that a caller means: the one that is named, or the caller's own.

    Raises:
        CollectionNotAllowed: it is not the one that the caller's key is for, whether it is there or not.
        CollectionNotFound: none can have this name.
    """
    if wanted is None:
        return caller.collection if is_restricted(caller) else DEFAULT_COLLECTION
    name = unicodedata.normalize("NFC", wanted)
    if is_restricted(caller) and name != caller.collection:
        raise CollectionNotAllowed
    if not 0 < len(name) <= _LONGEST_NAME or name == ALL_COLLECTIONS:
        raise CollectionNotFound
    return name


def asked(request: Request, *ids: int | str) -> None:
    """Note for the audit log what a request is to change, before that is begun; see `touched`."""
    request.scope.setdefault(_ASKED, []).extend(ids)


def touched(request: Request, *ids: int | str) -> None:
    """Note for the audit log which faces or jobs a request has changed or made, or persons or collections.

    See `person_labels` and `collection_label`.
    """
    request.scope.setdefault(_CHANGED, []).extend(ids)


def noted(scope: Scope, status: int | None) -> tuple[int | str, ...]:
    """Return what a request has changed; with what it asked for where nobody knows how far that came.

    Args:
        status: of the answer, None where there is none.
    """
    changed = scope.get(_CHANGED, [])
    is_known = status is not None and status < 500
    return tuple(changed if is_known else dict.fromkeys([*changed, *scope.get(_ASKED, [])]))


def person_labels(*ids: int) -> list[str]:
    """Persons as the audit log names them, whose faces have numbers of their own."""
    return [f"person:{person}" for person in ids]


def collection_label(number: int) -> str:
    """A collection as the audit log names it: its name may tell of somebody."""
    return f"collection:{number}"
