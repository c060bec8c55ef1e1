"""Waiting for what other threads and processes bring about."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Look again until it is so.

    Raises:
        AssertionError: it was not within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
