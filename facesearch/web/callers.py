"""Who sends a request, and what it was about: for those who work on it."""

from typing import cast

from fastapi import Request

from facesearch.records import Caller

CALLER = "facesearch.caller"
IDS = "facesearch.ids"


def caller_of(request: Request) -> Caller:
    """Who sends it, as the gate has found out."""
    return cast(Caller, request.scope[CALLER])


def touched(request: Request, *ids: int | str) -> None:
    """Note for the audit log which faces or jobs a request has changed or made."""
    request.scope.setdefault(IDS, []).extend(ids)
