"""What collections and people may be called. Pure functions, safe from any thread."""

import unicodedata

from facesearch.databases.statements import is_unicode
from facesearch.databases.tables import COLLECTION_WIDTH, NAME_WIDTH
from facesearch.errors import InvalidParameter
from facesearch.records import ALL_COLLECTIONS

_TURNS = frozenset(["LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"])
_MEANT_OTHERWISE = frozenset([ALL_COLLECTIONS, ".", ".."])


def is_collection_name(name: str) -> bool:
    """Whether a collection may have this name.

    1 to 255 characters of any script, in Unicode's composed form (NFC), so that two spellings that look the
    same are one name; no control characters, none that turn text, no slash, no blank at either end, and not
    `*`, `.` or `..`, which mean something else in keys and addresses.
    """
    return (
        1 <= len(name) <= COLLECTION_WIDTH
        and is_unicode(name)
        and name not in _MEANT_OTHERWISE
        and "/" not in name
        and name == name.strip()
        and unicodedata.is_normalized("NFC", name)
        and not any(unicodedata.category(one) == "Cc" or _turns_text(one) for one in name)
    )


def _turns_text(character: str) -> bool:
    """Whether it turns the order of what follows it, so that a name would be shown as another (UAX 9)."""
    return unicodedata.bidirectional(character) in _TURNS


def collection_name(name: str) -> str:
    """Return a name that a collection may have.

    Raises:
        InvalidParameter: it may not.
    """
    if not is_collection_name(name):
        raise InvalidParameter(
            f"A collection's name has 1 to {COLLECTION_WIDTH} characters in Unicode's composed form, no"
            " control character, none that turns text, no slash, no blank at either end, and is none of"
            " *, . and .. by itself."
        )
    return name


def person_name(name: str) -> str:
    """Return a name that a person may have: 1 to 255 characters, told apart byte by byte.

    Raises:
        InvalidParameter: it may not.
    """
    if not name.strip():
        raise InvalidParameter("A person has a name.")
    if len(name) > NAME_WIDTH or not is_unicode(name):
        raise InvalidParameter(f"A person's name has 1 to {NAME_WIDTH} characters.")
    return name
