"""The key that a request brings."""

import re
from collections.abc import Iterable

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
