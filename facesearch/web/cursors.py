"""Where a list goes on, as clients hand it back: they need not understand it."""

import base64
import binascii
import hashlib
import re

from facesearch.errors import InvalidParameter

_LONGEST = 64
_LARGEST = 2**63 - 1
# Enough that two lists of one client are told apart; a cursor is no secret.
_DIGITS = 8


def cursor(kind: str, number: int | None, *of: object) -> str | None:
    """Wrap the number that the following page is asked for with; None at the end of the list.

    Args:
        kind: a word that tells the list, so that no other list takes the cursor.
        of: what the list is of, as far as it was chosen, each the same text for the same choice: a
            collection's name, a filter's conditions.
    """
    if number is None:
        return None
    plain = f"{kind}:{_digest(of)}:{number}"
    return base64.urlsafe_b64encode(plain.encode("ascii")).decode("ascii").rstrip("=")


def number_of(kind: str, text: str | None, *of: object) -> int | None:
    """Unwrap a cursor; None where there is none.

    Raises:
        InvalidParameter: it is no cursor of this list, or of the same list of something else.
    """
    if text is None:
        return None
    if len(text) <= _LONGEST and text.isascii():
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            plain = b""
        found = re.fullmatch(rb"([a-z]+:[0-9a-f]+):([0-9]{1,19})", plain)
        if found and found[1] == f"{kind}:{_digest(of)}".encode("ascii") and int(found[2]) <= _LARGEST:
            return int(found[2])
    raise InvalidParameter("cursor is not one that this list gave.", ["cursor"])


def _digest(of: tuple[object, ...]) -> str:
    # repr, so that None is not "None"; a name may hold what has no UTF-8.
    return hashlib.sha256(repr(of).encode("utf-8", "backslashreplace")).hexdigest()[:_DIGITS]
