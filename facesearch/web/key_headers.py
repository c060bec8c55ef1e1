"""The key that a request brings."""

import re
from collections.abc import Iterable

from fastapi import Security
from fastapi.security import APIKeyHeader, HTTPBearer

# For the OpenAPI document alone: the gate has let the request pass by then.
KEY_SCHEMES = [
    Security(APIKeyHeader(name="X-API-Key", scheme_name="X-API-Key", auto_error=False)),
    Security(HTTPBearer(scheme_name="Bearer", auto_error=False)),
]

_BEARER = re.compile(rb"bearer(?: +(.*))?", re.IGNORECASE | re.DOTALL)


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return what X-API-Key or `Authorization: Bearer` holds, None where neither holds anything.

    Two headers are no key: which of them counts could differ from what somebody in between has checked. They
    are joined as HTTP joins a list, and no key has a comma.
    """
    given: list[bytes] = []
    for name, value in headers:
        if name.lower() == b"x-api-key":
            given.append(value.strip(b" \t"))
        elif name.lower() == b"authorization" and (bearer := _BEARER.fullmatch(value.strip(b" \t"))):
            given.append(bearer[1] or b"")
    return b", ".join(given).decode("latin-1") or None
