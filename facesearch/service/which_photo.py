"""Errors that say which of several photos they are about."""

from collections.abc import Iterator
from contextlib import contextmanager

from facesearch.errors import Invalid, InvalidParameter


@contextmanager
def told_of(which: str) -> Iterator[None]:
    """Begin the message of an error about a photo with which photo it is; empty where there is but one."""
    try:
        yield
    except InvalidParameter:  # the request's, and no photo's
        raise
    except Invalid as error:
        raise type(error)(f"{which}: {error.message}" if which else error.message) from None
