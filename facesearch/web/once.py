"""Requests that may be repeated: their key, and what they asked for."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Header, Request

from facesearch.errors import InvalidParameter
from facesearch.records import Once
from facesearch.web.callers import caller_of

HEADER = "Idempotency-Key"


def _header(description: str) -> Any:
    return Header(alias=HEADER, min_length=1, max_length=255, pattern="^[!-~]+$", description=description)


Key = Annotated[
    str | None,
    _header(
        "A name for this request. Repeated under it within 24 hours, the request is not carried out again, "
        "and gets the first answer."
    ),
]
UnneededKey = Annotated[
    str | None,
    _header("Taken, and not needed: the request may be repeated as it is, and changes nothing more."),
]


def once(
    request: Request,
    key: str | None,
    file_name: str,
    file_sha256: str,
    fields: Mapping[str, str] | None = None,
) -> Once | None:
    """Return under which key the request is to be carried out once, None where it has none.

    Args:
        file_sha256: of the file that it carries, in hexadecimal.
        fields: its form fields that count as parameters of its query do.

    Raises:
        InvalidParameter: it has several keys.
    """
    if key is None:
        return None
    if len(request.headers.getlist(HEADER)) > 1:
        raise InvalidParameter(f"{HEADER} is given more than once.", [HEADER])
    query = sorted([*parse_qsl(request.url.query, keep_blank_values=True), *(fields or {}).items()])
    asked = [request.method, request.url.path.rstrip("/"), query, file_name, file_sha256]
    # The key of one client is not that of another. Without API keys there is only one; those have no space.
    caller = caller_of(request)
    own = key if caller.is_local else f"{caller.who} {key}"
    # ASCII alone: a query may hold what has no UTF-8.
    return Once(own, hashlib.sha256(json.dumps(asked).encode("ascii")).hexdigest())


async def _once_json(request: Request, key: Key = None) -> Once | None:
    if key is None:
        return None
    return once(request, key, "", hashlib.sha256(await request.body()).hexdigest())


OnceJSON = Annotated[Once | None, Depends(_once_json)]
"""The same for a request whose body is JSON."""
