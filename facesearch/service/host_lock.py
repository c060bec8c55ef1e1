"""A lock between the processes of one host."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PAUSE_S = 0.001


@contextmanager
def locked(descriptor: int, limit_s: float) -> Iterator[bool]:
    """Hold the lock on an open file; it ends with its process, however that ends.

    Not between threads that share the descriptor.

    Yields:
        Whether the lock is held: False where another process has kept it for `limit_s`, as one does that was
        stopped in the middle.
    """
    held = _taken(descriptor, limit_s)
    try:
        yield held
    finally:
        if held:
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def private_file(file: Path, flags: int) -> int:
    """Open a file that its owner alone may read, and make it, with its folder, where it is missing.

    Raises:
        OSError: that cannot be done.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(file, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _taken(descriptor: int, limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
