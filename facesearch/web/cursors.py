"""Where a list goes on, as clients hand it back: they need not understand it."""

import base64
import binascii
import re

from facesearch.errors import InvalidParameter

_LONGEST = 64
_LARGEST = 2**63 - 1


def cursor(kind: str, number: int | None) -> str | None:
    """Wrap the number that the following page is asked for with; None at the end of the list.

    Args:
        kind: a word that tells the list, so that no other list takes the cursor.
    """
    if number is None:
        return None
    return base64.urlsafe_b64encode(f"{kind}:{number}".encode("ascii")).decode("ascii").rstrip("=")


def number_of(kind: str, text: str | None) -> int | None:
    """Unwrap a cursor; None where there is none.

    Raises:
        InvalidParameter: it is no cursor of this list.
    """
    if text is None:
        return None
    if len(text) <= _LONGEST and text.isascii():
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            plain = b""
        found = re.fullmatch(rb"([a-z]+):([0-9]{1,19})", plain)
        if found and found[1] == kind.encode("ascii") and int(found[2]) <= _LARGEST:
            return int(found[2])
    raise InvalidParameter("cursor is not one that this list gave.", ["cursor"])
