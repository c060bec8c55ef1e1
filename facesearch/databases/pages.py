"""Lists a page at a time. Pure functions, safe from any thread."""

from collections.abc import Sequence
from typing import TypeVar

from facesearch.errors import InvalidParameter
from facesearch.records import Page

R = TypeVar("R")

MAX_PAGE = 10_000


def rows_to_ask(limit: int) -> int:
    """Return how many rows to ask for, to know whether there are more than a page has.

    Raises:
        InvalidParameter: the limit is not from 1 to 10,000.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidParameter(f"A page has 1 to {MAX_PAGE} entries.")
    return limit + 1


def page_of(items: Sequence[R], marks: Sequence[int], limit: int) -> Page[R]:
    """Return a page of at most `limit` items; `marks` are what each would be followed by."""
    return Page(tuple(items[:limit]), marks[limit - 1] if len(marks) > limit else None)
